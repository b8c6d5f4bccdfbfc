"""Attention over packed rows: one integer for each token says who sees it.

An attention implementation is a function with the signature of ``dense_attention``; the model is given one as a field.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from rmjax.arrays import Array

Attention = Callable[[Array, Array, Array, Array], Array]


def seen_from(visible_until: Int[Array, "rows length"]) -> Bool[Array, "rows length length"]:
    """Whether the query at index i (second axis) sees the key at index j (third axis): j <= i < visible_until[j]."""
    index = jnp.arange(visible_until.shape[1])
    return (index[None, None, :] <= index[None, :, None]) & (index[None, :, None] < visible_until[:, None, :])


def dense_attention(
    query: Float[Array, "rows length heads size"],
    key: Float[Array, "rows length groups size"],
    value: Float[Array, "rows length groups size"],
    visible_until: Int[Array, "rows length"],
) -> Float[Array, "rows length heads size"]:
    """Grouped-query attention that forms the whole score matrix: rows * heads * length**2 float32 numbers.

    Query head h reads key and value head ``h // (heads // groups)`` (Ainslie et al., 2023, arXiv 2305.13245). Scores
    are ``query . key / sqrt(size)``; their softmax is float32 whatever the dtype of the inputs, and the answer has
    the dtype of ``query``. A query that sees no token gives zero, with zero gradients.
    """
    rows, length, heads, size = query.shape
    groups = key.shape[2]
    grouped = (query * size**-0.5).reshape(rows, length, groups, heads // groups, size)
    scores = jnp.einsum("rigqd,rjgd->rgqij", grouped, key, preferred_element_type=jnp.float32)
    seen = seen_from(visible_until)[:, None, None]
    # A finite stand-in for minus infinity: where nothing is seen, exp(score - highest) would be NaN otherwise, and so
    # would its gradient, even behind a mask.
    scores = jnp.where(seen, scores, jnp.finfo(jnp.float32).min)
    highest = jax.lax.stop_gradient(scores.max(axis=-1, keepdims=True))
    weights = jnp.where(seen, jnp.exp(scores - highest), 0.0)
    total = weights.sum(axis=-1)  # at least 1 where anything is seen, 0 elsewhere
    mixed = jnp.einsum("rgqij,rjgd->rigqd", weights.astype(value.dtype), value, preferred_element_type=jnp.float32)
    # Dividing the mixed values, not the weights, touches `size` numbers for each query instead of `length`.
    mixed = mixed / jnp.where(total > 0, total, 1.0).transpose(0, 3, 1, 2)[..., None]
    return mixed.reshape(rows, length, heads, size).astype(query.dtype)
