"""The position bias is what was planted, with an interval that holds it as often as it says."""

import numpy as np
import pytest
from scipy.stats import binomtest

from rmjax.labeling.judge.report import cost, position_bias, tokens
from rmjax.labeling.judge.settings import JudgeSettings
from rmjax.labeling.report.biases import first_probability
from rmjax.labeling.report.judgments import tabulate
from rmjax.preferences.record import Comparison, Preference, Side, Source


def test_a_fair_judge_has_none_and_one_who_takes_the_first_has_a_half():
    fair = position_bias([(place, p, p) for place, p in enumerate([0.1, 0.9, 1.0, 0.5])])
    assert fair is not None
    assert (fair.value, fair.consistent) == (0.0, pytest.approx(3.5 / 4))
    first = position_bias([(place, 1.0, 0.0) for place in range(5)])
    assert first is not None
    exact = binomtest(5, 5).proportion_ci(method="wilson")
    assert (first.value, first.high, first.consistent) == (0.5, 0.5, 0.0)
    assert first.low == pytest.approx(exact.low - 0.5)
    last = position_bias([(place, 0.0, 1.0) for place in range(5)])
    assert last is not None
    assert (last.value, last.low, last.high) == (-0.5, -0.5, pytest.approx(-first.low))
    assert position_bias([]) is None


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("hard", [False, True])
def test_it_is_what_the_report_on_labels_says_of_the_orders(seed, hard):
    rng = np.random.default_rng(seed)
    prompts = rng.integers(0, 9, size=30).tolist()
    there, back = (rng.random((2, 30)).round() if hard else rng.random((2, 30))).tolist()
    orders = [
        Preference(
            prompt=str(prompt), responses=(f"a{place}", f"b{place}"), dimension="honesty", source=Source.AI,
            comparisons=(
                Comparison(left=0, right=1, probability=one, shown_first=Side.LEFT),
                Comparison(left=0, right=1, probability=other, shown_first=Side.RIGHT),
            ),
        )
        for place, (prompt, one, other) in enumerate(zip(prompts, there, back, strict=True))
    ]  # fmt: skip
    share = first_probability(tabulate(orders)["honesty"]).estimate
    found = position_bias(list(zip(prompts, there, back, strict=True)))
    assert found is not None
    assert (found.value, found.low, found.high) == pytest.approx(
        (share.value - 0.5, share.low - 0.5, share.high - 0.5), abs=1e-12
    )


def test_swapping_what_is_left_changes_nothing():
    rng = np.random.default_rng(0)
    there, back = rng.random(20), rng.random(20)
    one = position_bias([(i, a, b) for i, (a, b) in enumerate(zip(there, back, strict=True))])
    # left and right swapped: the order that had left first has right first now, and probabilities are of the other
    other = position_bias([(i, 1 - b, 1 - a) for i, (a, b) in enumerate(zip(there, back, strict=True))])
    assert one is not None
    assert other is not None
    assert (one.value, one.low, one.high) == pytest.approx((other.value, other.low, other.high))


@pytest.mark.parametrize("pairs_each", [1, 6])
def test_the_interval_holds_the_bias_in_95_of_100(pairs_each):
    """Votes of judges whose bias differs by prompt: with several pairs of a prompt they go together."""
    rng = np.random.default_rng(pairs_each)
    held, rounds, prompts, bias = 0, 600, 60, 0.15
    for _ in range(rounds):
        own = np.repeat(np.clip(bias + rng.uniform(-0.3, 0.3, prompts), -0.5, 0.5), pairs_each)
        first_there, first_back = (rng.random((2, own.size)) < 0.5 + own).astype(float)
        orders = [(i // pairs_each, a, 1 - b) for i, (a, b) in enumerate(zip(first_there, first_back, strict=True))]
        found = position_bias(orders)
        assert found is not None
        assert found.low is not None
        assert found.high is not None
        held += found.low <= bias <= found.high
    assert 0.91 < held / rounds < 0.985


def test_one_prompt_has_no_interval():
    found = position_bias([(0, 0.7, 0.5), (0, 0.9, 0.5)])
    assert found is not None
    assert (found.value, found.low, found.high) == (pytest.approx(0.15), None, None)


def test_tokens_by_the_rule_of_thumb():
    assert [tokens(text) for text in ("", "a", "abcd", "abcde", "\u00e9\u00e9\u00e9", "\u6f22\u5b57")] == [
        0, 1, 1, 2, 2, 2,
    ]  # fmt: skip


def test_the_cost_is_by_the_million():
    common = {"model": "m", "dimension": "d", "constitution": "c", "output": "x.jsonl"}
    assert cost(2_000_000, 500_000, JudgeSettings(**common, price_in=3.0, price_out=10.0)) == 11.0
    assert cost(2_000_000, 500_000, JudgeSettings(**common)) is None
