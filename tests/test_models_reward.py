"""Packed = alone, padding is irrelevant, and what the head is."""

import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from random_batches import Tree, lay, lively, random_batch, random_rows, random_tree, small_model_config, to_batch

from rmjax.model_config import ComputeDtype
from rmjax.models.attention import dense_attention
from rmjax.models.attention_choice import ANYWHERE
from rmjax.models.reward import RewardModel, init, parameter_count
from rmjax.models.reward import rewards as uncompiled_rewards

rewards = jax.jit(uncompiled_rewards, static_argnums=0)  # equal models are compiled once for all tests


def make(seed=0, attention=dense_attention, **changes):
    """A model whose head is large enough for rewards of about one, so that a tolerance of 1e-5 means something."""
    model = RewardModel(small_model_config(**changes), 32, attention)
    params = lively(init(model, jax.random.PRNGKey(seed)), seed)
    params["reward_head"]["kernel"] *= 10.0
    return model, params


def rewards_alone(model, params, paths):
    """Each conversation as the only one of its row, causal, from the start of the row."""
    rows = [[Tree(path, [])] for path in paths]
    rows += [[]] * (96 - len(rows))  # one shape, one compilation
    batch = to_batch(np.random.default_rng(0), rows, length=48, responses=1, comparisons=1)
    return np.asarray(rewards(model, params, batch))[: len(paths), 0]


@pytest.mark.parametrize("kind", ANYWHERE, ids=lambda kind: kind.value)
@pytest.mark.parametrize("rule", [{}, {"attention_window": 5, "attention_softcap": 2.0}], ids=["plain", "window"])
@pytest.mark.parametrize(("seed", "nested"), [(0, False), (1, True), (2, True)])
def test_packed_equals_alone(seed, nested, rule, kind):
    rng = np.random.default_rng(seed)
    model, params = make(seed, ANYWHERE[kind], reward_heads=("a", "b"), **rule)
    rows = random_rows(rng, 3, nested=nested) + [[random_tree(rng, 32, k, nested=nested)] for k in range(1, 6)]
    batch = to_batch(rng, rows, length=128, responses=15, comparisons=1)
    packed = np.asarray(rewards(model, params, batch))
    paths = [path for trees in rows for path in lay(trees).paths]
    alone = rewards_alone(model, params, paths)
    assert alone.std() > 0.2
    np.testing.assert_allclose(packed[batch.response_id >= 0], alone, atol=1e-5)


