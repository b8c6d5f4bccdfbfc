"""The parts of the backbone against their definitions, and the whole of it: causality, remat, initial sizes."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from random_batches import lively, random_batch, small_model_config

from rmjax.model_config import ComputeDtype, Remat
from rmjax.models.attention import dense_attention
from rmjax.models.layers import RMSNorm
from rmjax.models.rotary import frequencies, rotate, rotation
from rmjax.models.shape import model_shape
from rmjax.models.transformer import Backbone


def backbone(**changes):
    return Backbone(model_shape(small_model_config(**changes)), 32, dense_attention)


@functools.partial(jax.jit, static_argnums=0)
def start(model, key, batch):
    return model.init(key, *rows_of(batch))


@functools.partial(jax.jit, static_argnums=0)
def apply(model, params, batch, dropout_key=None):
    return model.apply(params, *rows_of(batch), rngs=None if dropout_key is None else {"dropout": dropout_key})


def rows_of(batch):
    return batch.tokens, batch.positions, batch.visible_until


@pytest.mark.parametrize("theta", [100.0, 10_000.0])
def test_rotary_products_depend_on_the_distance_alone(theta):
    first, second = jax.random.normal(jax.random.PRNGKey(0), (2, 1, 1, 1, 8))
    frequency = frequencies(model_shape(small_model_config(head_size=8, rope_theta=theta)), sees_all=True)

    def product(i, j):
        at = [rotation(jnp.array([[position]]), frequency) for position in (i, j)]
        return float((rotate(first, at[0]) * rotate(second, at[1])).sum())

    np.testing.assert_allclose(product(7, 3), product(104, 100), atol=1e-4)
    assert abs(product(7, 3) - product(7, 4)) > 1e-3
    np.testing.assert_array_equal(rotate(first, rotation(jnp.array([[0]]), frequency)), first)


def test_rms_norm_equals_its_formula_and_is_float32_inside():
    values = jnp.array([[3.0, -4.0], [300.0, 400.0]], jnp.bfloat16)
    norm = RMSNorm(1e-6, jnp.dtype(jnp.float32))
    normed = norm.apply({"params": {"scale": jnp.array([1.0, 2.0])}}, values)
    root = 12.5**0.5
    np.testing.assert_allclose(normed, [[3 / root, -8 / root], [3 / root, 8 / root]], rtol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_a_token_reaches_those_that_see_it_and_no_others(seed):
    batch = random_batch(seed, rows=1)
    model = backbone()
    params = lively(start(model, jax.random.PRNGKey(seed), batch), seed)
    before = np.asarray(apply(model, params, batch))
    for j in (0, 3, int(batch.response_end[0, 1])):
        tokens = batch.tokens.copy()
        tokens[0, j] = (tokens[0, j] + 1) % 32
        after = np.asarray(apply(model, params, batch._replace(tokens=tokens)))
        reached = np.flatnonzero((after != before).any(axis=(0, 2)))
        np.testing.assert_array_equal(reached, np.arange(j, batch.visible_until[0, j]))


@pytest.mark.parametrize(("seed", "remat"), [(0, Remat.FULL), (1, Remat.FULL), (0, Remat.DOTS)])
def test_remat_changes_neither_values_nor_gradients(seed, remat):
    batch = random_batch(seed, rows=2)
    params = lively(start(backbone(), jax.random.PRNGKey(seed), batch), seed)

    def run(remat):
        model = backbone(remat=remat, dropout=0.2)

        def total(params):
            return jnp.square(apply(model, params, batch, jax.random.PRNGKey(5))).mean()

        return jax.jit(jax.value_and_grad(total))(params)

    kept, again = run(Remat.NONE), run(remat)
    np.testing.assert_allclose(kept[0], again[0], rtol=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), kept[1], again[1])
    assert any(np.abs(leaf).max() > 1e-4 for leaf in jax.tree.leaves(kept[1]))


def test_remat_keeps_the_less_the_more_it_computes_again():
    batch = random_batch(0, rows=2)
    params = jax.eval_shape(lambda: start(backbone(), jax.random.PRNGKey(0), batch))

    def kept(remat):
        """How many numbers the forward pass leaves for the backward pass."""
        model = backbone(remat=remat)
        _, pull = jax.eval_shape(lambda params: jax.vjp(lambda params: apply(model, params, batch), params), params)
        return sum(leaf.size for leaf in jax.tree.leaves(pull))

    full, dots, none = (kept(remat) for remat in (Remat.FULL, Remat.DOTS, Remat.NONE))
    width, products = 16, 32 + 2 * 16 + 16 + 2 * 24  # query, key and value, output, gate and up; of down nobody asks
    assert dots - full == 2 * batch.tokens.size * products
    assert full < 2 * batch.tokens.size * width + 2 * sum(leaf.size for leaf in jax.tree.leaves(params))
    assert none > 2 * dots


def test_dropout_works_only_with_a_key_and_differs_between_layers_and_keys():
    batch = random_batch(0, rows=1)
    plain, dropping = backbone(), backbone(dropout=0.5)
    params = lively(start(plain, jax.random.PRNGKey(0), batch))
    np.testing.assert_array_equal(apply(plain, params, batch), apply(dropping, params, batch))
    one, two, one_again = (apply(dropping, params, batch, jax.random.PRNGKey(key)) for key in (1, 2, 1))
    assert np.abs(one - two).max() > 0.1
    np.testing.assert_array_equal(one, one_again)


@pytest.mark.parametrize("layers", [2, 8])
def test_the_stream_of_a_deep_model_starts_no_larger_than_that_of_a_shallow_one(layers):
    batch = random_batch(0, rows=2)
    model = backbone(layers=layers, width=64)
    hidden = apply(model, start(model, jax.random.PRNGKey(0), batch), batch)
    assert 0.1 < float(np.std(hidden[batch.visible_until > 0])) < 1.5


def test_compute_dtype_is_that_of_the_hidden_states_and_parameters_stay_float32():
    batch = random_batch(0, rows=1)
    model = backbone(compute_dtype=ComputeDtype.BFLOAT16)
    params = lively(start(model, jax.random.PRNGKey(0), batch))
    assert apply(model, params, batch).dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype(jnp.float32)}


def test_a_shape_has_every_field_of_the_config_and_does_not_follow_it():
    config = small_model_config()
    shape = model_shape(config)
    assert dataclasses.asdict(shape) == dataclasses.asdict(config) | {"adapters": None}
    assert hash(shape) == hash(model_shape(small_model_config()))
    config.width = 99
    assert shape.width == 16
    assert model_shape(config) != shape


def test_layers_are_traced_once_for_all_of_them():
    """A model starts sooner for it; most of the time until a first small step goes to tracing."""
    traced = []

    def counting(*inputs, **settings):
        traced.append(inputs)
        return dense_attention(*inputs, **settings)

    model, batch = Backbone(model_shape(small_model_config(layers=5)), 32, counting), random_batch(0)
    params = jax.eval_shape(lambda: model.init(jax.random.PRNGKey(0), *rows_of(batch)))
    traced.clear()
    jax.eval_shape(lambda params: model.apply(params, *rows_of(batch)), params)
    assert len(traced) == 1
