"""What the rankings are counted at, and that the figure is drawn."""

import math

import pytest

from rmjax.labeling.simulated_ranking import SimulatedRanker
from studies import kwise
from studies.kwise import COMPARISONS, PAIRS, RANKED, TIME, Arm, arms, comparisons_of, picture, seconds_of
from studies.testbed import judged_truly, unjudged


def test_a_ranking_of_two_is_a_pair_that_reads_three_texts_and_decides_once():
    assert comparisons_of(2) == 1
    assert seconds_of(2) == 3 * kwise.READING + kwise.DECIDING
    assert [comparisons_of(responses) for responses in RANKED] == [1, 6, 28]


def test_no_sort_can_do_with_fewer_decisions():
    for responses in RANKED:
        decisions = (seconds_of(responses) - kwise.READING * (1 + responses)) / kwise.DECIDING
        assert 2 ** (decisions - 1) < math.factorial(responses) <= 2**decisions


def test_the_arms_of_a_budget_spend_the_same_to_within_one_ranking():
    found = list(arms())
    assert found[0] == Arm(2, COMPARISONS, PAIRS)
    assert {(arm.responses, arm.budget) for arm in found} == {(2, COMPARISONS)} | {
        (responses, budget) for responses in (4, 8) for budget in (COMPARISONS, TIME)
    }
    for arm in found:
        of_one = {COMPARISONS: comparisons_of, TIME: seconds_of}[arm.budget]
        assert PAIRS * of_one(2) - of_one(arm.responses) < arm.prompts * of_one(arm.responses) <= PAIRS * of_one(2)


def test_each_prompt_of_a_ranking_weighs_one():
    ranker = SimulatedRanker(dimension="brevity", temperature=0.5)
    for responses in RANKED:
        (ranked,) = map(ranker.judge, unjudged("brevity", count=1, responses=responses))
        assert len(ranked.comparisons) == comparisons_of(responses)
        assert sum(pair.weight for pair in ranked.comparisons) == pytest.approx(1)


def test_the_truth_prefers_the_higher_utility_and_neither_of_equal_ones():
    for entry in judged_truly(unjudged("harmlessness", count=20, responses=4)):
        for pair in entry.comparisons:
            left, right = entry.utilities[pair.left], entry.utilities[pair.right]
            assert pair.probability == (1.0 if left > right else 0.0 if left < right else 0.5)


def test_without_every_pair_only_the_first_two_are_compared():
    (entry,) = unjudged("brevity", count=1, responses=40, every_pair=False)
    assert len(entry.responses) == len(entry.utilities) == 40
    assert [(pair.left, pair.right, pair.weight) for pair in entry.comparisons] == [(0, 1, 1.0)]


def test_the_figure_is_a_picture():
    rows = [
        {
            **arm._asdict(),
            "accuracy": 0.8 + 0.02 * seed,
            "accuracy_low": 0.75,
            "accuracy_high": 0.9,
            "tokens_per_comparison": 100 / arm.responses,
            "milliseconds_per_comparison": 4 / arm.responses,
        }
        for arm in arms()
        for seed in (1, 2)
    ]
    assert picture(rows).startswith(b"\x89PNG")
