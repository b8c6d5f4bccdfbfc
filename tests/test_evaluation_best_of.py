"""Best of n is the mean over all subsets."""

import itertools
import math

import numpy as np
import pytest

from rmjax.evaluation.best_of import best_of, best_of_divergence


def test_it_is_the_mean_over_all_subsets():
    rng = np.random.default_rng(0)
    rewards, values = rng.standard_normal(9), rng.standard_normal(9)
    found = best_of(rewards, values, range(1, 10))
    for n, value in zip(range(1, 10), found, strict=True):
        picked = [values[max(subset, key=rewards.__getitem__)] for subset in itertools.combinations(range(9), n)]
        assert value == pytest.approx(np.mean(picked), abs=1e-12)


def test_of_one_it_is_the_mean_and_of_all_the_best():
    rng = np.random.default_rng(1)
    values = rng.standard_normal(256)
    assert best_of(values, values, (1, 256)) == pytest.approx([values.mean(), values.max()])
    assert best_of(-values, values, (1, 256)) == pytest.approx([values.mean(), values.min()])
    assert (np.diff(best_of(values, values, (1, 2, 4, 8, 16, 32, 64, 128, 256))) > 0).all()


def test_equal_rewards_are_picked_alike():
    values = np.array([1.0, 2.0, 3.0, 10.0])
    assert best_of(np.zeros(4), values, (1, 2, 4)) == pytest.approx([4.0, 4.0, 4.0])
    assert best_of(np.array([0.0, 1.0, 1.0, -1.0]), values, (4,)) == pytest.approx([2.5])


def test_a_size_that_cannot_be_is_said():
    for size in (0, 5):
        with pytest.raises(ValueError, match=rf"sizes has {size}; of 4 candidates right would be 1\.\.4"):
            best_of(np.zeros(4), np.zeros(4), (1, size))


def test_the_divergence_is_that_of_the_chances():
    """Against a sum over a fine grid of candidates: each is picked n u**(n - 1) times as often as drawn, u its rank."""
    assert best_of_divergence(1) == 0
    ranks = (np.arange(200_000) + 0.5) / 200_000
    for n in (2, 7, 64):
        log_density = np.log(n) + (n - 1) * np.log(ranks)
        expected = float(np.mean(np.exp(log_density) * log_density))
        assert best_of_divergence(n) == pytest.approx(expected, abs=1e-4)
    assert best_of_divergence(256) == pytest.approx(math.log(256) - 255 / 256)
