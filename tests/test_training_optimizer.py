"""The learning rate's shape, what decays, and AdamW against its formulas."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from random_batches import small_model_config

from rmjax.config import OptimizerConfig, Schedule
from rmjax.model_config import ComputeDtype
from rmjax.models.reward import RewardModel, init
from rmjax.training.optimizer import decays, learning_rate, make_optimizer


@pytest.mark.parametrize("schedule", list(Schedule))
@pytest.mark.parametrize(("warmup", "steps"), [(0, 10), (4, 20), (50, 10)])
def test_the_learning_rate_rises_to_its_peak_and_falls_to_its_final_share(schedule, warmup, steps):
    config = OptimizerConfig(learning_rate=0.2, warmup_steps=warmup, schedule=schedule, final_learning_rate=0.1)
    rates = np.array([learning_rate(config, steps)(step) for step in range(max(steps, warmup) + 5)])
    for step in range(warmup):
        assert rates[step] == pytest.approx(0.2 * (step + 1) / warmup)
    assert rates[warmup] == pytest.approx(0.2)
    assert np.all(np.diff(rates[warmup:]) <= 1e-9)
    assert rates[max(steps, warmup + 1)] == pytest.approx(0.2 if schedule is Schedule.CONSTANT else 0.02)
    assert rates.min() > 0


def test_linear_and_cosine_are_half_way_in_the_middle_and_differ_elsewhere():
    linear, cosine = (
        learning_rate(OptimizerConfig(learning_rate=1.0, warmup_steps=10, schedule=schedule), 110)
        for schedule in (Schedule.LINEAR, Schedule.COSINE)
    )
    assert linear(60) == pytest.approx(0.5)
    assert cosine(60) == pytest.approx(0.5)
    assert linear(35) == pytest.approx(0.75)
    assert cosine(35) == pytest.approx(0.5 + 0.5 * np.cos(np.pi / 4))


def test_matrices_decay_and_norms_do_not():
    params = init(RewardModel(small_model_config(), 32), jax.random.PRNGKey(0))
    params["backbone"]["embedding"]["bias"] = jnp.zeros((2, 2))
    marked = {jax.tree_util.keystr(path): mark for path, mark in jax.tree_util.tree_leaves_with_path(decays(params))}
    assert {name.split("'")[-2] for name, mark in marked.items() if mark} == {"kernel", "embedding"}
    assert {name.split("'")[-2] for name, mark in marked.items() if not mark} == {"scale", "bias"}


@pytest.mark.parametrize("clip", [None, 0.5])
def test_one_update_is_adamw(clip):
    config = OptimizerConfig(learning_rate=0.1, warmup_steps=0, weight_decay=0.3, clip_norm=clip, epsilon=1e-3)
    params = {"a": {"kernel": jnp.array([[1.0, -2.0]])}, "b": {"scale": jnp.array([1.0])}}
    gradients = {"a": {"kernel": jnp.array([[3.0, 0.001]])}, "b": {"scale": jnp.array([-4.0])}}
    optimizer = make_optimizer(config, 10)
    updates, _ = optimizer.update(gradients, optimizer.init(params), params)
    updated = optax.apply_updates(params, updates)
    shrink = 1.0 if clip is None else clip / np.sqrt(9 + 16 + 1e-6)
    for name, leaf, decay in (("a", "kernel", 0.3), ("b", "scale", 0.0)):
        before, gradient = np.asarray(params[name][leaf]), np.asarray(gradients[name][leaf]) * shrink
        expected = before - 0.1 * (gradient / (np.abs(gradient) + 1e-3) + decay * before)
        np.testing.assert_allclose(updated[name][leaf], expected, rtol=1e-4)


def test_the_first_moment_may_be_bfloat16_and_the_rest_stays_float32():
    params = {"a": {"kernel": jax.random.normal(jax.random.PRNGKey(0), (8, 8))}}
    gradients = jax.tree.map(lambda leaf: leaf * 0.3, params)
    updates = []
    for dtype in ComputeDtype:
        optimizer = make_optimizer(OptimizerConfig(warmup_steps=0, first_moment_dtype=dtype), 10)
        state = optimizer.init(params)
        for _ in range(3):
            update, state = optimizer.update(gradients, state, params)
        moments = state[1][0]
        assert moments.mu["a"]["kernel"].dtype == jnp.dtype(dtype.value)
        assert moments.nu["a"]["kernel"].dtype == update["a"]["kernel"].dtype == jnp.float32
        updates.append(update["a"]["kernel"])
    exact, rounded = updates
    np.testing.assert_allclose(rounded, exact, rtol=0.02)
    assert np.any(rounded != exact)
