"""A labeling job for people comes back with more: new tasks, new pairs, a second round by a new model."""

import dataclasses

import pytest
from absl import logging
from live_labeling import write_tasks

from rmjax.config import DataConfig
from rmjax.datasets.tasks import open_tasks
from rmjax.errors import UserError
from rmjax.labeling.pairing import PairRule
from rmjax.labeling.people.handing import Answer, Rules, enter, hand_out, judge
from rmjax.labeling.people.job import PeopleJob, serve
from rmjax.labeling.people.judged import read_judged
from rmjax.labeling.people.store import Store


def row(name: str, responses: int = 3, **fields) -> dict:
    return {"id": name, "prompt": f"{name}?", "responses": [f"{name}{place}" for place in range(responses)], **fields}


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Starts a job and ends it at once; gives (task, left, right) of all pairs, in the order of the store."""
    monkeypatch.setattr("rmjax.labeling.people.page_process.serve_page", lambda *_, **__: None)
    plain = PeopleJob(output=str(tmp_path / "out.jsonl"), dimension="brevity", port=0)

    def started(*rows: dict, sureness=None, **job) -> list[tuple]:
        tasks = str(write_tasks(tmp_path / "tasks.jsonl", list(rows)))
        serve(
            dataclasses.replace(plain, **job), lambda: open_tasks([tasks], DataConfig(), dimension="brevity"), sureness
        )
        with Store(plain.store_path, create=False).transaction() as database:
            return [tuple(pair) for pair in database.execute("SELECT task, left, right FROM pairs ORDER BY number")]

    return started


def by_place(sums: int):
    """A model that is the less sure of a pair the nearer the sum of its places is to ``sums``."""
    return lambda tasks: [
        [[abs(one + other - sums) for other in range(len(task.responses))] for one in range(len(task.responses))]
        for task in tasks
    ]  # fmt: skip


def never(tasks):
    raise AssertionError(f"a model chose pairs of {len(tasks)} tasks")


def test_a_known_task_takes_the_pairs_that_its_row_now_compares(start):
    first = [{"left": 1, "right": 0}]
    assert start(row("a", comparisons=first)) == [("a", 1, 0)]
    more = [{"left": 0, "right": 1}, {"left": 0, "right": 2}]
    assert start(row("a", comparisons=more), row("b", 2)) == [("a", 1, 0), ("a", 0, 2), ("b", 0, 1)]
    assert start(row("a"), row("b", 2))[3:] == [("a", 1, 2)]
    assert len(start(row("a"), row("b", 2))) == 4


def test_a_new_model_begins_a_second_round_of_the_same_store_and_no_answer_is_touched(
    start, tmp_path, caplog, monkeypatch
):
    monkeypatch.setattr(logging.get_absl_logger(), "propagate", True)
    caplog.set_level("INFO", logger="absl")
    tasks = (row("a", 4), row("b", 4))
    first = {"pairs": PairRule.ROUND_ROBIN, "pairs_per_task": 1}
    begun = start(*tasks, **first)
    assert [name for name, *_ in begun] == ["a", "b"]
    store = Store(str(tmp_path / "out.jsonl.sqlite"))
    enter(store, "mia", 0.0)
    for _ in range(2):
        judge(store, "mia", hand_out(store, "mia", Rules(), 0.0).key, Answer.FIRST, now=1.0)
    answers = read_judged(store).preferences
    second = {"pairs": PairRule.LEAST_SURE, "pairs_per_task": 2, "scorer": "/runs/one"}
    caplog.clear()
    with_second = start(*tasks, **second, sureness=by_place(5))
    assert "2 tasks, 0 of them new; 4 pairs added by a model that is new to this store; 0 gold pairs" in caplog.text
    assert with_second[:2] == begun
    assert len(with_second) == 6
    for name in "ab":
        chosen = [pair for task, *pair in with_second[2:] if task == name]
        free = [pair for pair in ([2, 3], [1, 3], [0, 3], [1, 2], [0, 2], [0, 1]) if (name, *pair) not in begun]
        assert chosen[0] == free[0]
        assert len(chosen) == 2
    assert read_judged(store).preferences == answers
    # The same again, in either round, adds nothing and asks no model; a new task has the pairs of the round named.
    caplog.clear()
    assert start(*tasks, **second, sureness=never) == with_second == start(*tasks, **first)
    said = [record.getMessage().split("; ", 1)[1] for record in caplog.records]
    assert said == [
        "0 pairs added (of the other tasks this model has chosen before); 0 gold pairs", "0 pairs added; 0 gold pairs"
    ]  # fmt: skip
    assert len(start(*tasks, row("c", 4), **first)) == 7
    third = start(*tasks, row("c", 4), **second | {"scorer": "/runs/two"}, sureness=by_place(1))
    assert len(third) == 7 + 6
    assert len(set(third)) == len(third)


def test_other_flags_of_choosing_are_an_error_that_names_what_would_go_on(start):
    start(row("a"), pairs=PairRule.ROUND_ROBIN, pairs_per_task=1)
    right = (
        r"^--pairs=all is not what .* begun with; right would be --pairs=round_robin --pairs_per_task=1, --pairs=least"
    )
    with pytest.raises(UserError, match=right):
        start(row("a"))
    rewarded = row("a", rewards=[1, 2, 3])
    with pytest.raises(UserError, match=r"--pairs=least_sure --pairs_per_task=1 is not what"):
        start(rewarded, pairs=PairRule.LEAST_SURE, pairs_per_task=1)
    assert len(start(row("a"), pairs=PairRule.ROUND_ROBIN, pairs_per_task=1)) == 1


def test_a_start_with_other_flags_than_the_last_one_says_which(start, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(logging.get_absl_logger(), "propagate", True)
    gold = str(write_tasks(tmp_path / "gold.jsonl", [{"prompt": "Q", "chosen": "a", "rejected": "b"}]))
    path = f"{tmp_path}/out.jsonl.sqlite"

    def warned(**job) -> list[str]:
        caplog.clear()
        start(row("a"), **job)
        return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]

    begun = {"annotators_per_pair": 2, "strength": True, "gold": gold, "gold_rate": 0.25}
    assert not warned(**begun)
    assert not warned(**begun)
    caplog.set_level("INFO", logger="absl")
    changed = [
        f"{path}: last served with --annotators_per_pair=2, now with --annotators_per_pair=1",
        f"{path}: last served with --strength=true, now with --strength=false",
        f"{path}: last served with --gold={gold}, now without --gold",
        f"{path}: last served with --gold_rate=0.25, now with --gold_rate=0.1",
    ]
    assert warned() == changed
    assert "0 pairs added; 1 gold pairs" in caplog.text  # those that are there are asked all the same
    assert not warned()
    assert warned(gold=gold) == [f"{path}: last served without --gold, now with --gold={gold}"]
