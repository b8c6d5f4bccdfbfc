"""Laws of the intervals."""

import numpy as np
import pytest
import statsmodels.api
from scipy import stats

from rmjax.intervals import clustered_mean, effective_count, paired_bootstrap, wilson_interval


def test_the_bounds_are_on_either_side_of_the_value():
    for count in range(1, 200):
        for value in (0.0, 1.0):
            found = wilson_interval(np.full(count, value), np.arange(count))
            assert found.low <= found.value <= found.high


@pytest.mark.parametrize(("right", "count"), [(0, 5), (1, 5), (5, 5), (37, 61), (700, 1000), (1000, 1000)])
def test_one_comparison_a_prompt_is_the_binomial_wilson_interval(right, count):
    correct = np.random.default_rng(0).permutation(np.repeat([1.0, 0.0], [right, count - right]))
    found = wilson_interval(correct, np.arange(count))
    exact = stats.binomtest(right, count).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high), abs=1e-12)
    assert found.value == pytest.approx(right / count)


@pytest.mark.parametrize("copies", [2, 5])
@pytest.mark.parametrize("seed", range(3))
def test_repeating_every_comparison_of_a_prompt_says_nothing_new(seed, copies):
    correct = (np.random.default_rng(seed).random(80) < 0.7).astype(float)
    prompts = np.arange(80)
    once = wilson_interval(correct, prompts)
    again = wilson_interval(np.repeat(correct, copies), np.repeat(prompts, copies))
    assert again.low == pytest.approx(once.low, abs=2e-3)
    assert again.high == pytest.approx(once.high, abs=2e-3)


def test_many_comparisons_of_one_prompt_count_as_one():
    one = wilson_interval(np.array([1.0, 0.0, 1.0, 1.0]), np.zeros(4, int))
    assert effective_count(np.array([1.0, 0.0, 1.0, 1.0]), np.zeros(4, int)) == 1
    assert one.high - one.low > 0.75


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_all_wrong_and_all_right_keep_a_width_that_counts_the_prompts(value):
    found = wilson_interval(np.full(30, value), np.repeat(np.arange(10), 3))
    exact = stats.binomtest(int(10 * value), 10).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high))


@pytest.mark.parametrize("seed", range(5))
def test_the_interval_lies_in_the_unit_interval_around_its_value(seed):
    rng = np.random.default_rng(seed)
    correct = rng.choice([0.0, 0.5, 1.0], size=seed * 7 + 1)
    found = wilson_interval(correct, rng.integers(0, 5, size=correct.size))
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert effective_count(correct, rng.integers(0, 5, size=correct.size)) <= correct.size


def test_coverage_holds_when_comparisons_of_a_prompt_agree():
    rng = np.random.default_rng(0)
    prompts = np.repeat(np.arange(60), 4)
    clustered = naive = 0
    for _ in range(400):
        ability = rng.beta(1.4, 0.6, size=60)  # mean 0.7, and strong agreement within a prompt
        correct = (rng.random(240) < ability[prompts]).astype(float)
        found, blind = wilson_interval(correct, prompts), wilson_interval(correct, np.arange(240))
        clustered += found.low <= 0.7 <= found.high
        naive += blind.low <= 0.7 <= blind.high
    assert 0.92 <= clustered / 400 <= 0.98
    assert naive / 400 < 0.90


@pytest.mark.parametrize("seed", range(5))
def test_the_mean_of_clusters_has_the_interval_of_statsmodels(seed):
    rng = np.random.default_rng(seed)
    values, prompts = rng.uniform(0.3, 0.7, size=80), rng.integers(0, 12, size=80)
    found = clustered_mean(values, prompts)
    robust = {"cov_type": "cluster", "cov_kwds": {"groups": prompts}, "use_t": True}
    fit = statsmodels.api.OLS(values, np.ones(80)).fit(**robust)
    low, high = fit.conf_int()[0]
    assert (found.value, found.low, found.high) == pytest.approx((fit.params[0], low, high), abs=1e-12)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_the_mean_of_what_is_all_0_or_all_1_has_wilsons_interval_of_the_prompts(value):
    found = clustered_mean(np.full(30, value), np.repeat(np.arange(10), 3))
    exact = stats.binomtest(int(10 * value), 10).proportion_ci(method="wilson")
    assert (found.value, found.low, found.high) == pytest.approx((value, exact.low, exact.high))


