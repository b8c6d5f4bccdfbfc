"""Labeling jobs for tests, and the page as a browser without JavaScript sees it."""

import re
from pathlib import Path

from starlette.testclient import TestClient

from rmjax.labeling.pairing import PairRule, Round, choose_pairs
from rmjax.labeling.people.gold import GoldPair
from rmjax.labeling.people.page import PageSettings, make_app
from rmjax.labeling.people.store import Store
from rmjax.preferences.tasks import Task

ALL = Round(PairRule.ALL)


class Clock:
    """Seconds since 1970, which pass when a test says so."""

    def __init__(self):
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def make_tasks(count: int, responses: int = 2) -> list[Task]:
    return [
        Task(id=f"t{number}", prompt=f"Question {number}?",
             responses=tuple(f"Answer {number}.{place}" for place in range(responses)))
        for number in range(count)
    ]  # fmt: skip


def make_store(path: Path, tasks: list[Task], gold: tuple[GoldPair, ...] = (), *, secret: str = "hush") -> Store:
    store = Store(str(path))
    store.settle({"dimension": "helpfulness"})
    store.keep({"store": "test", "secret": secret})
    store.add(choose_pairs(store.new_tasks(tasks), PairRule.ALL), ALL)
    store.add_gold(gold)
    return store


def unescaped(text: str) -> str:
    return text.replace("&#39;", "'").replace("&#34;", '"').replace("&lt;", "<").replace("&gt;", ">")


class Annotator:
    """One person's browser without JavaScript."""

    def __init__(self, store: Store, settings: PageSettings, clock: Clock, name: str | None = None):
        self.client = TestClient(make_app(store, settings, clock), base_url="http://127.0.0.1:8000")
        self.page = ""
        if name is not None:
            self.sign_in(name)

    def sign_in(self, said: str) -> int:
        answer = self.client.post("/sign-in", data={"annotator": said})
        self.page = answer.text
        return answer.status_code

    def look(self, address: str = "/") -> str:
        self.page = self.client.get(address).text
        return self.page

    def field(self, name: str) -> str:
        """A hidden field of the page as it was last seen."""
        return re.search(f'name="{name}" value="([^"]*)"', self.page)[1]

    def send(self, action: str, **fields: str) -> int:
        """Sends a form of the page; the status before the redirect."""
        form = {"form_token": self.field("form_token"), **fields}
        answer = self.client.post(action, data=form)
        self.page = answer.text
        return answer.history[0].status_code if answer.history else answer.status_code

    def judge(self, answer: str, **fields: str) -> int:
        return self.send("/judge", lease=self.field("lease"), answer=answer, **fields)

    def undo(self) -> int:
        return self.send("/undo", judgment=self.field("judgment"))

    def shown(self) -> tuple[str, str]:
        """The two responses as they stand on the page."""
        found = re.findall(r"<p>(Answer [\d.]+)</p>", self.page)
        assert len(found) == 2
        return found[0], found[1]

    def prompt(self) -> str:
        return re.search(r"<p>(Question \d+\?)</p>", self.page)[1]
