"""No prompt counts more than another, whoever judged it: what people said weighs as what a machine says."""

import math
from collections import Counter

import pytest
from labeling_cases import Clock, make_store

from rmjax.labeling.pairing import PairRule, choose_pairs, to_judge
from rmjax.labeling.people.handing import Answer, Rules, enter, find_progress, hand_out, judge, undo
from rmjax.labeling.people.judged import export_judged, read_judged
from rmjax.labeling.people.store import Store
from rmjax.labeling.rule import BREVITY
from rmjax.preferences.groups import RowDefaults
from rmjax.preferences.read import read_preferences
from rmjax.preferences.record import Preference, Text
from rmjax.preferences.tasks import Task, compared_pairs, read_tasks

SIZES = (2, 3, 4, 8)
"""Responses of the tasks, of which each has another prompt."""


def tasks() -> list[Task]:
    return [
        Task(id=f"t{size}", prompt=f"Question {size}?", responses=tuple("x" * (place + 1) for place in range(size)))
        for size in SIZES
    ]


def answered(tmp_path, annotators: tuple[str, ...], *, most: int = 100) -> Store:
    """A store in which each annotator has judged so many pairs, or all."""
    clock = Clock()
    store = make_store(tmp_path / "job.sqlite", tasks())
    rules = Rules(annotators_per_pair=len(annotators))
    for name in annotators:
        enter(store, name, clock())
        for _ in range(most):
            lease = hand_out(store, name, rules, clock())
            if lease is not None:
                judge(store, name, lease.key, Answer.FIRST, now=clock())
    return store


def totals(preferences) -> dict[Text, float]:
    return {one.prompt: math.fsum(comparison.weight for comparison in one.comparisons) for one in preferences}


def by_people(tmp_path, annotators: tuple[str, ...], **options) -> tuple[Preference, ...]:
    """The preferences as they are read back from the export."""
    store = answered(tmp_path, annotators, **options)
    export_judged(store, str(tmp_path / "out.jsonl"))
    return read_preferences(tmp_path / "out.jsonl", defaults=RowDefaults("helpfulness")).preferences


def test_a_prompt_counts_once_for_each_annotator_however_many_responses_it_has(tmp_path):
    found = by_people(tmp_path, ("mia", "ben"))
    assert totals(found) == pytest.approx({f"Question {size}?": 2.0 for size in SIZES})
    for one in found:
        assert len({comparison.weight for comparison in one.comparisons}) == 1
        counts = Counter(comparison.annotator for comparison in one.comparisons)
        assert counts["mia"] == counts["ben"] == math.comb(len(one.responses), 2)


def test_a_pair_of_its_own_has_the_weight_1(tmp_path):
    (pair, *_) = by_people(tmp_path, ("mia", "ben"))
    assert [comparison.weight for comparison in pair.comparisons] == [1.0, 1.0]


def test_a_machine_s_labels_of_the_same_tasks_weigh_the_same(tmp_path):
    people = by_people(tmp_path, ("mia",))
    rows = tmp_path / "tasks.jsonl"
    rows.write_text("".join(task.texts() + "\n" for task in tasks()))
    opened, _ = read_tasks(rows, defaults=RowDefaults("helpfulness"))
    unjudged = to_judge(choose_pairs(opened, PairRule.ALL), "helpfulness")
    assert totals(people) == pytest.approx(totals(map(BREVITY.judge, unjudged)))
    for one, other in zip(people, unjudged, strict=True):
        of_people, of_judge = (compared_pairs(source.comparisons) for source in (one, other))
        assert of_people == pytest.approx(of_judge)


@pytest.mark.parametrize("most", [1, 4, 5, 9, 20])
def test_a_prompt_of_which_some_pairs_are_not_judged_yet_counts_as_much_as_one_that_is_done(tmp_path, most):
    found = by_people(tmp_path, ("mia",), most=most)
    assert len(found) == min(most, len(SIZES))
    assert totals(found) == pytest.approx(dict.fromkeys(totals(found), 1.0))


def test_what_was_undone_or_skipped_takes_no_weight_from_the_others(tmp_path):
    store, clock, rules = answered(tmp_path, ("mia",), most=5), Clock(), Rules()
    before = read_judged(store).preferences
    assert [len(one.comparisons) for one in before] == [1, 2, 1, 1]
    assert undo(store, "mia", find_progress(store, "mia", rules).last, rules, clock())
    undone = read_judged(store).preferences
    lease = hand_out(store, "mia", rules, clock())
    judge(store, "mia", lease.key, Answer.SKIP, now=clock())
    for after in (undone, read_judged(store).preferences):
        assert [len(one.comparisons) for one in after] == [1, 1, 1, 1]
        assert totals(after) == totals(before) == pytest.approx(dict.fromkeys(totals(before), 1.0))
