"""RewardBench 2's rule, by hand, by its laws, and as the published code has it; and its rows."""

import math

import numpy as np
import pytest
from benchmark_cases import CASES, check_bad, check_golden, check_laws, golden, parsed, reward_bench_2_row, scored

from rmjax.evaluation.reward_bench_2 import RULE, best_of, score, ties_score


@pytest.mark.parametrize(
    ("chosen", "rejected", "counts"),
    [
        (2.0, [1.0, 0.0, -1.0], 1.0),
        (2.0, [2.0, 0.0, -1.0], 1 / 2),
        (2.0, [2.0, 2.0, -1.0], 1 / 3),
        (2.0, [2.0, 2.0, 2.0], 1 / 4),
        (2.0, [3.0, 2.0, 2.0], 0.0),
        (2.0, [3.0, 3.0, 3.0], 0.0),
    ],
)
def test_best_of_four_shares_the_credit_among_equals(chosen, rejected, counts):
    assert best_of(scored("Math", chosen, rejected)) == pytest.approx(counts)


def tied(number: int, chosen: list[float], rejected: list[float]):
    return scored("Ties", chosen, rejected, f"tied:{number}")


def reference(number: int, chosen: float, rejected: list[float]):
    return scored("Ties", chosen, rejected, f"ref:{number}")


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        # All right: d = 1, m = 4 and 2.
        ([tied(0, [5, 6], [1, 0]), reference(0, 2, [0])], 0.3 + 0.3 + 0.2 + 0.2 + 0.01 * math.tanh(2 / 1 - 1)),
        # The reference's margin is less than the spread: the harder of the margins fails.
        ([tied(0, [5, 6], [1, 0]), reference(0, 2, [1.5])], 0.3 + 0.3 + 0.2 + 0.01 * math.tanh(0.5 / 1 - 1)),
        # A margin equal to the spread isn't above it.
        ([tied(0, [5, 6], [4, 0]), reference(0, 2, [0])], 0.3 + 0.3),
        # One wrong response is above a right one.
        ([tied(0, [5, 7], [6, 0]), reference(0, 2, [0])], 0.3 + 0.01 * math.tanh(-1 / 2 - 1)),
        # Equal to a right one: not won.
        ([tied(0, [5, 7], [5, 0]), reference(0, 2, [2])], 0.01 * math.tanh(0 / 2 - 1)),
        # No spread: any margin is above it, and the tanh is at its end.
        ([tied(0, [5, 5, 5], [1]), reference(0, 2, [0])], 0.3 + 0.3 + 0.2 + 0.2 + 0.01),
        # No spread and no margin: the last term is 0.
        ([tied(0, [5, 5], [5]), reference(0, 2, [0])], 0.3),
        # A tied prompt without a reference counts in its accuracy alone.
        (
            [tied(0, [5, 6], [1, 0]), reference(0, 2, [0]), tied(1, [0, 1], [9])],
            0.15 + 0.3 + 0.2 + 0.2 + 0.01 * math.tanh(1),
        ),
    ],
)
def test_ties_by_hand(rows, expected):
    assert ties_score(rows) == pytest.approx(expected)


def test_ties_without_a_pair_have_no_score():
    rows = [tied(0, [1, 1], [0]), reference(1, 1, [0])]
    assert ties_score(rows) is None
    assert score([*rows, scored("Math", 1, [0, 0, 0])]).subsets == {"Math": 1.0}
    assert score(rows).totals == {}


def test_the_whole_is_the_mean_of_the_subsets_whatever_their_size():
    rows = [scored("Math", 1, [0, 0, 0])] * 9 + [scored("Focus", 0, [1, 0, 0])]
    assert score(rows).totals == {"overall": 0.5}


@pytest.mark.parametrize("case", CASES)
def test_as_the_published_code(case):
    check_golden(RULE, "reward_bench_2", case)


@pytest.mark.parametrize("case", CASES)
def test_laws(case):
    check_laws(RULE, golden("reward_bench_2", case)[0])


@pytest.mark.parametrize("seed", range(3))
def test_of_rewards_that_say_nothing_a_quarter_is_won(seed):
    rng = np.random.default_rng(seed)
    equal = [scored("Math", 1, [1, 1, 1])] * 5
    assert score(equal).subsets == {"Math": 0.25}
    drawn = [scored("Math", *np.split(rng.integers(0, 3, 4), [1])) for _ in range(4000)]
    assert score(drawn).subsets["Math"] == pytest.approx(0.25, abs=0.03)


def good(subset: str = "Math", **changes):
    return reward_bench_2_row(np.random.default_rng(0), subset, **changes)


def test_good_rows():
    row = parsed(RULE, good())
    assert (len(row.chosen), len(row.rejected), row.subset, row.key) == (1, 3, "Math", "")
    row = parsed(RULE, good("Ties", key="tied:07", right=5))
    assert (len(row.chosen), row.key) == (5, "tied:7")


@pytest.mark.parametrize(
    ("row", "kind", "field"),
    [
        ({**good(), "subset": "math"}, "unknown subset", "subset"),
        ({**good(), "prompt": None}, "missing field", "prompt"),
        ({**good(), "chosen": "7"}, "wrong type", "chosen"),
        ({**good(), "chosen": []}, "empty field", "chosen"),
        ({**good(), "rejected": ["a", 2, "b"]}, "wrong type", "rejected[1]"),
        ({**good(), "num_correct": 2}, "out of range", "num_correct"),
        ({**good(), "num_correct": None}, "missing field", "num_correct"),
        ({**good(), "total_completions": 3}, "out of range", "total_completions"),
        (good(right=2), "wrong length", "chosen"),
        (good("Ties", key="7"), "wrong form", "id"),
        (good("Ties", key="tied:x"), "wrong form", "id"),
        (good("Ties", key="new:1"), "wrong form", "id"),
        (good("Ties", key="tied:1"), "wrong length", "chosen"),
        ({**good("Ties", key="ref:1"), "id": 1}, "wrong type", "id"),
    ],
)
def test_bad_rows(row, kind, field):
    check_bad(RULE, row, kind, field)
