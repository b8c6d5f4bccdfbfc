"""The command: killed at any moment it has lost nothing that it acknowledged; ended, it writes the preferences."""

import dataclasses
import itertools
import json
import random
import re
import signal
import subprocess
import threading
import time

import httpx2 as httpx
import numpy as np
import pytest
from live_labeling import ROOT, command, live_page, write_tasks
from untrained import random_text, untrained_config, write_run

from rmjax.config import ConfigError, DataConfig
from rmjax.datasets.tasks import open_tasks
from rmjax.errors import UserError
from rmjax.labeling.pairing import PairRule
from rmjax.labeling.people.job import PeopleJob, export, serve
from rmjax.labeling.people.judged import read_judged
from rmjax.labeling.people.store import Store
from rmjax.listening import AddressError, bound
from rmjax.preferences.groups import RowDefaults
from rmjax.preferences.read import read_preferences
from rmjax.preferences.tasks import Task
from rmjax.scoring.scorer import RewardScorer

HELPFULNESS = RowDefaults("helpfulness")


def rows(count: int) -> list[dict]:
    return [{"prompt": f"Question {n}?", "responses": [f"Answer {n}.0", f"Answer {n}.1"]} for n in range(count)]


class Client(threading.Thread):
    """Judges as fast as it can until the connection breaks; keeps what was acknowledged, and what hung in the air."""

    def __init__(self, url: str, name: str):
        super().__init__()
        self.url, self.name, self.acknowledged, self.hanging = url, name, {}, None

    def run(self):
        try:
            with httpx.Client(base_url=self.url, follow_redirects=False) as client:
                client.post("/sign-in", data={"annotator": self.name})
                while (page := client.get("/").text) and "Nothing left" not in page:
                    self.judge(client, page)
        except httpx.TransportError:
            pass

    def judge(self, client, page):
        fields = {name: re.search(f'name="{name}" value="([^"]+)"', page)[1] for name in ("form_token", "lease")}
        prompt = re.search(r"<p>(Question \d+\?)</p>", page)[1]
        first, _ = re.findall(r"<p>(Answer \d+\.\d)</p>", page)
        self.hanging = (prompt, first)
        if client.post("/judge", data=fields | {"answer": "first"}).headers["location"] == "/":
            self.acknowledged[prompt] = first
        self.hanging = None


def stored(path) -> dict[tuple[str, str], str]:
    """The response that was preferred, by annotator and prompt."""
    store = Store(str(path), create=False)
    judged = read_judged(store)
    store.close()
    return {
        (one.annotator, preference.prompt): preference.responses[one.left if one.probability == 1.0 else one.right]
        for preference in judged.preferences for one in preference.comparisons
    }  # fmt: skip


def test_killed_at_any_moment_no_acknowledged_judgment_is_lost(tmp_path):
    write_tasks(tmp_path / "tasks.jsonl", rows(3000))
    chance, acknowledged = random.Random(0), {}
    for _ in range(6):
        with live_page(tmp_path, "--dimension=helpfulness", "--lease_minutes=0.1") as page:
            clients = [Client(page.url, name) for name in ("mia", "ben")]
            for client in clients:
                client.start()
            enough, deadline = chance.randrange(8, 40), time.monotonic() + 60
            while sum(len(client.acknowledged) for client in clients) < enough and time.monotonic() < deadline:
                time.sleep(0.001)
            time.sleep(chance.uniform(0, 0.05))  # and anywhere in the next one
            page.process.send_signal(signal.SIGKILL)
            for client in clients:
                client.join(timeout=30)
        found = stored(tmp_path / "out.jsonl.sqlite")
        for client in clients:
            for prompt, response in client.acknowledged.items():
                acknowledged[client.name, prompt] = response
        assert acknowledged.items() <= found.items()
        # What is there besides was sent, and not yet answered, when the process died.
        hanging = {(client.name, client.hanging[0]): client.hanging[1] for client in clients if client.hanging}
        assert found.items() - acknowledged.items() <= hanging.items()
        assert len(acknowledged) >= enough
        acknowledged = found
    assert not (tmp_path / "out.jsonl").exists()  # it never ended in order; the store has it all
    run("--export", f"--output={tmp_path}/out.jsonl")
    found = read_preferences(tmp_path / "out.jsonl", defaults=HELPFULNESS)
    assert sum(len(preference.comparisons) for preference in found) == len(acknowledged)


