"""The store goes on with the job that it was begun with, and with no other."""

import pytest
from labeling_cases import make_store, make_tasks

from rmjax.errors import UserError
from rmjax.labeling.handing import Rules, find_progress
from rmjax.labeling.pairing import PairRule, choose_pairs
from rmjax.labeling.store import Store
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
    store.add(choose_pairs(store.new_tasks(make_tasks(5)), PairRule.ALL))
    assert find_progress(store, "mia", Rules()).wanted == 5


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
