"""Attention over packed rows as Pallas kernels for NVIDIA GPUs, by way of Triton: forward and backward, skipping the
blocks that nobody sees."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import pallas as pl
from jaxtyping import Float, Int

from rmjax.arrays import Array
from rmjax.models.attention import PLAIN, ScoreRule
from rmjax.models.gpu_calls import Inputs, key_and_value_gradients, mixed_values, query_gradient
from rmjax.models.gpu_kernels import Settings, Tiles

_SMALLEST = 16  # side of the smallest product of a tensor core


def gpu_attention(
    query: Float[Array, "rows length heads size"],
    key: Float[Array, "rows length groups size"],
    value: Float[Array, "rows length groups size"],
    visible_until: Int[Array, "rows length"],
    positions: Int[Array, "rows length"],
    rule: ScoreRule = PLAIN,
    *,
    tiles: Tiles | None = None,
    interpret: bool = False,
) -> Float[Array, "rows length heads size"]:
    """An ``Attention`` whose memory grows linearly with the length, for rows of any length.

    Float32 inputs are multiplied in TF32, as XLA does on GPUs, or in the precision that
    ``jax.default_matmul_precision`` says. ``tiles`` are by default those of ``default_tiles``. With ``interpret`` the
    kernels run on any platform, slowly. Over a mesh it needs ``jax.shard_map``, as ``tpu_attention`` does.
    """
    _, length, heads, size = query.shape
    per_group = heads // key.shape[2]
    tiles = tiles or default_tiles(length, per_group, size, query.dtype)
    missing = -length % max(tiles.queries // tiles.together, tiles.keys)
    wider = pl.next_power_of_2(max(size, _SMALLEST)) - size

    def padded(array: Array) -> jax.Array:
        """To whole blocks, and heads to a power of two, which is all that Triton has. Padding tokens are visible until
        0, so seen by nobody."""
        more = [(0, 0), (0, missing), *[(0, 0)] * (array.ndim - 2)]
        if array.ndim == 4:
            more[-1] = (0, wider)
        return jnp.pad(jnp.asarray(array), more) if missing or wider else jnp.asarray(array)

    inputs = Inputs(
        query=padded(query),
        key=padded(key),
        value=padded(value),
        visible_until=padded(visible_until).astype(jnp.int32),
        positions=padded(positions).astype(jnp.int32),
    )
    settings = Settings(rule=rule, scale=rule.scale_for(size), tiles=tiles, interpret=interpret)
    mixed = jnp.asarray(_attend(settings, inputs))
    return mixed[:, :length, :, :size]


def heads_together(per_group: int) -> int:
    """How many query heads of a group meet a block of keys at once: the largest power of two, up to eight, that divides
    them."""
    return math.gcd(per_group, 8)


def default_tiles(length: int, per_group: int, size: int, dtype: jax.typing.DTypeLike) -> Tiles:
    """No larger than the row needs; the wider a head is, the fewer of its queries and keys fit the shared memory."""
    together = heads_together(per_group)
    wide = pl.next_power_of_2(max(size, _SMALLEST)) * jnp.dtype(dtype).itemsize
    if wide <= 128:
        queries, keys, warps, stages = 64, 64, 4, 3
    elif wide <= 256:
        queries, keys, warps, stages = 64, 64, 4, 2
    elif wide <= 512:
        queries, keys, warps, stages = 64, 32, 4, 1
    else:
        queries, keys, warps, stages = 32, 16, 4, 1
    row = max(pl.next_power_of_2(length), _SMALLEST)
    return Tiles(
        together=together, queries=min(queries, row * together), keys=min(keys, row), warps=warps, stages=stages
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attend(settings: Settings, inputs: Inputs) -> Float[jax.Array, "rows length heads size"]:
    return mixed_values(inputs, settings)[0]


def _attend_forward(settings: Settings, inputs: Inputs):
    mixed, log_total = mixed_values(inputs, settings)
    return mixed, (inputs, mixed, log_total)


def _attend_backward(settings: Settings, kept, pulled: Float[jax.Array, "rows length heads size"]):
    inputs, mixed, log_total = kept
    shared = (mixed.astype(jnp.float32) * pulled.astype(jnp.float32)).sum(axis=-1)
    key_gradient, value_gradient = key_and_value_gradients(inputs, pulled, log_total, shared, settings)
    query = query_gradient(inputs, pulled, log_total, shared, settings)
    no_gradient: Any = np.zeros(inputs.positions.shape, jax.dtypes.float0)  # of integers
    return (Inputs(query, key_gradient, value_gradient, no_gradient, no_gradient),)


_attend.defvjp(_attend_forward, _attend_backward)
