"""The backward kernels: one walks each query block's keys for the queries' gradient, one each key block's queries."""

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
from rmjax.models.tpu_forward import query_walk
from rmjax.models.tpu_tiles import across, bend, column, hide, hide_across, seen_across, seen_down, slope


def key_walk(inputs: Inputs, settings: Settings) -> Visits:
    """For each key block, the query blocks that need it."""
    visible_until, positions = inputs.places[:, 0], inputs.places[:, 1]
    needed = needed_blocks(visible_until, positions, settings.rule.window, settings.sizes)
    return visits(needed.transpose(0, 2, 1), causal_blocks(visible_until.shape[1], settings.sizes).T)


def query_gradient(
    inputs: Inputs,
    pulled: Float[jax.Array, "rows bundles together length size"],
    sums: Float[jax.Array, "rows bundles query_blocks 2 queries"],
    settings: Settings,
) -> Float[jax.Array, "rows bundles together length size"]:
    """From the gradient of the mixed values; ``sums`` are log_total and the product of mixed values and gradient."""
    together, size = inputs.query.shape[2], inputs.query.shape[4]
    queries = together * settings.sizes.query
    at = blocks(inputs, settings.sizes, query_outer=True)
    walk = query_walk(inputs, settings)
    return call(
        functools.partial(_query_kernel, settings.rule),
        walk,
        inputs,
        at,
        [(pulled, at.query), (sums, at.query_sums(2))],
        [Output(inputs.query.shape, inputs.query.dtype, at.query)],
        [
            pltpu.VMEM((queries, size), jnp.float32),
            column_scratch(queries),
            column_scratch(queries),
            column_scratch(settings.sizes.query, jnp.int32),
        ],
        cost(inputs, walk, settings.sizes, products=3),
        name="attention_backward_query",
        interpret=settings.interpret,
    )[0]


def key_and_value_gradients(
    inputs: Inputs,
    pulled: Float[jax.Array, "rows bundles together length size"],
    sums: Float[jax.Array, "rows bundles query_blocks 2 queries"],
    settings: Settings,
) -> tuple[Float[jax.Array, "rows bundles length size"], Float[jax.Array, "rows bundles length size"]]:
    """As ``query_gradient``; what each bundle adds to the gradients of its group."""
    rows, bundles, _, length, size = inputs.query.shape
    count = settings.sizes.key
    at = blocks(inputs, settings.sizes, query_outer=False)
    walk = key_walk(inputs, settings)
    key_gradient, value_gradient = call(
        functools.partial(_key_kernel, settings.rule),
        walk,
        inputs,
        at,
        [(pulled, at.query), (sums, at.query_sums(2))],
        [
            Output((rows, bundles, length, size), inputs.key.dtype, at.key_gradient),
            Output((rows, bundles, length, size), inputs.value.dtype, at.key_gradient),
        ],
        [
            pltpu.VMEM((count, size), jnp.float32),
            pltpu.VMEM((count, size), jnp.float32),
            column_scratch(count, jnp.int32),
            column_scratch(count, jnp.int32),
        ],
        cost(inputs, walk, settings.sizes, products=4),
        name="attention_backward_key",
        interpret=settings.interpret,
    )
    return key_gradient, value_gradient


def _query_kernel(
    rule: ScoreRule,
    visit: Visit,
    given: Operands,
    pulled: jax.Ref,
    sums: jax.Ref,
    gradient: jax.Ref,
    summed: jax.Ref,
    log_total: jax.Ref,
    shared: jax.Ref,
    query_position: jax.Ref,
) -> None:

    @pl.when(visit.flag & FIRST != 0)
    def _():
        summed[...] = jnp.zeros(summed.shape, jnp.float32)
        log_total[...] = column(sums[:1])
        shared[...] = column(sums[1:])
        if rule.window is not None:
            query_position[...] = column(given.query_places[1:])

    @pl.when(visit.flag & NEEDED != 0)
    def _():
        seen = seen_down(visit.outer, visit.inner, query_position, given.key_places, rule.window)
        scores = bend(product(given.query[...].reshape(summed.shape), given.key[...], ROWS_BY_ROWS), rule)
        weights = jnp.exp(hide(scores, seen) - across(log_total[...], scores.shape[1]))
        pull = product(pulled[...].reshape(summed.shape), given.value[...], ROWS_BY_ROWS)
        pull = weights * (pull - across(shared[...], scores.shape[1])) * slope(scores, rule)
        summed[...] += product(pull.astype(given.key.dtype), given.key[...], ROWS_BY_COLUMNS)

    @pl.when(visit.flag & LAST != 0)
    def _():
        gradient[...] = summed[...].reshape(gradient.shape).astype(gradient.dtype)


def _key_kernel(
    rule: ScoreRule,
    visit: Visit,
    given: Operands,
    pulled: jax.Ref,
    sums: jax.Ref,
    key_gradient: jax.Ref,
    value_gradient: jax.Ref,
    key_summed: jax.Ref,
    value_summed: jax.Ref,
    visible_until: jax.Ref,
    key_position: jax.Ref,
) -> None:
    """Scores stand with keys down and queries across, so that no large array is turned."""

    @pl.when(visit.flag & FIRST != 0)
    def _():
        key_summed[...] = jnp.zeros(key_summed.shape, jnp.float32)
        value_summed[...] = jnp.zeros(value_summed.shape, jnp.float32)
        visible_until[...] = column(given.key_places[:1])
        if rule.window is not None:
            key_position[...] = column(given.key_places[1:])

    @pl.when(visit.flag & NEEDED != 0)
    def _():
        seen = seen_across(visit.inner, visit.outer, given.query_places, visible_until, key_position, rule.window)
        queries = given.query[...].reshape(-1, given.query.shape[2])
        pulls = pulled[...].reshape(queries.shape)
        scores = bend(product(given.key[...], queries, ROWS_BY_ROWS), rule)
        weights = jnp.exp(hide_across(scores, seen) - sums[:1])
        value_summed[...] += product(weights.astype(pulls.dtype), pulls, ROWS_BY_COLUMNS)
        pull = weights * (product(given.value[...], pulls, ROWS_BY_ROWS) - sums[1:]) * slope(scores, rule)
        key_summed[...] += product(pull.astype(queries.dtype), queries, ROWS_BY_COLUMNS)

    @pl.when(visit.flag & LAST != 0)
    def _():
        key_gradient[...] = key_summed[...].astype(key_gradient.dtype)
        value_gradient[...] = value_summed[...].astype(value_gradient.dtype)
