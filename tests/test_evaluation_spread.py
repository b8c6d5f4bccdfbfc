"""What the members of an ensemble say: their spread, how sure a preference is, and what is asked first."""

import dataclasses
import itertools

import numpy as np
import pytest
from scipy import stats
from untrained import untrained_config, untrained_contract

from rmjax.batches.tokenize import tokenize
from rmjax.evaluation.measure import judged_pairs, measure, measure_heads
from rmjax.evaluation.pairwise import reward_differences
from rmjax.evaluation.spread import least_sure_first, spread, sureness
from rmjax.models.reward import mean_of_members
from rmjax.preferences.record import Comparison, Preference, Source


def drawn(seed, *shape, scale=1.0):
    return (scale * np.random.default_rng(seed).normal(size=shape)).astype(np.float32)


def test_the_spread_is_the_deviation_of_a_sample_whatever_the_rewards_are_shifted_by():
    members = drawn(0, 50, 2, 5)
    slow = [[np.sqrt(sum((m - sum(row) / 5) ** 2 for m in row) / 4) for row in head] for head in members.astype(float)]
    np.testing.assert_allclose(spread(members), slow, rtol=1e-6)
    np.testing.assert_allclose(spread(members + 3), slow, rtol=1e-4)
    np.testing.assert_allclose(spread(4 * members), 4 * np.array(slow), rtol=1e-6)
    assert np.isnan(spread(members[..., :1])).all()


def test_the_spread_of_a_difference_has_no_part_in_what_a_members_prompt_adds():
    members = drawn(1, 20, 1, 4)
    left, right, head = np.arange(0, 20, 2), np.arange(1, 20, 2), np.zeros(10, np.int64)
    shifted = members + np.repeat(drawn(2, 10, 1, 4, scale=9.0), 2, axis=0)
    assert spread(shifted).mean() > 3 * spread(members).mean()
    apart = [spread(reward_differences(values, left, right, head)) for values in (members, shifted)]
    np.testing.assert_allclose(*apart, atol=1e-5)


def test_of_one_member_mean_and_order_are_the_rewards_own():
    members = drawn(3, 30, 1, 1)
    np.testing.assert_array_equal(mean_of_members(members), members[..., 0])
    differences = reward_differences(members, np.arange(0, 30, 2), np.arange(1, 30, 2), np.zeros(15, np.int64))
    np.testing.assert_array_equal(sureness(differences), np.abs(differences[:, 0]))
    np.testing.assert_array_equal(least_sure_first(differences), np.argsort(np.abs(differences[:, 0])))


def test_the_least_sure_first_are_those_that_another_member_is_likeliest_to_see_the_other_way_round():
    """Members drawn from a known normal distribution: the order is that of its probability of the other sign."""
    rng = np.random.default_rng(0)
    mean, deviation = rng.normal(size=40), rng.uniform(0.3, 3.0, size=40)
    members = mean[:, None] + deviation[:, None] * rng.normal(size=(40, 20_000))
    disagreeing = (np.sign(members) != np.sign(mean)[:, None]).mean(axis=1)
    order = least_sure_first(members.astype(np.float32))
    assert stats.spearmanr(np.argsort(order), -disagreeing).statistic > 0.99
    np.testing.assert_allclose(stats.norm.cdf(-sureness(members)), disagreeing, atol=0.02)
    closest = np.argsort(np.abs(mean))
    assert order.tolist() != closest.tolist()  # what is nearly equal may be known to be


@pytest.mark.parametrize("seed", range(3))
def test_sureness_ignores_which_is_left_and_the_unit_of_rewards(seed):
    differences = drawn(seed, 30, 4)
    np.testing.assert_allclose(sureness(-differences), sureness(differences), rtol=1e-6)
    np.testing.assert_allclose(sureness(7 * differences), sureness(differences), rtol=1e-5)


def test_equal_members_are_sure_and_equal_rewards_are_not():
    differences = np.array([[1.0, 1.0], [0.0, 0.0], [1.0, -1.0], [-2.0, -1.0]], np.float32)
    assert sureness(differences).tolist() == [np.inf, 0.0, 0.0, pytest.approx(1.5 / np.sqrt(0.5))]
    assert least_sure_first(differences).tolist() == [1, 2, 3, 0]


def judged(count: int):
    preferences = [
        Preference(
            prompt=f"q{number}", responses=(" a", " b"), comparisons=(Comparison(left=0, right=1),), dimension="d",
            source=Source.HUMAN,
        )
        for number in range(count)
    ]  # fmt: skip
    return judged_pairs(tokenize(preferences, untrained_contract(untrained_config())), preferences)


def test_an_evaluation_says_whether_errors_are_where_the_members_are_apart():
    """Members as noise of a growing size around a right mean: the more noise, the more errors of their mean."""
    pairs, rng = judged(400), np.random.default_rng(1)
    noise = np.repeat(np.linspace(0.1, 6.0, 400), 2)[:, None, None] * rng.normal(size=(800, 1, 5))
    members = (np.tile([1.0, -1.0], 400)[:, None, None] + noise).astype(np.float32)
    numbers = measure(members.mean(-1), pairs, members).numbers
    without = measure(members.mean(-1), pairs).numbers
    assert {name: numbers[name] for name in without} == pytest.approx(without, rel=0, abs=0, nan_ok=True)
    assert numbers["mean_spread"] == pytest.approx(members.std(-1, ddof=1).mean(), rel=1e-5)
    differences = members[0::2, 0] - members[1::2, 0]
    assert numbers["mean_difference_spread"] == pytest.approx(differences.std(-1, ddof=1).mean(), rel=1e-5)
    quarters = numbers["accuracy_by_spread_quartile"]
    assert quarters[0] > quarters[3] + 0.1
    assert np.mean(quarters) == pytest.approx(numbers["accuracy"])
    assert all(one > other - 0.05 for one, other in itertools.pairwise(quarters))


def test_of_several_heads_the_members_of_each_are_measured_on_its_own_comparisons():
    pairs = judged(60)
    pairs = dataclasses.replace(pairs, head=np.arange(60) % 2)
    members = drawn(4, 120, 2, 3)
    numbers = measure_heads(mean_of_members(members), pairs, ("a", "b"), members).numbers
    assert "mean_spread" in numbers
    for head, name in enumerate("ab"):
        own = np.arange(120).reshape(60, 2)[head::2].ravel()
        found = numbers["heads"][name]
        assert found["mean_spread"] == pytest.approx(members[own, head].std(-1, ddof=1).mean(), rel=1e-5)
        apart = members[own[0::2], head] - members[own[1::2], head]
        assert found["mean_difference_spread"] == pytest.approx(apart.std(-1, ddof=1).mean(), rel=1e-5)
