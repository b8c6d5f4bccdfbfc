"""Laws of accuracy, likelihood, quartiles and rank correlation."""

import math

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import balanced_accuracy_score
from statsmodels.stats.proportion import confint_proportions_2indep

from rmjax.evaluation import pairwise


def drawn(seed: int, comparisons: int = 200):
    rng = np.random.default_rng(seed)
    differences = rng.normal(size=comparisons).round(1)
    probability = rng.choice([0.0, 0.2, 0.5, 0.7, 1.0], size=comparisons)
    return differences, probability


def test_differences_read_the_head_of_each_comparison():
    rewards = np.array([[1.0, 10.0], [2.0, 30.0], [4.0, 70.0]], np.float32)
    left, right, head = np.array([0, 0, 2]), np.array([1, 2, 1]), np.array([0, 1, 1])
    assert pairwise.reward_differences(rewards, left, right, head).tolist() == [-1.0, -60.0, 40.0]


def test_a_tie_of_rewards_counts_half_and_a_tie_of_labelers_not_at_all():
    differences = np.array([1.0, -1.0, 0.0, 0.0, 5.0])
    probability = np.array([1.0, 1.0, 1.0, 0.0, 0.5])
    assert pairwise.correctness(differences, probability)[:4].tolist() == [1, 0, 0.5, 0.5]
    assert pairwise.accuracy(differences, probability) == 0.5


def test_the_right_answer_of_a_soft_label_is_its_greater_side():
    assert pairwise.accuracy(np.array([0.1, 0.1, -3.0]), np.array([0.51, 0.49, 0.3])) == pytest.approx(2 / 3)


@pytest.mark.parametrize("seed", range(4))
def test_swapping_left_and_right_changes_no_statistic(seed):
    differences, probability = drawn(seed)
    size = np.abs(np.random.default_rng(seed).integers(0, 50, len(differences))).astype(float)
    flip = np.where(np.random.default_rng(seed + 100).random(len(differences)) < 0.5, -1.0, 1.0)
    other = np.where(flip < 0, 1 - probability, probability)
    assert pairwise.accuracy(flip * differences, other) == pairwise.accuracy(differences, probability)
    assert pairwise.negative_log_likelihood(flip * differences, other) == pytest.approx(
        pairwise.negative_log_likelihood(differences, probability), abs=1e-14
    )
    assert pairwise.accuracy_by_quartile(flip * differences, other, size) == pairwise.accuracy_by_quartile(
        differences, probability, size
    )


def test_likelihood_of_ignorance_is_log_two_and_of_far_rewards_is_finite():
    assert pairwise.negative_log_likelihood(np.zeros(3), np.array([0.0, 0.3, 1.0])) == pytest.approx(math.log(2))
    assert pairwise.negative_log_likelihood(np.array([-1e4]), np.array([1.0])) == pytest.approx(1e4)


@pytest.mark.parametrize("seed", range(3))
def test_likelihood_is_least_at_the_log_odds_of_the_label(seed):
    probability = np.random.default_rng(seed).uniform(0.05, 0.95, size=20)
    best = np.log(probability / (1 - probability))
    least = pairwise.negative_log_likelihood(best, probability)
    assert least == pytest.approx(float(stats.entropy([probability, 1 - probability]).mean()))
    assert pairwise.negative_log_likelihood(best + 0.01, probability) > least


@pytest.mark.parametrize("seed", range(3))
def test_quartiles_average_to_the_whole(seed):
    differences, probability = drawn(seed)
    size = np.random.default_rng(seed).permutation(len(differences)).astype(float)
    kept = pairwise.decided(probability)
    quarters = pairwise.accuracy_by_quartile(differences, probability, size)
    quarter = np.searchsorted(np.quantile(size[kept], [0.25, 0.5, 0.75]), size[kept])
    counts = np.bincount(quarter, minlength=4)
    assert counts.max() - counts.min() <= 1
    assert np.dot(quarters, counts) / counts.sum() == pytest.approx(pairwise.accuracy(differences, probability))