@pytest.mark.parametrize("field", ["visible_until", "positions"])
def test_packed_differs_from_alone_when_the_rows_are_laid_wrongly(field):
    rng = np.random.default_rng(3)
    model, params = make()
    rows = random_rows(rng, 3)
    batch = to_batch(rng, rows, length=128, responses=15, comparisons=1)
    wrong = {"visible_until": np.where(batch.visible_until > 0, 128, 0), "positions": batch.positions // 2}
    packed = np.asarray(rewards(model, params, batch._replace(**{field: wrong[field]})))
    alone = rewards_alone(model, params, [path for trees in rows for path in lay(trees).paths])
    assert np.abs(packed[batch.response_id >= 0] - alone).max() > 0.01


@pytest.mark.parametrize("seed", range(3))
def test_neighbours_and_place_are_irrelevant(seed):
    rng = np.random.default_rng(seed)
    model, params = make(seed)
    tree, *others = (random_tree(rng, 32, k) for k in (4, 2, 5, 3))
    rows = [[tree, *others[:2]], [*others[:2], tree], [others[2]], [others[0], tree]]
    batch = to_batch(rng, rows, length=128, responses=15, comparisons=1)
    values = np.asarray(rewards(model, params, batch))[..., 0]
    np.testing.assert_allclose(values[0, :4], values[1, 7:11], atol=1e-5)
    np.testing.assert_allclose(values[0, :4], values[3, 2:6], atol=1e-5)
    assert np.ptp(values[0, :4]) > 1e-3


@pytest.mark.parametrize("seed", range(3))
def test_what_padding_holds_changes_no_bit(seed):
    batch = random_batch(seed)
    model, params = make(seed)
    rng = np.random.default_rng(seed)
    padding = batch.visible_until == 0
    assert padding.any(axis=1).all()
    junk = {
        name: np.where(padding, rng.integers(0, 32, padding.shape, np.int32), getattr(batch, name))
        for name in ("tokens", "positions")
    }
    used = batch.response_id >= 0
    before, after = (np.asarray(rewards(model, params, b))[used] for b in (batch, batch._replace(**junk)))
    np.testing.assert_array_equal(before, after)


def test_a_row_of_padding_has_finite_rewards_and_zero_gradients():
    model, params = make()
    batch = jax.tree.map(np.zeros_like, random_batch(0))

    def total(params):
        return rewards(model, params, batch)[:, 1:].sum() * 0.0

    value, gradients = jax.jit(jax.value_and_grad(total))(params)
    assert float(value) == 0.0
    assert all(np.all(np.asarray(leaf) == 0) for leaf in jax.tree.leaves(gradients))


def test_bfloat16_is_close_and_the_head_stays_float32():
    batch = random_batch(0)
    model, params = make()
    half, _ = make(compute_dtype=ComputeDtype.BFLOAT16)
    exact, rough = rewards(model, params, batch), rewards(half, params, batch)
    assert rough.dtype == exact.dtype == jnp.float32
    difference = np.abs(exact - rough)[batch.response_id >= 0]
    assert 0 < difference.max() < 0.15
    rounded = rough.astype(jnp.bfloat16).astype(jnp.float32)
    assert np.abs(rough - rounded).max() > 0  # more digits than bfloat16 has


@pytest.mark.parametrize(("names", "outputs"), [((), 1), (("helpfulness",), 1), (("a", "b", "c"), 3)])
def test_one_output_for_each_head_without_bias(names, outputs):
    model, params = make(reward_heads=names)
    assert set(params["reward_head"]) == {"kernel"}
    assert rewards(model, params, random_batch(0)).shape == (4, 15, outputs)


def test_fresh_rewards_are_small_but_not_zero():
    model = RewardModel(small_model_config(width=128), 32)
    values = np.asarray(rewards(model, init(model, jax.random.PRNGKey(0)), random_batch(0)))
    assert 0.03 < values.std() < 0.3


def test_equal_configs_make_equal_models_and_later_changes_do_not_reach_them():
    config = small_model_config()
    model = RewardModel(config, 32)
    assert hash(model) == hash(RewardModel(small_model_config(), 32))
    assert model == RewardModel(small_model_config(), 32)
    config.width = 32
    assert model == RewardModel(small_model_config(), 32)
    assert model != RewardModel(config, 32)


def test_another_attention_can_be_handed_in():
    batch = random_batch(0)
    model, params = make()

    def causal(query, key, value, visible_until, positions, rule):
        return dense_attention(query, key, value, jnp.full_like(visible_until, visible_until.shape[1]), positions, rule)

    other = RewardModel(small_model_config(), 32, attention=causal)
    assert np.abs(rewards(model, params, batch) - rewards(other, params, batch)).max() > 0.01


def test_initial_parameters_are_a_function_of_the_key():
    params = make(0)[1]
    jax.tree.map(np.testing.assert_array_equal, params, make(0)[1])
    assert np.abs(params["reward_head"]["kernel"] - make(1)[1]["reward_head"]["kernel"]).max() > 0
    layer = 16 * (32 + 16 + 16) + 32 * 16 + 3 * 16 * 24 + 2 * 16
    assert parameter_count(params) == 32 * 16 + 2 * layer + 16 + 16


def test_models_and_step_import_with_few_packages():
    blocked = ("orbax", "grain", "tensorflow_datasets", "tokenizers", "etils", "absl", "ml_collections", "clu")
    code = (
        "import sys, jax, flax.linen, flax.struct, optax, jaxtyping, numpy\n"
        f"for name in {blocked}:\n    if name not in sys.modules: sys.modules[name] = None\n"
        "import rmjax.models.reward, rmjax.training.step\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[1])
