"""The store goes on with the job that it was begun with, and with no other."""

import contextlib
import sqlite3

import pytest
from labeling_cases import ALL, Annotator, Clock, make_store, make_tasks

from rmjax.errors import UserError
from rmjax.labeling.pairing import Pair, PairRule, Round, choose_pairs
from rmjax.labeling.people.gold import GoldPair
from rmjax.labeling.people.handing import Rules, find_progress
from rmjax.labeling.people.judged import export_judged
from rmjax.labeling.people.page import PageSettings
from rmjax.labeling.people.store import Store
from rmjax.preferences.record import Side
from rmjax.preferences.tasks import Task


def test_a_store_goes_on_and_takes_new_tasks_but_no_others(tmp_path):
    make_store(tmp_path / "job.sqlite", make_tasks(3)).close()
    path = str(tmp_path / "job.sqlite")
    store = Store(path, create=False)
    assert [task.id for task in store.new_tasks(make_tasks(5))] == ["t3", "t4"]
    with pytest.raises(UserError, match=r"lacks 1 tasks of .*'t2' among them"):
        store.new_tasks(make_tasks(2))
    changed = [Task(id=task.id, prompt="Other?", responses=task.responses) for task in make_tasks(3)]
    with pytest.raises(UserError, match="'t0' has other texts"):
        store.new_tasks(changed)
    with pytest.raises(UserError, match="--dimension is 'brevity'; right would be 'helpfulness'"):
        store.settle({"dimension": "brevity"})
    store.add(choose_pairs(store.new_tasks(make_tasks(5)), PairRule.ALL), ALL)
    assert find_progress(store, "mia", Rules()).wanted == 5


def test_what_does_not_fit_a_store_without_judgments_is_told_that_it_may_be_deleted(tmp_path):
    gold = GoldPair(task=Task(id="gold:1", prompt="Q", responses=("a", "b")), answer=Side.LEFT)
    store = make_store(tmp_path / "job.sqlite", make_tasks(3), (gold,))
    unfit = (
        lambda: store.new_tasks(make_tasks(2)),
        lambda: store.new_tasks([Task(id="t0", prompt="Other?", responses=("a", "b"))]),
        lambda: store.settle({"dimension": "brevity"}),
        lambda: store.begins(Round(PairRule.ROUND_ROBIN, 2)),
        lambda: store.add_gold([GoldPair(task=gold.task, answer=Side.RIGHT)]),
    )
    free = "; nobody has judged anything in it yet, so the store may be deleted while no page is served from it"

    def faults() -> list[str]:
        found = []
        for work in unfit:
            with pytest.raises(UserError) as error:
                work()
            found.append(str(error.value))
        return found

    before = faults()
    assert all(fault.endswith(free) for fault in before)
    Annotator(store, PageSettings(question="Which?"), Clock(), "mia").judge("skip")
    assert faults() == [fault.removesuffix(free) for fault in before]


def test_a_task_whose_id_looks_like_that_of_a_gold_pair_is_known_again(tmp_path):
    tasks = [Task(id=name, prompt="Q?", responses=("a", name)) for name in ("Gold:1", "GOLD:", "gold", "gold;1")]
    store = make_store(tmp_path / "job.sqlite", tasks)
    assert not store.new_tasks(tasks)


def test_what_was_kept_stays(tmp_path):
    store = make_store(tmp_path / "job.sqlite", make_tasks(1), secret="first")
    store.keep({"secret": "second", "more": "new"})
    assert (store.setting("secret"), store.setting("more")) == ("first", "new")


def test_without_create_a_store_must_be_there(tmp_path):
    with pytest.raises(UserError, match="no such store"):
        Store(str(tmp_path / "none" / "at all"), create=False)
    assert not list(tmp_path.iterdir())


@pytest.fixture
def held(tmp_path, monkeypatch):
    """A store while another process writes to it for longer than is waited."""
    monkeypatch.setattr("rmjax.labeling.people.store._WAIT_S", 0.05)
    store = make_store(tmp_path / "job.sqlite", make_tasks(2))
    with contextlib.closing(sqlite3.connect(tmp_path / "job.sqlite", isolation_level=None)) as other:
        yield store, other


def test_a_store_that_is_locked_for_long_is_told_of(tmp_path, held):
    store, other = held
    other.execute("BEGIN IMMEDIATE")
    pairs = choose_pairs(make_tasks(3)[2:], PairRule.ALL)
    for work in (lambda: store.add(pairs, ALL), lambda: export_judged(store, str(tmp_path / "out.jsonl"))):
        with pytest.raises(UserError, match=r"job\.sqlite is open in another run; wait for its end"):
            work()
    other.execute("ROLLBACK")
    store.add(pairs, ALL)


