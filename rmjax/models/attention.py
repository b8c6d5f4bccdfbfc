"""Attention over packed rows: one integer for each token says who sees it.

An attention implementation is a function with the signature of ``Attention``; the model is given one as a field. They
compute the same numbers: ``dense_attention`` here says what these are, and the others are held to it.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from rmjax.arrays import Array


@dataclass(frozen=True, kw_only=True)
class ScoreRule:
    """How the score of a query and a key is made, and how far back a query sees.

    Attributes:
      scale: what ``query . key`` is multiplied with; None is one over the square root of the head size.
      softcap: a scaled score s becomes ``softcap * tanh(s / softcap)`` (Gemma 2, arXiv 2408.00118, section 2).
      window: a key is out of sight of queries ``window`` or more positions after it. Positions, not places in the row:
        between a response and its prompt lie the siblings before it.
    """

    scale: float | None = None
    softcap: float | None = None
    window: int | None = None

    def scale_for(self, size: int) -> float:
        """The scale for heads of ``size`` numbers."""
        return size**-0.5 if self.scale is None else self.scale


PLAIN = ScoreRule()


@runtime_checkable
class Attention(Protocol):
    """Grouped-query attention (Ainslie et al., 2023, arXiv 2305.13245).

    Query head h reads key and value head ``h // (heads // groups)``. The softmax is float32 whatever the dtype of the
    inputs, and the answer has the dtype of ``query``. A query that sees no token gives zero, with zero gradients.
    """

    def __call__(
        self,
        query: Float[Array, "rows length heads size"],
        key: Float[Array, "rows length groups size"],
        value: Float[Array, "rows length groups size"],
        visible_until: Int[Array, "rows length"],
        positions: Int[Array, "rows length"],
        rule: ScoreRule = PLAIN,
    ) -> Float[Array, "rows length heads size"]: ...


def seen_from(
    visible_until: Int[Array, "rows length"], positions: Int[Array, "rows length"], window: int | None = None
) -> Bool[Array, "rows length length"]:
    """Whether the query at index i (second axis) sees the key at index j (third axis): j <= i < visible_until[j].

    With a window it must besides have ``positions[i] - positions[j] < window``.
    """
    index = jnp.arange(visible_until.shape[1])
    seen = (index[None, None, :] <= index[None, :, None]) & (index[None, :, None] < visible_until[:, None, :])
    if window is not None:
        seen &= positions[:, :, None] - positions[:, None, :] < window
    return seen


def dense_attention(
    query: Float[Array, "rows length heads size"],
    key: Float[Array, "rows length groups size"],
    value: Float[Array, "rows length groups size"],
    visible_until: Int[Array, "rows length"],
    positions: Int[Array, "rows length"],
    rule: ScoreRule = PLAIN,
) -> Float[Array, "rows length heads size"]:
    """Forms the whole score matrix: rows * heads * length**2 float32 numbers. The reference for all others."""
    rows, length, heads, size = query.shape
    groups = key.shape[2]
    grouped = (query * rule.scale_for(size)).reshape(rows, length, groups, heads // groups, size)
    scores = jnp.einsum("rigqd,rjgd->rgqij", grouped, key, preferred_element_type=jnp.float32)
    if rule.softcap is not None:
        scores = rule.softcap * jnp.tanh(scores / rule.softcap)
    seen = seen_from(visible_until, positions, rule.window)[:, None, None]
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