def test_quartiles_are_ordered_from_small_to_great_and_keep_equal_sizes_together():
    differences = np.array([-1.0] * 4 + [1.0] * 4)
    assert pairwise.accuracy_by_quartile(differences, np.ones(8), np.arange(8.0)) == [0, 0, 1, 1]
    quarters = pairwise.accuracy_by_quartile(differences, np.ones(8), np.full(8, 3.0))
    assert quarters[0] == 0.5
    assert np.isnan(quarters[1:]).all()


def of_lengths(seed: int, count: int = 4000):
    """Pairs, two of a prompt, of which labelers mostly prefer the longer; and what the better response is."""
    rng = np.random.default_rng(seed)
    longer, better = rng.normal(size=count), rng.normal(size=count)
    probability = (longer + 0.7 * better + 0.5 * rng.normal(size=count) > 0).astype(float)
    return longer, better, probability, np.arange(count) // 2


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("sign", [-1, 1])
def test_whoever_goes_by_length_alone_has_one_half_at_equal_length(seed, sign):
    longer, _, probability, prompts = of_lengths(seed)
    alone = pairwise.length_controlled_accuracy(sign * longer, probability, longer, prompts)
    assert alone.value == pytest.approx(0.5)
    assert 0.49 < alone.low < 0.5 < alone.high < 0.51  # not 0.5 alone: other pairs may not all be so
    assert sign * (pairwise.accuracy(sign * longer, probability) - 0.5) > 0.2
    noisy = sign * longer + np.random.default_rng(seed + 10).normal(size=len(longer))
    found = pairwise.length_controlled_accuracy(noisy, probability, np.sign(longer), prompts)
    assert abs(found.value - 0.5) < 0.1 < abs(pairwise.accuracy(noisy, probability) - 0.5)
    coins = np.random.default_rng(seed + 20).normal(size=len(longer)) + 5 * sign * np.sign(longer)
    found = pairwise.length_controlled_accuracy(coins, probability, longer, prompts)
    assert abs(found.value - 0.5) < 0.01


