"""Means come from sums alone: how rows are dealt to batches doesn't matter."""

import itertools
import math

import jax
import numpy as np
import pytest
from random_batches import random_batch

from rmjax.config import LossConfig
from rmjax.training.loss import LossSums, pairwise_loss
from rmjax.training.metrics import means, step_metrics
from rmjax.training.step import StepResult


def sums_of(batch, rewards):
    return pairwise_loss(rewards, batch, LossConfig())[1]


@pytest.mark.parametrize("cuts", [[4], [1, 2, 3], [6]])
@pytest.mark.parametrize("seed", range(2))
def test_means_do_not_depend_on_how_rows_are_dealt(seed, cuts):
    batch = random_batch(seed, rows=8)
    rewards = np.random.default_rng(seed).standard_normal((8, 15, 1)).astype(np.float32)
    bounds = [0, *cuts, 8]
    parts = [
        sums_of(jax.tree.map(lambda rows, a=a, b=b: rows[a:b], batch), rewards[a:b])
        for a, b in itertools.pairwise(bounds)
    ]
    added = LossSums(*(np.asarray(np.sum(column, dtype=np.float64)) for column in zip(*parts, strict=True)))
    together, apart = means(sums_of(batch, rewards)), means(added)
    for name, value in together.items():
        assert apart[name] == pytest.approx(value, rel=1e-5, abs=1e-6), name
    assert means(parts[0])["loss"] != pytest.approx(together["loss"], rel=1e-4)


def test_means_equal_their_definitions():
    batch = random_batch(3)
    rewards = 2 + np.random.default_rng(3).standard_normal((4, 15, 1)).astype(np.float32)
    metrics = means(sums_of(batch, rewards))
    used = rewards[batch.response_id >= 0].astype(np.float64)
    assert metrics["reward_mean"] == pytest.approx(used.mean(), rel=1e-5)
    assert metrics["reward_std"] == pytest.approx(used.std(), rel=1e-4)
    assert metrics["packing_fill"] == np.mean(batch.visible_until > 0)
    assert metrics["margin_mean"] == pytest.approx(metrics["chosen_reward_mean"] - metrics["rejected_reward_mean"])
    assert 0 < metrics["accuracy"] < 1


def test_rounding_never_makes_a_deviation_of_equal_rewards_nan():
    batch = random_batch(0)
    for value in (0.1, 3.3, 123.4):
        assert 0 <= means(sums_of(batch, np.full((4, 15, 1), value, np.float32)))["reward_std"] < 1e-3 * value


def test_nothing_has_no_mean_and_nan_is_seen():
    nothing = means(LossSums(*(np.zeros(()) for _ in LossSums._fields)))
    assert all(math.isnan(value) for value in nothing.values())
    batch = random_batch(0)
    broken = means(sums_of(batch, np.full((4, 15, 1), np.nan, np.float32)))
    assert all(math.isnan(broken[name]) for name in ("loss", "reward_mean", "reward_std", "margin_mean"))


def test_step_metrics_are_the_means_and_the_step_s_own_numbers():
    sums = sums_of(random_batch(0), np.ones((4, 15, 1), np.float32))
    metrics = step_metrics(StepResult(sums, np.asarray(0.25), np.asarray(0.5)))
    assert metrics == {**means(sums), "gradient_norm": 0.25, "learning_rate": 0.5}
