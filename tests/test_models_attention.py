"""Every attention against a loop over tokens, and the laws of visible_until."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from random_batches import random_batch

from rmjax.models.attention import PLAIN, ScoreRule, dense_attention, seen_from
from rmjax.models.blocked_attention import blocked_attention
from rmjax.models.blocks import Order
from rmjax.models.gpu_attention import gpu_attention
from rmjax.models.gpu_kernels import Tiles
from rmjax.models.kernels import BlockSizes
from rmjax.models.tpu_attention import tpu_attention

IMPLEMENTATIONS = {
    "dense": dense_attention,
    "listed": functools.partial(blocked_attention, block=32),
    "abreast": functools.partial(blocked_attention, block=24, order=Order.ABREAST),
    # Rows of 128 tokens are four query blocks and four key blocks.
    "tpu": functools.partial(tpu_attention, sizes=BlockSizes(query=32, key=32), interpret=True),
    "gpu": functools.partial(
        gpu_attention, tiles=Tiles(together=1, queries=32, keys=32, warps=4, stages=1), interpret=True
    ),
}
RULES = {
    "plain": PLAIN,
    "scaled": ScoreRule(scale=0.3),
    "capped": ScoreRule(softcap=1.5),
    "window": ScoreRule(window=4),
    "all": ScoreRule(scale=0.5, softcap=2.0, window=5),
}


# The interpreter of kernels is slow: of the rules they get none, and all at once.
KERNELS = ("tpu", "gpu")
CASES = [(name, rule) for name in IMPLEMENTATIONS for rule in RULES if name not in KERNELS or rule in ("plain", "all")]


@pytest.fixture(params=IMPLEMENTATIONS.values(), ids=IMPLEMENTATIONS.keys())
def attention(request):
    return jax.jit(request.param, static_argnums=5)


def random_heads(seed, visible_until, heads=4, groups=2, size=6):
    keys = jax.random.split(jax.random.PRNGKey(seed), 3)
    rows, length = visible_until.shape
    shapes = [(rows, length, heads, size), (rows, length, groups, size), (rows, length, groups, size)]
    return [jax.random.normal(key, shape) for key, shape in zip(keys, shapes, strict=True)]


def slow_attention(query, key, value, visible_until, positions, rule=PLAIN):
    """Float64, one query at a time, over the tokens that it sees and no others."""
    query, key, value = (np.asarray(array, np.float64) for array in (query, key, value))
    rows, length, heads, size = query.shape
    window = rule.window or length
    out = np.zeros(query.shape)
    for r, i, h in np.ndindex(rows, length, heads):
        near = positions[r, i] - positions[r] < window
        seen = [j for j in range(length) if j <= i < visible_until[r, j] and near[j]]
        if seen:
            g = h // (heads // key.shape[2])
            scores = key[r, seen, g] @ query[r, i, h] * rule.scale_for(size)
            if rule.softcap is not None:
                scores = rule.softcap * np.tanh(scores / rule.softcap)
            weights = np.exp(scores)
            out[r, i, h] = (weights / weights.sum()) @ value[r, seen, g]
    return out


@pytest.mark.parametrize(("name", "rule"), CASES)
@pytest.mark.parametrize(("seed", "heads", "groups"), [(0, 4, 2), (1, 3, 3)])
def test_equals_a_loop_over_the_tokens_that_are_seen(seed, heads, groups, name, rule):
    attention, rule = jax.jit(IMPLEMENTATIONS[name], static_argnums=5), RULES[rule]
    batch = random_batch(seed, rows=2)
    query, key, value = random_heads(seed, batch.visible_until, heads, groups)
    expected = slow_attention(query, key, value, batch.visible_until, batch.positions, rule)
    mixed = attention(query, key, value, batch.visible_until, batch.positions, rule)
    np.testing.assert_allclose(mixed, expected, atol=2e-6)
    causal_alone = np.where(batch.visible_until > 0, batch.visible_until.shape[1], 0)
    unpacked = attention(query, key, value, causal_alone, batch.positions, rule)
    assert np.abs(unpacked - expected).max() > 0.01


@pytest.mark.parametrize(("name", "rule"), CASES)
@pytest.mark.parametrize(("seed", "heads", "groups"), [(0, 4, 1), (1, 4, 2)])
def test_gradients_equal_those_of_the_dense_one(seed, heads, groups, name, rule):
    attention, rule = IMPLEMENTATIONS[name], RULES[rule]
    batch = random_batch(seed, rows=2)
    qkv = random_heads(seed, batch.visible_until, heads, groups)
    pulled = jax.random.normal(jax.random.PRNGKey(seed + 9), qkv[0].shape)

    @functools.partial(jax.jit, static_argnums=0)
    def gradients(implementation, *qkv):
        def product(*qkv):
            return (implementation(*qkv, batch.visible_until, batch.positions, rule) * pulled).sum()

        return jax.grad(product, argnums=(0, 1, 2))(*qkv)

    for found, expected in zip(gradients(attention, *qkv), gradients(dense_attention, *qkv), strict=True):
        assert np.abs(expected).max() > 0.1
        np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_grouped_heads_equal_repeated_heads(attention, seed):
    batch = random_batch(seed, rows=2)
    query, key, value = random_heads(seed, batch.visible_until)
    places = (batch.visible_until, batch.positions, PLAIN)
    repeated = attention(query, key.repeat(2, axis=2), value.repeat(2, axis=2), *places)
    np.testing.assert_allclose(attention(query, key, value, *places), repeated, atol=1e-6)


@pytest.mark.parametrize("visible_until", [np.zeros((2, 5), np.int32), np.array([[5, 2, 0, 5, 0], [0, 0, 0, 0, 5]])])
def test_a_query_that_sees_nothing_gives_zero_with_zero_gradients(attention, visible_until):
    query, key, value = (100 * array for array in random_heads(0, visible_until))
    positions = np.tile(np.arange(visible_until.shape[1], dtype=np.int32), (2, 1))
    blind = ~np.asarray(seen_from(visible_until, positions)).any(axis=2)
    assert blind.any()
    mixed, pull = jax.vjp(lambda *qkv: attention(*qkv, visible_until, positions, PLAIN), query, key, value)
    assert np.all(np.asarray(mixed)[blind] == 0)
    gradients = pull(jnp.ones_like(mixed))
    assert all(np.isfinite(gradient).all() for gradient in gradients)
    assert np.all(np.asarray(gradients[0])[blind] == 0)
    invisible = np.asarray(visible_until) == 0
    assert np.all(np.asarray(gradients[1])[invisible] == 0)
    assert np.all(np.asarray(gradients[2])[invisible] == 0)


@pytest.mark.parametrize("seed", range(3))
def test_a_token_that_is_not_seen_changes_no_bit(attention, seed):
    batch = random_batch(seed, rows=2)
    visible_until, positions = batch.visible_until, batch.positions
    query, key, value = random_heads(seed, visible_until)
    before = np.asarray(attention(query, key, value, visible_until, positions, PLAIN))
    r, j = 1, int(np.argmin(np.where(visible_until[1] > 0, visible_until[1], 999)))  # seen by few queries
    other_key, other_value = key.at[r, j].add(3.0), value.at[r, j].add(3.0)
    after = attention(query, other_key, other_value, visible_until, positions, PLAIN)
    differs = (np.asarray(after) != before).any(axis=(2, 3))
    expected = np.zeros_like(differs)
    expected[r, j : visible_until[r, j]] = True
    np.testing.assert_array_equal(differs, expected)


def test_the_sums_are_float32_in_bfloat16(attention):
    batch = random_batch(0, rows=2)
    query, key, value = (array.astype(jnp.bfloat16) for array in random_heads(0, batch.visible_until))
    places = (batch.visible_until, batch.positions, PLAIN)
    exact = slow_attention(*(array.astype(jnp.float32) for array in (query, key, value)), *places)
    mixed = attention(query, key, value, *places)
    assert mixed.dtype == jnp.bfloat16
    np.testing.assert_allclose(mixed.astype(jnp.float32), exact, atol=0.03)
