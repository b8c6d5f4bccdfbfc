"""Attention over packed rows as Pallas kernels for TPU, forward and backward, that skip the blocks that nobody sees."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from rmjax.arrays import Array
from rmjax.models.attention import PLAIN, ScoreRule
from rmjax.models.kernels import BlockSizes
from rmjax.models.tpu_backward import key_and_value_gradients, query_gradient
from rmjax.models.tpu_calls import Inputs, Settings
from rmjax.models.tpu_forward import mixed_values
from rmjax.models.tpu_tiles import LANES


def tpu_attention(
    query: Float[Array, "rows length heads size"],
    key: Float[Array, "rows length groups size"],
    value: Float[Array, "rows length groups size"],
    visible_until: Int[Array, "rows length"],
    positions: Int[Array, "rows length"],
    rule: ScoreRule = PLAIN,
    *,
    sizes: BlockSizes | None = None,
    interpret: bool = False,
) -> Float[Array, "rows length heads size"]:
    """An ``Attention`` whose memory grows linearly with the length, for rows of any length.

    Float32 inputs are multiplied in the precision that ``jax.default_matmul_precision`` says. ``sizes`` are by default
    those of ``default_sizes``. With ``interpret`` the kernels run on any platform, slowly.

    XLA doesn't split a kernel over devices by itself: under a jit over a mesh wrap the function in ``jax.shard_map``,
    with rows split over any axes and heads and groups over others (``P("data", None, "tensor")`` for query, key and
    value, ``P("data")`` for the others), so that each device has whole rows of whole groups.
    """
    rows, length, heads, size = query.shape
    groups = key.shape[2]
    sizes = sizes or default_sizes(length, heads // groups)
    if not interpret and (sizes.query % LANES or sizes.key % LANES):
        raise ValueError(f"sizes: {sizes} on TPU, where each must be a multiple of {LANES}")
    missing = -length % math.lcm(sizes.query, sizes.key)

    def padded(array: Array) -> jax.Array:
        """Zeros at the end: visible until 0, so seen by nobody."""
        return jnp.pad(jnp.asarray(array), [(0, 0), (0, missing)] + [(0, 0)] * (array.ndim - 2))

    together = heads_together(heads // groups)
    scaled = jnp.reshape(padded(query * rule.scale_for(size)), (rows, -1, heads // together, together, size))
    inputs = Inputs(
        query=scaled.transpose(0, 2, 3, 1, 4),
        key=padded(key).transpose(0, 2, 1, 3),
        value=padded(value).transpose(0, 2, 1, 3),
        places=jnp.stack([padded(visible_until), padded(positions)], axis=1).astype(jnp.int32),
    )
    mixed = _attend(Settings(rule=rule, sizes=sizes, interpret=interpret), inputs)
    return mixed.transpose(0, 3, 1, 2, 4).reshape(rows, -1, heads, size)[:, :length]


def heads_together(per_group: int) -> int:
    """How many query heads of a group make a bundle: the largest part of them, up to eight, that leaves no rest."""
    return max(count for count in range(1, min(per_group, 8) + 1) if per_group % count == 0)


def default_sizes(length: int, per_group: int) -> BlockSizes:
    """512 keys and, over the heads of a bundle, up to 1024 queries; no more than the row needs."""
    # A fetched block of keys and values is worth one multiplication and addition for each of its numbers and query, so
    # 1024 queries keep the matrix units ahead of the memory (in bfloat16 v5e needs 240 of them, v6e 560) and a step's
    # fixed cost small. Scores of 1024 by 512 are 2 MiB, of which the backward kernels hold four, and with 256 float32
    # numbers a head their blocks, twice for the next ones to arrive, are 10: 18 of the 32 MiB. Larger ones would skip
    # less: conversations are a few hundred tokens long.
    queries = 1024 // heads_together(per_group)
    row = LANES * 2 ** math.ceil(math.log2(max(length / LANES, 1)))
    return BlockSizes(query=min(2 ** (queries.bit_length() - 1), 512, row), key=min(512, row))


def _attend_only(settings: Settings, inputs: Inputs) -> Float[jax.Array, "rows bundles together length size"]:
    return mixed_values(inputs, settings)[0]


def _attend_forward(settings: Settings, inputs: Inputs):
    mixed, log_total = mixed_values(inputs, settings)
    return mixed, (inputs, mixed, log_total)


def _attend_backward(settings: Settings, kept, pulled: Float[jax.Array, "rows bundles together length size"]):
    inputs, mixed, log_total = kept
    rows, bundles, together = pulled.shape[:3]
    shared = (mixed.astype(jnp.float32) * pulled.astype(jnp.float32)).sum(axis=-1)
    shared = shared.reshape(rows, bundles, together, -1, settings.sizes.query).swapaxes(2, 3).reshape(log_total.shape)
    sums = jnp.concatenate([log_total, shared], axis=3)
    key_gradient, value_gradient = key_and_value_gradients(inputs, pulled, sums, settings)

    def summed(gradient: Float[jax.Array, "rows bundles length size"]) -> Float[jax.Array, "rows groups length size"]:
        return gradient.reshape(rows, inputs.key.shape[1], -1, *gradient.shape[2:]).sum(axis=2)

    return (
        inputs._replace(
            query=query_gradient(inputs, pulled, sums, settings),
            key=summed(key_gradient),
            value=summed(value_gradient),
            places=np.zeros(inputs.places.shape, jax.dtypes.float0),  # integers have no gradient
        ),
    )


_attend = jax.custom_vjp(_attend_only, nondiff_argnums=(0,))
_attend.defvjp(_attend_forward, _attend_backward)
