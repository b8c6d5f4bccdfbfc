"""How the TPU attention kernels are called: their shapes, which block of each array a grid step has, and what it costs.

The grid is rows, bundles, steps of the walk. A bundle is up to eight query heads of one group: a query block holds
``together * sizes.query`` queries, one head after the other, so keys and values are fetched once for all of them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
from jaxtyping import Float, Int

from rmjax.models.attention import ScoreRule
from rmjax.models.kernels import BlockSizes
from rmjax.models.tpu_blocks import Visits
from rmjax.models.tpu_tiles import LANES

# A quarter to a half of the chip's (v5e and v6e have 128 MiB, v5p 64), so that XLA keeps room to prefetch what follows.
VMEM_LIMIT = 32 * 2**20


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What doesn't depend on the data."""

    rule: ScoreRule
    sizes: BlockSizes
    interpret: bool


class Inputs(NamedTuple):
    """Of all kernels; the length is a multiple of both blocks, and queries are scaled."""

    query: Float[jax.Array, "rows bundles together length size"]
    key: Float[jax.Array, "rows groups length size"]
    value: Float[jax.Array, "rows groups length size"]
    places: Int[jax.Array, "rows 2 length"]  # visible_until, positions


class Visit(NamedTuple):
    """A step of the walk."""

    outer: Int[jax.Array, ""]
    inner: Int[jax.Array, ""]
    flag: Int[jax.Array, ""]


class Operands(NamedTuple):
    """The blocks that every kernel reads."""

    query: jax.Ref
    key: jax.Ref
    value: jax.Ref
    query_places: jax.Ref
    key_places: jax.Ref


class Blocks(NamedTuple):
    """The block that a grid step has, of arrays shaped like each of these."""

    query: pl.BlockSpec
    key: pl.BlockSpec
    key_gradient: pl.BlockSpec  # of a bundle, not of a group
    query_places: pl.BlockSpec
    key_places: pl.BlockSpec
    query_sums: Callable[[int], pl.BlockSpec]  # of so many numbers for each query, laid out block after block


def blocks(inputs: Inputs, sizes: BlockSizes, *, query_outer: bool) -> Blocks:
    """For a walk whose outer blocks are those of the queries, or those of the keys."""
    _, bundles, together, _, size = inputs.query.shape
    bundles_each = bundles // inputs.key.shape[1]

    def spec(shape: tuple[int | None, ...], of_query: bool, place: Callable[..., tuple[jax.typing.ArrayLike, ...]]):
        def index(row, bundle, step, outer, inner, flags):
            return place(row, bundle, (outer if of_query is query_outer else inner)[row, step])

        return pl.BlockSpec(shape, index)

    key_shape = (None, None, sizes.key, size)
    return Blocks(
        query=spec(
            (None, None, together, sizes.query, size), True, lambda row, bundle, block: (row, bundle, 0, block, 0)
        ),
        key=spec(key_shape, False, lambda row, bundle, block: (row, jax.lax.div(bundle, bundles_each), block, 0)),
        key_gradient=spec(key_shape, False, lambda row, bundle, block: (row, bundle, block, 0)),
        query_places=spec((None, 2, sizes.query), True, lambda row, bundle, block: (row, 0, block)),
        key_places=spec((None, 2, sizes.key), False, lambda row, bundle, block: (row, 0, block)),
        query_sums=lambda count: spec(
            (None, None, None, count, together * sizes.query),
            True,
            lambda row, bundle, block: (row, bundle, block, 0, 0),
        ),
    )


class Output(NamedTuple):
    shape: tuple[int, ...]
    dtype: jax.typing.DTypeLike
    block: pl.BlockSpec


def call(
    kernel: Callable[..., None],
    walk: Visits,
    inputs: Inputs,
    at: Blocks,
    others: Sequence[tuple[jax.Array, pl.BlockSpec]],
    outputs: Sequence[Output],
    scratch: Sequence[pl.MemoryRef],
    cost: pl.CostEstimate,
    *,
    name: str,
    interpret: bool,
) -> Sequence[jax.Array]:
    """Runs the kernel over the walk, for all rows and bundles: it gets the visit, the operands, the others."""

    def visiting(outer: jax.Ref, inner: jax.Ref, flags: jax.Ref, *refs: jax.Ref) -> None:
        row, step = pl.program_id(0), pl.program_id(2)
        visit = Visit(outer[row, step], inner[row, step], flags[row, step])
        kernel(visit, Operands(*refs[:5]), *refs[5:])

    rows, bundles = inputs.query.shape[:2]
    varies = jax.typeof(inputs.query).manual_axis_type  # inside a shard_map: over which axes of the mesh
    return pl.pallas_call(
        visiting,
        grid_spec=pltpu.PrefetchScalarGridSpec(
            num_scalar_prefetch=3,
            grid=(rows, bundles, walk.steps),  # pyright: ignore[reportArgumentType] a bound may be traced
            in_specs=[at.query, at.key, at.key, at.query_places, at.key_places, *(block for _, block in others)],
            out_specs=[output.block for output in outputs],
            scratch_shapes=scratch,
        ),
        out_shape=[jax.ShapeDtypeStruct(output.shape, output.dtype, manual_axis_type=varies) for output in outputs],
        compiler_params=pltpu.CompilerParams(
            dimension_semantics=("parallel", "parallel", "arbitrary"), vmem_limit_bytes=VMEM_LIMIT
        ),
        cost_estimate=cost,
        interpret=interpret,
        name=name,
    )(*walk[:3], *inputs, inputs.places, *(array for array, _ in others))


def cost(inputs: Inputs, walk: Visits, sizes: BlockSizes, products: int) -> pl.CostEstimate:
    """Of so many matrix products for each pair of blocks in rows that are causal and no more; the data may say less."""
    _, bundles, together, _, size = inputs.query.shape
    scores = walk.outer.size * bundles * together * sizes.query * sizes.key
    return pl.CostEstimate(
        flops=2 * products * scores * size,
        transcendentals=scores,
        bytes_accessed=sum(array.size * array.dtype.itemsize for array in inputs),
    )


def column_scratch(count: int, dtype: jax.typing.DTypeLike = jnp.float32) -> pl.MemoryRef:
    """For what ``tpu_tiles.column`` gives."""
    return pltpu.VMEM((count, LANES), jnp.dtype(dtype))