@pytest.mark.parametrize("seed", range(5))
def test_the_interval_of_a_mean_mirrors_and_has_a_width_inside_0_and_1(seed):
    rng = np.random.default_rng(seed)
    for value in (0.0, 0.2, 0.5, 1.0):
        values, prompts = np.full(40, value), rng.integers(0, 20, size=40)
        values[:seed] = rng.random(seed)
        found, other = clustered_mean(values, prompts), clustered_mean(1 - values, prompts)
        assert 0 <= found.low <= found.value <= found.high <= 1
        assert found.high - found.low > 0.01
        assert (other.value, other.low, other.high) == pytest.approx((1 - found.value, 1 - found.high, 1 - found.low))


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_what_differs_by_next_to_nothing_has_next_to_the_same_interval(value):
    alike = np.full(100, value)
    nearly = np.where(np.arange(100) == 7, abs(value - 1e-6), alike)
    found, other = (clustered_mean(values, np.arange(100)) for values in (alike, nearly))
    assert (other.low, other.high) == pytest.approx((found.low, found.high), abs=1e-5)
    assert found.high - found.low > 0.03


@pytest.mark.parametrize("groups", [3, 6, 40])
def test_the_mean_is_covered_also_with_few_prompts(groups):
    rng = np.random.default_rng(groups)
    prompts, held, rounds = np.repeat(np.arange(groups), 3), 0, 1000
    for _ in range(rounds):
        values = np.clip(0.6 + rng.normal(0, 0.08, groups)[prompts] + rng.normal(0, 0.05, prompts.size), 0, 1)
        found = clustered_mean(values, prompts)
        held += found.low <= 0.6 <= found.high
    assert held / rounds > 0.93


@pytest.mark.parametrize("rare", [0.002, 0.01, 0.03])
def test_what_is_rarely_seen_is_not_held_for_impossible(rare):
    """Most samples of 50 prompts hold none of the rare ones, whose values differ: variance alone would be zero."""
    rng = np.random.default_rng(0)
    held, rounds = 0, 1000
    for _ in range(rounds):
        found = clustered_mean(np.where(rng.random(50) < rare, 1.0, 0.5), np.arange(50))
        held += found.low <= 0.5 + rare / 2 <= found.high
    assert held / rounds > 0.93


def test_one_prompt_says_nothing_of_others():
    found = clustered_mean(np.array([0.25, 0.75]), np.zeros(2, int))
    assert found.value == 0.5
    assert np.isnan([found.low, found.high]).all()


def test_nothing_is_not_a_number():
    assert np.isnan(clustered_mean(np.zeros(0), np.zeros(0, int)).value)
    assert np.isnan(wilson_interval(np.zeros(0), np.zeros(0, int)).low)
    assert np.isnan(paired_bootstrap(np.zeros((2, 0)), np.zeros(0, int)).low)


def test_bootstrap_of_one_model_is_near_the_wilson_interval():
    correct = (np.random.default_rng(1).random(1000) < 0.65).astype(float)
    found, wilson = paired_bootstrap(correct[None], np.arange(1000)), wilson_interval(correct, np.arange(1000))
    assert found.value == pytest.approx(wilson.value)
    assert (found.low, found.high) == pytest.approx((wilson.low, wilson.high), abs=3e-3)


def test_bootstrap_over_seeds_is_the_mean_and_repeats_by_seed():
    rng = np.random.default_rng(3)
    correct, prompts = (rng.random((3, 90)) < 0.7).astype(float), rng.integers(0, 30, size=90)
    found = paired_bootstrap(correct, prompts, samples=500)
    assert found.value == pytest.approx(correct.mean())
    assert found == paired_bootstrap(correct, prompts, samples=500)
    reordered = paired_bootstrap(correct[[2, 0, 1]], prompts, samples=500)
    assert (reordered.low, reordered.high) == pytest.approx((found.low, found.high))
    assert found != paired_bootstrap(correct, prompts, samples=500, seed=1)
