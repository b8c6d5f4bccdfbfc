"""``jax.nn.dot_product_attention`` with a bias, a candidate for GPUs: cuDNN's kernel there, XLA's products elsewhere.

The bias is rows * length**2 numbers, one for all heads; softmax and mixture form no scores under cuDNN.
"""

import functools
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from rmjax.arrays import Array
from rmjax.models.attention import PLAIN, Attention, ScoreRule, seen_from

Implementation = Literal["cudnn", "xla"]


def _fused(
    query: Float[Array, "rows length heads size"],
    key: Float[Array, "rows length groups size"],
    value: Float[Array, "rows length groups size"],
    visible_until: Int[Array, "rows length"],
    positions: Int[Array, "rows length"],
    rule: ScoreRule = PLAIN,
    *,
    implementation: Implementation,
) -> Float[Array, "rows length heads size"]:
    if rule.softcap is not None:
        raise ValueError(f"softcap: {rule.softcap}, which fused attention can't apply; it must be None")
    seen = seen_from(visible_until, positions, rule.window)
    # Finite, and so that a score added to it is finite too.
    bias = jnp.where(seen, 0.0, float(jnp.finfo(jnp.bfloat16).min) / 2).astype(query.dtype)[:, None]
    scale = rule.scale_for(query.shape[-1])
    mixed = jax.nn.dot_product_attention(query, key, value, bias, scale=scale, implementation=implementation)
    return jnp.where(jnp.any(seen, axis=-1)[:, :, None, None], mixed, 0)


def fused_attention(implementation: Implementation) -> Attention:
    """An ``Attention`` for rules without softcap."""
    return functools.partial(_fused, implementation=implementation)
