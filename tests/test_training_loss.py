"""The loss and its sums against a slow float64 reference, and the laws that labels obey."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from random_batches import random_batch

from rmjax.config import LossConfig
from rmjax.training.loss import LossSums, pairwise_loss
from rmjax.training.metrics import means


def random_rewards(seed, heads=2, scale=1.5):
    return scale * np.random.default_rng(seed + 100).standard_normal((4, 15, heads)).astype(np.float32)


def slow_sums(rewards, batch, config) -> dict[str, float]:
    """One comparison at a time in Python floats."""
    total = dict.fromkeys(LossSums._fields, 0.0)
    for row, slot in np.ndindex(batch.weight.shape):
        weight, p = float(batch.weight[row, slot]), float(batch.probability[row, slot])
        if weight == 0:
            continue
        left, right = (
            float(rewards[row, side[row, slot], batch.head[row, slot]]) for side in (batch.left, batch.right)
        )
        d = left - right - float(batch.margin[row, slot])
        smoothed = p * (1 - config.label_smoothing) + (1 - p) * config.label_smoothing
        loss = smoothed * math.log1p(math.exp(-d)) + (1 - smoothed) * math.log1p(math.exp(d))
        total["loss"] += weight * (loss + config.centering * (left + right) ** 2)
        total["weight"] += weight
        total["comparisons"] += 1
        if p != 0.5:
            chosen, rejected = (left, right) if p > 0.5 else (right, left)
            total["decided"] += 1
            total["correct"] += 1.0 if chosen > rejected else 0.5 if chosen == rejected else 0.0
            total["chosen_reward"] += chosen
            total["rejected_reward"] += rejected
            total["margin"] += chosen - rejected
    for value in np.asarray(rewards, np.float64)[batch.response_id >= 0].ravel():
        total["reward"] += value
        total["reward_squared"] += value**2
        total["rewards"] += 1
    total["tokens"] = float((batch.visible_until > 0).sum())
    total["slots"] = float(batch.tokens.size)
    return total


@pytest.mark.parametrize("config", [LossConfig(), LossConfig(label_smoothing=0.1, centering=0.3)])
@pytest.mark.parametrize("seed", range(3))
def test_sums_equal_a_slow_reference(seed, config):
    batch, rewards = random_batch(seed, heads=2), random_rewards(seed)
    row, slot = np.argwhere((batch.weight > 0) & (batch.probability != 0.5))[3]
    rewards[row, batch.left[row, slot]] = rewards[row, batch.right[row, slot]]  # a tie
    loss, sums = pairwise_loss(rewards, batch, config)
    expected = slow_sums(rewards, batch, config)
    assert expected["correct"] < expected["decided"]
    assert expected["decided"] < expected["comparisons"] < batch.weight.size
    for name, value in expected.items():
        np.testing.assert_allclose(getattr(sums, name), value, rtol=2e-6, atol=1e-5, err_msg=name)
    np.testing.assert_array_equal(loss, sums.loss)


@pytest.mark.parametrize("seed", range(3))
def test_swapping_left_and_right_leaves_every_sum(seed):
    batch, rewards = random_batch(seed, heads=2), random_rewards(seed)
    swapped = batch._replace(
        left=batch.right, right=batch.left, probability=1 - batch.probability, margin=-batch.margin
    )
    config = LossConfig(label_smoothing=0.05, centering=0.1)
    for one, other in zip(
        pairwise_loss(rewards, batch, config)[1], pairwise_loss(rewards, swapped, config)[1], strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-5)
    half = batch._replace(left=batch.right, right=batch.left, probability=1 - batch.probability)
    assert abs(pairwise_loss(rewards, half, config)[0] - pairwise_loss(rewards, batch, config)[0]) > 0.1


@pytest.mark.parametrize("constant", [-3.0, 0.5, 40.0])
@pytest.mark.parametrize("seed", range(2))
def test_a_constant_on_all_rewards_leaves_loss_and_accuracy(seed, constant):
    batch, rewards = random_batch(seed, heads=2), random_rewards(seed)
    before, after = (means(pairwise_loss(r, batch, LossConfig())[1]) for r in (rewards, rewards + np.float32(constant)))
    for name in ("loss", "accuracy", "margin_mean", "reward_std"):
        assert after[name] == pytest.approx(before[name], rel=1e-4, abs=1e-5)
    assert after["reward_mean"] == pytest.approx(before["reward_mean"] + constant, rel=1e-4, abs=1e-4)
    centred = LossConfig(centering=0.1)
    assert abs(pairwise_loss(rewards + constant, batch, centred)[0] - pairwise_loss(rewards, batch, centred)[0]) > 0.1


def test_equal_rewards_lose_log_two_and_win_half():
    batch = random_batch(0)._replace(margin=np.zeros((4, 30), np.float32))
    metrics = means(pairwise_loss(np.ones((4, 15, 1), np.float32), batch, LossConfig())[1])
    assert metrics["loss"] == pytest.approx(math.log(2), rel=1e-6)
    assert metrics["accuracy"] == 0.5


@pytest.mark.parametrize("difference", [-1e4, 1e4])
def test_huge_differences_stay_finite_with_their_exact_loss(difference):
    batch = random_batch(0, rows=1)
    one = np.zeros((1, 30), np.float32)
    one[0, 0] = 1
    zero = one * 0
    batch = batch._replace(
        left=zero.astype(np.int32), right=one.astype(np.int32), weight=one, probability=one, margin=zero
    )
    rewards = np.zeros((1, 15, 1), np.float32)
    rewards[0, 0] = difference
    loss, gradient = jax.value_and_grad(lambda r: pairwise_loss(r, batch, LossConfig())[0])(jnp.asarray(rewards))
    assert float(loss) == max(0.0, -difference)
    assert float(gradient[0, 0, 0]) == (-1.0 if difference < 0 else 0.0)


@pytest.mark.parametrize("seed", range(2))
def test_unused_slots_change_nothing(seed):
    batch, rewards = random_batch(seed, heads=2), random_rewards(seed)
    unused = batch.weight == 0
    assert unused.any()
    junk = {
        "left": np.where(unused, 3, batch.left),
        "probability": np.where(unused, np.float32(0.7), batch.probability),
        "margin": np.where(unused, np.float32(5), batch.margin),
    }
    other = rewards + np.where(batch.response_id >= 0, 0, 7)[:, :, None].astype(np.float32)
    before = pairwise_loss(rewards, batch, LossConfig())
    after = pairwise_loss(other, batch._replace(**junk), LossConfig())
    jax.tree.map(np.testing.assert_array_equal, before, after)


def test_the_gradient_pulls_towards_the_label_by_weight():
    batch, rewards = random_batch(1, heads=2), random_rewards(1)
    gradient = np.asarray(jax.grad(lambda r: pairwise_loss(r, batch, LossConfig())[0])(jnp.asarray(rewards)))
    expected = np.zeros_like(gradient, np.float64)
    for row, slot in np.ndindex(batch.weight.shape):
        left, right, head = (int(part[row, slot]) for part in (batch.left, batch.right, batch.head))
        d = float(rewards[row, left, head] - rewards[row, right, head] - batch.margin[row, slot])
        pull = float(batch.weight[row, slot]) * (1 / (1 + math.exp(-d)) - float(batch.probability[row, slot]))
        expected[row, left, head] += pull
        expected[row, right, head] -= pull
    np.testing.assert_allclose(gradient, expected, atol=1e-5)