def test_a_full_disk_is_told_of_and_leaves_all_as_it_was(tmp_path):
    store = make_store(tmp_path / "job.sqlite", make_tasks(2))
    with store.transaction() as database:
        (pages,) = database.execute("PRAGMA page_count").fetchone()
        database.execute(f"PRAGMA max_page_count={pages}")
    with pytest.raises(UserError, match=r"SQLite can't use it \(database or disk is full\); right would be .*space"):
        store.add(choose_pairs(make_tasks(2000)[2:], PairRule.ALL), ALL)
    assert find_progress(store, "mia", Rules()).wanted == 2


def test_the_page_says_so_where_a_judgment_can_not_be_stored(held):
    store, other = held
    mia = Annotator(store, PageSettings(question="Which?"), Clock(), "mia")
    lease, token = mia.field("lease"), mia.field("form_token")
    other.execute("BEGIN IMMEDIATE")
    assert mia.judge("first") == 503
    assert "was not stored" in mia.page
    assert "sqlite" not in mia.page  # where files lie is nothing for annotators
    other.execute("ROLLBACK")
    form = {"lease": lease, "form_token": token, "answer": "first"}
    assert mia.client.post("/judge", data=form).status_code == 200
    assert find_progress(store, "mia", Rules()).mine == 1


def test_a_task_that_another_start_has_added_meanwhile_keeps_its_pairs(tmp_path):
    first, second = (Store(str(tmp_path / "job.sqlite")) for _ in range(2))
    tasks = [Task(id=name, prompt=name, responses=("a", "b", "c")) for name in ("one", "two")]
    assert first.new_tasks(tasks) == second.new_tasks(tasks) == tasks
    assert first.add([Pair(task=tasks[0], left=0, right=1)], ALL) == 1
    assert second.add([Pair(task=tasks[0], left=1, right=2), Pair(task=tasks[1], left=0, right=2)], ALL) == 1
    assert of_pairs(first) == [("one", 0, 1), ("two", 0, 2)]


def of_pairs(store: Store) -> list[tuple]:
    with store.transaction() as database:
        return [tuple(row) for row in database.execute("SELECT task, left, right FROM pairs ORDER BY number")]


def test_only_a_model_that_has_not_chosen_begins_a_further_round(tmp_path):
    store = Store(str(tmp_path / "job.sqlite"))
    first, second, third = Round(PairRule.ROUND_ROBIN, 1), Round(PairRule.LEAST_SURE, 2, "a"), Round(
        PairRule.LEAST_SURE, None, "b")  # fmt: skip
    assert not store.begins(first)
    store.add([], first)
    assert not store.begins(first)
    assert store.begins(second)
    store.add([], second)
    store.add([], second)
    assert not any(map(store.begins, (first, second)))
    assert store.begins(third)
    for other in (
        ALL,
        Round(PairRule.ROUND_ROBIN, 2),
        Round(PairRule.LEAST_SURE, 2),
        Round(PairRule.LEAST_SURE, 3, "a"),
    ):
        known = (
            "--pairs=round_robin --pairs_per_task=1 or --pairs=least_sure --pairs_per_task=2 --scorer_workdir=a, "
            "--pairs=least_sure with another --scorer_workdir, which adds pairs, or another --store; "
            "nobody has judged anything .*"
        )
        with pytest.raises(
            UserError, match=f"^{other} is not what .*job.sqlite was begun with; right would be {known}$"
        ):
            store.begins(other)


def test_a_round_of_which_another_start_took_pairs_is_not_kept_as_done(tmp_path):
    """Else the same command would add nothing the next time: no pair of its own would ever come."""
    store = Store(str(tmp_path / "job.sqlite"))
    task, mine = Task(id="one", prompt="one", responses=("a", "b", "c")), Round(PairRule.LEAST_SURE, 1, "mine")
    store.add([Pair(task, 0, 1)], ALL)
    held = store.held()
    assert store.begins(mine)
    store.add([Pair(task, 0, 2)], Round(PairRule.LEAST_SURE, 1, "theirs"), held)
    with pytest.raises(UserError, match=r"job.sqlite: another start has added pairs of 'one' meanwhile; right would"):
        store.add([Pair(task, 1, 2)], mine, held)
    assert of_pairs(store) == [("one", 0, 1), ("one", 0, 2)]
    assert store.begins(mine)
    assert store.add([Pair(task, 1, 2)], mine, store.held()) == 1


def test_a_known_task_takes_further_pairs_unless_another_start_was_first(tmp_path):
    first, second = (Store(str(tmp_path / "job.sqlite")) for _ in range(2))
    task = Task(id="one", prompt="one", responses=("a", "b", "c"))
    first.add([Pair(task, 1, 0)], ALL)
    held = first.held()
    assert held == second.held() == {"one": {(0, 1)}}
    assert first.add([Pair(task, 0, 2)], ALL, held) == 1
    assert second.add([Pair(task, 1, 2)], ALL, held) == 0
    assert of_pairs(first) == [("one", 1, 0), ("one", 0, 2)]
    assert second.add([Pair(task, 1, 2)], ALL, second.held()) == 1
