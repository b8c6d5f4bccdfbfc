"""The forward kernel: an online softmax over the key blocks that a query block needs."""

import functools

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
from jaxtyping import Float

from rmjax.models.attention import ScoreRule
from rmjax.models.kernels import ROWS_BY_COLUMNS, ROWS_BY_ROWS, needed_blocks, product
from rmjax.models.tpu_blocks import FIRST, LAST, NEEDED, Visits, causal_blocks, visits
from rmjax.models.tpu_calls import Inputs, Operands, Output, Settings, Visit, blocks, call, column_scratch, cost
from rmjax.models.tpu_tiles import LOWEST, across, bend, column, hide, seen_down


def query_walk(inputs: Inputs, settings: Settings) -> Visits:
    """For each query block, the key blocks that it needs."""
    visible_until, positions = inputs.places[:, 0], inputs.places[:, 1]
    needed = needed_blocks(visible_until, positions, settings.rule.window, settings.sizes)
    return visits(needed, causal_blocks(visible_until.shape[1], settings.sizes))


def mixed_values(
    inputs: Inputs, settings: Settings
) -> tuple[
    Float[jax.Array, "rows bundles together length size"], Float[jax.Array, "rows bundles query_blocks 1 queries"]
]:
    """The attention, and of each query the logarithm of its exponentiated scores' sum (LOWEST if it sees nothing)."""
    rows, bundles, together, length, size = inputs.query.shape
    sizes = settings.sizes
    queries = together * sizes.query
    at = blocks(inputs, sizes, query_outer=True)
    walk = query_walk(inputs, settings)
    mixed, log_total = call(
        functools.partial(_kernel, settings.rule),
        walk,
        inputs,
        at,
        [],
        [
            Output(inputs.query.shape, inputs.query.dtype, at.query),
            Output((rows, bundles, length // sizes.query, 1, queries), jnp.float32, at.query_sums(1)),
        ],
        [
            column_scratch(queries),
            column_scratch(queries),
            pltpu.VMEM((queries, size), jnp.float32),
            column_scratch(sizes.query, jnp.int32),
        ],
        cost(inputs, walk, sizes, products=2),
        name="attention_forward",
        interpret=settings.interpret,
    )
    return mixed, log_total


def _kernel(
    rule: ScoreRule,
    visit: Visit,
    given: Operands,
    mixed: jax.Ref,
    log_total: jax.Ref,
    highest: jax.Ref,
    total: jax.Ref,
    summed: jax.Ref,
    query_position: jax.Ref,
) -> None:

    @pl.when(visit.flag & FIRST != 0)
    def _():
        highest[...] = jnp.full(highest.shape, LOWEST, jnp.float32)
        total[...] = jnp.zeros(total.shape, jnp.float32)
        summed[...] = jnp.zeros(summed.shape, jnp.float32)
        if rule.window is not None:
            query_position[...] = column(given.query_places[1:])

    @pl.when(visit.flag & NEEDED != 0)
    def _():
        seen = seen_down(visit.outer, visit.inner, query_position, given.key_places, rule.window)
        scores = bend(product(given.query[...].reshape(summed.shape), given.key[...], ROWS_BY_ROWS), rule)
        scores = hide(scores, seen)
        before = highest[...]
        highest[...] = jnp.maximum(before, scores.max(axis=1, keepdims=True))
        shrink = jnp.exp(before - highest[...])
        weights = jnp.exp(scores - across(highest[...], scores.shape[1]))
        total[...] = shrink * total[...] + weights.sum(axis=1, keepdims=True)
        added = product(weights.astype(given.value.dtype), given.value[...], ROWS_BY_COLUMNS)
        summed[...] = across(shrink, summed.shape[1]) * summed[...] + added

    @pl.when(visit.flag & LAST != 0)
    def _():
        safe = jnp.where(total[...] > 0, total[...], 1.0)
        mixed[...] = (summed[...] / across(safe, summed.shape[1])).reshape(mixed.shape).astype(mixed.dtype)
        log_total[...] = (highest[...] + jnp.log(safe)).T[:1]
