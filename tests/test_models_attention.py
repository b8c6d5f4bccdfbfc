"""Dense attention against a loop over tokens, and the laws of visible_until."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from random_batches import random_batch

from rmjax.models.attention import dense_attention, seen_from


def random_heads(seed, visible_until, heads=4, groups=2, size=6):
    keys = jax.random.split(jax.random.PRNGKey(seed), 3)
    rows, length = visible_until.shape
    shapes = [(rows, length, heads, size), (rows, length, groups, size), (rows, length, groups, size)]
    return [jax.random.normal(key, shape) for key, shape in zip(keys, shapes, strict=True)]


def slow_attention(query, key, value, visible_until):
    """Float64, one query at a time, over the tokens that it sees and no others."""
    query, key, value = (np.asarray(array, np.float64) for array in (query, key, value))
    rows, length, heads, size = query.shape
    out = np.zeros(query.shape)
    for r, i, h in np.ndindex(rows, length, heads):
        seen = [j for j in range(length) if j <= i < visible_until[r, j]]
        if seen:
            g = h // (heads // key.shape[2])
            weights = np.exp(key[r, seen, g] @ query[r, i, h] / size**0.5)
            out[r, i, h] = (weights / weights.sum()) @ value[r, seen, g]
    return out


@pytest.mark.parametrize(("seed", "heads", "groups"), [(0, 4, 2), (1, 3, 3), (2, 4, 1)])
def test_equals_a_loop_over_the_tokens_that_are_seen(seed, heads, groups):
    visible_until = random_batch(seed, rows=2).visible_until
    query, key, value = random_heads(seed, visible_until, heads, groups)
    expected = slow_attention(query, key, value, visible_until)
    np.testing.assert_allclose(dense_attention(query, key, value, visible_until), expected, atol=2e-6)
    causal_alone = np.where(visible_until > 0, visible_until.shape[1], 0)
    assert np.abs(dense_attention(query, key, value, causal_alone) - expected).max() > 0.01


@pytest.mark.parametrize("seed", range(3))
def test_grouped_heads_equal_repeated_heads(seed):
    visible_until = random_batch(seed, rows=2).visible_until
    query, key, value = random_heads(seed, visible_until)
    repeated = dense_attention(query, key.repeat(2, axis=2), value.repeat(2, axis=2), visible_until)
    np.testing.assert_allclose(dense_attention(query, key, value, visible_until), repeated, atol=1e-6)


@pytest.mark.parametrize("visible_until", [np.zeros((2, 5), np.int32), np.array([[5, 2, 0, 5, 0], [0, 0, 0, 0, 5]])])
def test_a_query_that_sees_nothing_gives_zero_with_zero_gradients(visible_until):
    query, key, value = (100 * array for array in random_heads(0, visible_until))
    blind = ~np.asarray(seen_from(visible_until)).any(axis=2)
    assert blind.any()
    mixed, pull = jax.vjp(lambda *qkv: dense_attention(*qkv, visible_until), query, key, value)
    assert np.all(np.asarray(mixed)[blind] == 0)
    gradients = pull(jnp.ones_like(mixed))
    assert all(np.isfinite(gradient).all() for gradient in gradients)
    assert np.all(np.asarray(gradients[0])[blind] == 0)
    invisible = np.asarray(visible_until) == 0
    assert np.all(np.asarray(gradients[1])[invisible] == 0)
    assert np.all(np.asarray(gradients[2])[invisible] == 0)


@pytest.mark.parametrize("seed", range(3))
def test_a_token_that_is_not_seen_changes_no_bit(seed):
    visible_until = random_batch(seed, rows=2).visible_until
    query, key, value = random_heads(seed, visible_until)
    before = np.asarray(dense_attention(query, key, value, visible_until))
    r, j = 1, int(np.argmin(np.where(visible_until[1] > 0, visible_until[1], 999)))  # seen by few queries
    after = dense_attention(query, key.at[r, j].add(3.0), value.at[r, j].add(3.0), visible_until)
    differs = (np.asarray(after) != before).any(axis=(2, 3))
    expected = np.zeros_like(differs)
    expected[r, j : visible_until[r, j]] = True
    np.testing.assert_array_equal(differs, expected)


def test_the_sums_are_float32_in_bfloat16():
    visible_until = random_batch(0, rows=2).visible_until
    query, key, value = (array.astype(jnp.bfloat16) for array in random_heads(0, visible_until))
    exact = slow_attention(*(array.astype(jnp.float32) for array in (query, key, value)), visible_until)
    mixed = dense_attention(query, key, value, visible_until)
    assert mixed.dtype == jnp.bfloat16
    np.testing.assert_allclose(mixed.astype(jnp.float32), exact, atol=0.03)