def run(*options: str, code: int = 0) -> str:
    """What the command writes to stderr."""
    done = subprocess.run(command(*options), capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == code, done.stderr
    return done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_ended_it_writes_what_was_judged_and_goes_on_at_the_next_start(tmp_path, number):
    write_tasks(tmp_path / "tasks.jsonl", rows(4))
    for judged in (2, 4):
        with live_page(tmp_path, "--dimension=helpfulness") as page, httpx.Client(base_url=page.url) as http:
            http.post("/sign-in", data={"annotator": "mia"})
            client = Client(page.url, "mia")
            for _ in range(2):
                client.judge(http, http.get("/").text)
            beside = run("--export", f"--output={tmp_path}/out.jsonl")  # while it is served
            assert f"{judged} judgments of {judged} tasks" in beside
            page.process.send_signal(number)
            assert page.process.wait(timeout=30) == 0, page.log()
        assert f"{judged} judgments of {judged} tasks, 0 of them ties; 0 skips left out; mia: median" in page.log()
        assert len(read_preferences(tmp_path / "out.jsonl", defaults=HELPFULNESS)) == judged


def opened(path: str):
    """As the command opens the tasks for the page."""
    return lambda: open_tasks([path], DataConfig(), dimension="brevity")


def test_a_port_that_is_taken_is_told_before_anything_is_stored(tmp_path):
    tasks = str(write_tasks(tmp_path / "tasks.jsonl", rows(2)))
    with bound("127.0.0.1", 0) as taken:
        taken.listen()
        job = PeopleJob(output=str(tmp_path / "out.jsonl"), dimension="brevity", port=taken.getsockname()[1])
        with pytest.raises(AddressError, match=f"--port {job.port}, where nothing can listen: Address already in use"):
            serve(job, opened(tasks))
    assert [path.name for path in tmp_path.iterdir()] == ["tasks.jsonl"]


def test_flags_that_do_not_fit_are_one_line_with_code_2(tmp_path):
    for given, missing in (("--dimension=brevity", "--tasks"), ("--tasks=tasks.jsonl", "--dimension")):
        assert run(f"--output={tmp_path}/out.jsonl", given, code=2).startswith(f"error: {missing} is missing")


def test_what_does_not_fit_is_an_error_before_anything_is_served(tmp_path):
    tasks = str(write_tasks(tmp_path / "tasks.jsonl", rows(2)))
    fitting = PeopleJob(output=str(tmp_path / "out.jsonl"), dimension="brevity")
    for changes, message in [
        ({"dimension": "politeness"}, "needs a question"),
        ({"host": "0.0.0.0"}, "--tokens=FILE"),
        ({"pairs_per_task": 1}, "left out with --pairs=all"),
        ({"pairs": PairRule.LEAST_SURE}, "needs a reward for each response"),
        ({"output": "gs://bucket/out.jsonl"}, "--store=FILE"),
        ({"output": str(tmp_path / "out.csv")}, r"right would be .jsonl or .jsonl.gz"),
        ({"output": tasks}, "is there, but no store"),
        ({"gold": tasks}, "missing field"),
    ]:
        with pytest.raises(UserError, match=message):
            serve(dataclasses.replace(fitting, **changes), opened(tasks))
    with pytest.raises(UserError, match="no such file"):
        serve(fitting, opened(str(tmp_path / "none.jsonl")))
    with pytest.raises(UserError, match="no such store"):
        export(dataclasses.replace(fitting, store=str(tmp_path / "none.sqlite")))
    with live_page(tmp_path, "--dimension=brevity") as page:  # none of them has left a store that stands in the way
        assert "2 tasks, 2 of them new; 2 pairs added; 0 gold pairs" in page.log()
        page.process.send_signal(signal.SIGTERM)
        page.process.wait(timeout=30)
    with pytest.raises(UserError, match="--dimension is 'honesty'; right would be 'brevity'"):
        serve(dataclasses.replace(fitting, dimension="honesty"), opened(tasks))


def test_a_file_that_the_job_has_not_written_is_never_written_over(tmp_path):
    tasks, gold = (str(write_tasks(tmp_path / name, rows(2))) for name in ("tasks.jsonl", "out.gold.jsonl"))
    job = PeopleJob(output=str(tmp_path / "out.jsonl"), dimension="brevity")
    with pytest.raises(ConfigError, match=r"out.gold.jsonl is there, but no store"):
        serve(job, opened(tasks))
    Store(job.store_path).close()
    (tmp_path / "known.jsonl").hardlink_to(gold)
    (tmp_path / "linked.jsonl").symlink_to(gold)
    for path in (gold, f"{tmp_path}/*.gold.jsonl", f"{tmp_path}/known.jsonl", f"{tmp_path}/linked.jsonl"):
        with pytest.raises(ConfigError, match=r"--gold: .*\.jsonl is where the judgments are written"):
            serve(dataclasses.replace(job, gold=path), opened(tasks))


def test_nobody_works_for_an_output_that_could_not_be_written(tmp_path):
    tasks = str(write_tasks(tmp_path / "tasks.jsonl", rows(2)))
    job = PeopleJob(output=str(tmp_path / "out.jsonl"), dimension="brevity", store=str(tmp_path / "job.sqlite"))
    Store(job.store_path).close()
    for name in ("out.jsonl", "out.gold.jsonl"):
        for source in ("ai", "human"):
            row = {"prompt": "Q", "chosen": "a", "rejected": "b", "source": source}
            file = write_tasks(tmp_path / name, [row])
            with pytest.raises(ConfigError, match=f"{name} is there already, and .*right would be a new file"):
                serve(job, opened(tasks))
            assert json.loads(file.read_text()) == row
            file.unlink()


def test_what_people_judge_is_never_replaced(tmp_path):
    for name in ("tasks.jsonl", "pairs.gold.jsonl"):
        tasks = write_tasks(tmp_path / name, rows(2))
        before = tasks.read_bytes()
        Store(f"{tmp_path}/job.sqlite").close()
        output = f"--output={tmp_path}/{name.replace('.gold', '')}"
        said = run(f"--tasks={tasks}", output, f"--store={tmp_path}/job.sqlite", "--dimension=brevity", code=2)
        assert f"{name}, which is judged; right would be another file" in said
        assert tasks.read_bytes() == before


def test_the_pairs_that_a_run_is_least_sure_of_come_first(tmp_path):
    workdir = write_run(tmp_path / "run", untrained_config())
    rng = np.random.default_rng(0)
    texts = [{random_text(rng, 12): None for _ in range(4)} for _ in range(5)]
    write_tasks(tmp_path / "tasks.jsonl", [{"prompt": "why river", "responses": list(some)} for some in texts])
    options = ("--dimension=brevity", "--pairs=least_sure", "--pairs_per_task=3", f"--scorer_workdir={workdir}")
    with live_page(tmp_path, *options):
        pass
    store = Store(f"{tmp_path}/out.jsonl.sqlite", create=False)
    with store.transaction() as database:
        query = "SELECT texts, left, right FROM pairs JOIN tasks ON task = id ORDER BY number"
        pairs = [(Task.of_texts("", texts).responses, *places) for texts, *places in database.execute(query)]
    store.close()
    scorer = RewardScorer.from_workdir(workdir)
    known = {responses: scorer.score("why river", responses) for responses, _, _ in pairs}
    found = [abs(known[responses][left] - known[responses][right]) for responses, left, right in pairs]
    np.testing.assert_array_less(found[:-1], np.array(found[1:]) + 1e-6)
    for responses, rewards in known.items():
        every = sorted(abs(one - other) for one, other in itertools.combinations(rewards, 2))
        chosen = [difference for pair, difference in zip(pairs, found, strict=True) if pair[0] == responses]
        np.testing.assert_allclose(chosen, every[:3], atol=1e-6)
