"""How the GPU attention kernels are called: which blocks of the arrays a program has, and which it walks through."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton
from jaxtyping import Float, Int

from rmjax.arrays import Array
from rmjax.models.gpu_kernels import Given, Settings, forward_kernel, key_kernel, query_kernel
from rmjax.models.kernels import needed_blocks


class Inputs(NamedTuple):
    """Of whole blocks; ``size`` is a power of two."""

    query: Float[jax.Array, "rows length heads size"]
    key: Float[jax.Array, "rows length groups size"]
    value: Float[jax.Array, "rows length groups size"]
    visible_until: Int[jax.Array, "rows length"]
    positions: Int[jax.Array, "rows length"]


class Walk(NamedTuple):
    """For each outer block the inner blocks that it needs: the first ``count`` of ``blocks``."""

    blocks: Int[Array, "rows outer inner"]
    count: Int[Array, "rows outer"]


def mixed_values(
    inputs: Inputs, settings: Settings
) -> tuple[Float[jax.Array, "rows length heads size"], Float[jax.Array, "rows length heads"]]:
    """And the logarithm to base two of the sum of each query's weights before they were divided by it."""
    tokens, numbers = _query_blocks(inputs, settings)
    mixed, log_total = _call(
        forward_kernel,
        settings,
        inputs,
        _by_query(inputs, settings),
        [],
        [(inputs.query, tokens), (jax.ShapeDtypeStruct(inputs.query.shape[:3], jnp.float32), numbers)],
        products=2,
        name="attention_forward",
    )
    return mixed, log_total


def query_gradient(
    inputs: Inputs,
    pulled: Float[jax.Array, "rows length heads size"],
    log_total: Float[jax.Array, "rows length heads"],
    shared: Float[jax.Array, "rows length heads"],
    settings: Settings,
) -> Float[jax.Array, "rows length heads size"]:
    """From the gradient of the mixed values; ``shared`` is the product of that and the mixed values of each query."""
    tokens, numbers = _query_blocks(inputs, settings)
    return _call(
        query_kernel,
        settings,
        inputs,
        _by_query(inputs, settings),
        [(pulled, tokens), (log_total, numbers), (shared, numbers)],
        [(inputs.query, tokens)],
        products=3,
        name="attention_backward_query",
    )[0]


def key_and_value_gradients(
    inputs: Inputs,
    pulled: Float[jax.Array, "rows length heads size"],
    log_total: Float[jax.Array, "rows length heads"],
    shared: Float[jax.Array, "rows length heads"],
    settings: Settings,
) -> tuple[Float[jax.Array, "rows length groups size"], Float[jax.Array, "rows length groups size"]]:
    """As ``query_gradient``."""
    rows, length, heads, size = inputs.query.shape
    groups, keys = inputs.key.shape[2], settings.tiles.keys
    own = pl.BlockSpec((None, keys, None, size), lambda block, group, row: (row, block, group, 0))
    tokens = pl.BlockSpec((None, length, heads // groups, size), lambda block, group, row: (row, 0, group, 0))
    numbers = pl.BlockSpec((None, length, heads // groups), lambda block, group, row: (row, 0, group))
    key_gradient, value_gradient = _call(
        key_kernel,
        settings,
        inputs,
        _Layout((length // keys, groups, rows), tokens, own, _walk(inputs, settings, by_key=True)),
        [(pulled, tokens), (log_total, numbers), (shared, numbers)],
        [(inputs.key, own), (inputs.value, own)],
        products=4,
        name="attention_backward_key",
    )
    return key_gradient, value_gradient


class _Layout(NamedTuple):
    """Of programs: the grid (outer blocks, bundles or groups of heads, rows), and what of queries and keys each has."""

    grid: tuple[int, int, int]
    query: pl.BlockSpec
    key: pl.BlockSpec
    walk: Walk


def _walk(inputs: Inputs, settings: Settings, *, by_key: bool) -> Walk:
    needed = needed_blocks(inputs.visible_until, inputs.positions, settings.rule.window, settings.tiles.sizes)
    if by_key:
        needed = needed.transpose(0, 2, 1)
    blocks = jnp.argsort(~needed, axis=2, stable=True)
    return Walk(blocks.astype(jnp.int32), needed.sum(axis=2, dtype=jnp.int32))


def _query_blocks(inputs: Inputs, settings: Settings) -> tuple[pl.BlockSpec, pl.BlockSpec]:
    """Of a program with a block of queries: what is as ``query``, and what is one number for each query and head."""
    size, together, queries = inputs.query.shape[3], settings.tiles.together, settings.tiles.sizes.query
    return (
        pl.BlockSpec((None, queries, together, size), lambda block, bundle, row: (row, block, bundle, 0)),
        pl.BlockSpec((None, queries, together), lambda block, bundle, row: (row, block, bundle)),
    )


def _by_query(inputs: Inputs, settings: Settings) -> _Layout:
    """A program has a block of queries of a bundle of heads, and all keys of their group."""
    rows, length, heads, size = inputs.query.shape
    bundles = heads // settings.tiles.together
    each = bundles // inputs.key.shape[2]
    keys = pl.BlockSpec((None, length, None, size), lambda block, bundle, row: (row, 0, jax.lax.div(bundle, each), 0))
    grid = (length // settings.tiles.sizes.query, bundles, rows)
    return _Layout(grid, _query_blocks(inputs, settings)[0], keys, _walk(inputs, settings, by_key=False))


def _call(
    kernel: Callable[..., None],
    settings: Settings,
    inputs: Inputs,
    layout: _Layout,
    others: Sequence[tuple[jax.Array, pl.BlockSpec]],
    outputs: Sequence[tuple[jax.Array | jax.ShapeDtypeStruct, pl.BlockSpec]],
    *,
    products: int,
    name: str,
) -> Sequence[jax.Array]:
    """Runs the kernel in every program of the layout; of matrix products it has so many for each pair of blocks."""
    _, length, heads, size = inputs.query.shape
    places = pl.BlockSpec((None, length), lambda block, bundle, row: (row, 0))
    blocks = pl.BlockSpec((None, None, layout.walk.blocks.shape[2]), lambda block, bundle, row: (row, block, 0))
    count = pl.BlockSpec((None, None), lambda block, bundle, row: (row, block))
    varies = jax.typeof(inputs.query).manual_axis_type  # inside a shard_map: over which axes of the mesh

    def run(*refs: jax.Ref) -> None:
        kernel(settings, Given(*refs[:7]), *refs[7:])

    scores = inputs.query.shape[0] * heads * length**2 // 2  # of rows that are causal and no more; there may be fewer
    return pl.pallas_call(
        run,
        grid=layout.grid,
        in_specs=[
            *(layout.query, layout.key, layout.key, places, places, blocks, count),
            *(block for _, block in others),
        ],
        out_specs=[block for _, block in outputs],
        out_shape=[jax.ShapeDtypeStruct(array.shape, array.dtype, manual_axis_type=varies) for array, _ in outputs],
        compiler_params=triton.CompilerParams(num_warps=settings.tiles.warps, num_stages=settings.tiles.stages),
        cost_estimate=pl.CostEstimate(
            flops=2 * products * scores * size,
            transcendentals=scores,
            bytes_accessed=sum(array.size * array.dtype.itemsize for array in inputs),
        ),
        interpret=settings.interpret,
        name=name,
    )(*inputs, *layout.walk, *(array for array, _ in others))