@pytest.mark.parametrize("seed", range(3))
def test_the_length_controlled_accuracy_is_the_balanced_one_of_scikit_learn(seed):
    longer, better, probability, prompts = of_lengths(seed)
    found = pairwise.length_controlled_accuracy(better, probability, longer, prompts)
    prefers_longer, model_does = (probability > 0.5) == (longer > 0), (better > 0) == (longer > 0)
    assert found.value == pytest.approx(balanced_accuracy_score(prefers_longer, model_does), abs=1e-14)
    assert found.low < found.value < found.high
    assert found.value > 0.6
    unequal = np.concatenate([longer, np.zeros(9)]), np.concatenate([np.arange(4000) // 2, np.arange(9)])
    padded = [np.concatenate([values, np.ones(9)]) for values in (better, probability)]
    assert pairwise.length_controlled_accuracy(*padded, *unequal) == found  # pairs of equal length say nothing here


@pytest.mark.parametrize("seed", range(2))
def test_the_length_controlled_accuracy_does_not_see_which_is_left_nor_the_unit_of_length(seed):
    longer, better, probability, prompts = of_lengths(seed)
    flip = np.where(np.random.default_rng(seed).random(len(longer)) < 0.5, -1.0, 1.0)
    there = np.where(flip < 0, 1 - probability, probability)
    found = pairwise.length_controlled_accuracy(better, probability, longer, prompts)
    assert pairwise.length_controlled_accuracy(flip * better, there, 7 * flip * longer, prompts) == found


@pytest.mark.parametrize(("few", "many"), [((6, 0.9), (60, 0.6)), ((3, 0.8), (500, 0.6)), ((20, 0.97), (20, 0.97))])
def test_the_length_controlled_accuracy_is_covered_also_where_a_kind_is_all_right(few, many):
    rng, held, rounds = np.random.default_rng(0), 0, 300
    longer = np.repeat([1.0, -1.0], [few[0], many[0]])
    chances = np.repeat([few[1], many[1]], [few[0], many[0]])
    for _ in range(rounds):
        right = np.where(rng.random(len(longer)) < chances, 1.0, -1.0)
        found = pairwise.length_controlled_accuracy(right, np.ones(len(longer)), longer, np.arange(len(longer)))
        assert 0 <= found.low < found.value <= found.high <= 1
        held += found.low <= (few[1] + many[1]) / 2 <= found.high
    assert held / rounds > 0.93


def test_half_the_sum_of_two_proportions_is_half_newcombes_difference_from_the_opposite_of_one():
    right, longer = np.ones(50), np.repeat([1.0, -1.0], [8, 42])
    right[8:20] = -1
    found = pairwise.length_controlled_accuracy(right, np.ones(50), longer, np.arange(50))
    low, high = confint_proportions_2indep(8, 8, 12, 42, method="newcomb", compare="diff")  # a - (1 - b) = a + b - 1
    assert (found.low, found.high) == pytest.approx(((low + 1) / 2, (high + 1) / 2), abs=1e-12)


def test_without_pairs_of_both_kinds_there_is_no_length_controlled_accuracy():
    longer, better, probability, prompts = of_lengths(0, 40)
    for lengths in (np.zeros(40), probability - 0.5, 0.5 - probability):
        found = pairwise.length_controlled_accuracy(better, probability, lengths, prompts)
        assert all(math.isnan(value) for value in (found.value, found.low, found.high))
    nothing = pairwise.length_controlled_accuracy(better, np.full(40, 0.5), longer, prompts)
    assert math.isnan(nothing.value)


def test_bayes_accuracy_counts_the_decided_and_needs_every_true_probability():
    assert pairwise.bayes_accuracy(np.array([0.9, 0.2, 1.0]), np.array([1.0, 1.0, 0.5])) == pytest.approx(0.85)
    assert math.isnan(pairwise.bayes_accuracy(np.array([0.9, np.nan]), np.array([1.0, 0.0])))


@pytest.mark.parametrize("seed", range(4))
def test_spearman_does_not_see_order_repetition_prompt_constants_or_monotone_maps(seed):
    rng = np.random.default_rng(seed)
    utilities = rng.normal(size=60)
    rewards = (utilities + 0.5 * rng.normal(size=60)).astype(np.float32)
    left, right = np.arange(0, 60, 2), np.arange(1, 60, 2)
    value = pairwise.spearman(rewards, utilities, left, right)
    flip = rng.random(30) < 0.5
    assert pairwise.spearman(rewards, utilities, np.where(flip, right, left), np.where(flip, left, right)) == value
    twice = np.concatenate([left, right]), np.concatenate([right, left])
    assert pairwise.spearman(rewards, utilities, *twice) == pytest.approx(value)
    constants = np.repeat(rng.integers(-8, 8, size=30), 2)
    assert pairwise.spearman(rewards.astype(np.float64) + constants, utilities, left, right) == pytest.approx(value)
    assert pairwise.spearman(3 * utilities, utilities, left, right) == pytest.approx(1)
    assert pairwise.spearman(-utilities, utilities, left, right) == pytest.approx(-1)


def test_spearman_of_constant_rewards_or_unknown_utilities_is_not_a_number():
    left, right = np.array([0]), np.array([1])
    assert math.isnan(pairwise.spearman(np.ones(2), np.array([1.0, 2.0]), left, right))
    assert math.isnan(pairwise.spearman(np.array([1.0, 2.0]), np.array([1.0, np.nan]), left, right))


def test_nothing_gives_not_a_number_without_a_warning():
    nothing = np.zeros(0)
    assert math.isnan(pairwise.accuracy(nothing, nothing))
    assert math.isnan(pairwise.negative_log_likelihood(nothing, nothing))
    assert np.isnan(pairwise.accuracy_by_quartile(nothing, nothing, nothing)).all()
