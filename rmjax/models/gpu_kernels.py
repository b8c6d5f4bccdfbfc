"""The GPU attention kernels. Each program has one outer block and goes through the inner blocks that it needs.

The softmax is made up block by block (Milakov and Gimelshein, 2018, arXiv 1805.02867), and the backward kernels compute
the weights again from the logarithms of their sums (Dao et al., 2022, arXiv 2205.14135), one for the queries' gradient
and one for that of keys and values. Exponents are of two, which is what the hardware has; so are those logarithms.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jaxtyping import Bool, Float, Int

from rmjax.arrays import Array
from rmjax.models.attention import ScoreRule
from rmjax.models.kernels import ROWS_BY_COLUMNS, ROWS_BY_ROWS, BlockSizes, product

_LOWEST = float(jnp.finfo(jnp.float32).min)  # a finite stand-in for minus infinity, as in dense_attention
_LOG2_E = math.log2(math.e)


class Tiles(NamedTuple):
    """All but ``stages`` powers of two.

    Attributes:
      together: query heads of a group that are multiplied with a block of keys at once.
      queries: in a tile, those of all heads together.
      keys: in a tile.
      warps: that compute a program.
      stages: blocks that are on their way while one is computed, and that one.
    """

    together: int
    queries: int
    keys: int
    warps: int
    stages: int

    @property
    def sizes(self) -> BlockSizes:
        """In tokens."""
        return BlockSizes(query=self.queries // self.together, key=self.keys)


class Settings(NamedTuple):
    rule: ScoreRule
    scale: float
    tiles: Tiles
    interpret: bool


class Given(NamedTuple):
    """What every kernel reads: of a program its own queries, keys and walk, and all places of its row."""

    query: jax.Ref
    key: jax.Ref
    value: jax.Ref
    visible_until: jax.Ref
    positions: jax.Ref
    blocks: jax.Ref
    count: jax.Ref


def forward_kernel(settings: Settings, given: Given, mixed: jax.Ref, log_total: jax.Ref) -> None:
    queries = _of_all_heads(given.query[...])
    block = pl.program_id(0)

    def take(turn: Array, state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        summed, highest, total = state
        key_block = given.blocks[turn]
        keys = pl.ds(key_block * settings.tiles.keys, settings.tiles.keys)
        scores, _ = _bend(product(queries, given.key[keys, :], ROWS_BY_ROWS), settings)
        seen = _seen(settings, given, block, key_block)
        top = jnp.maximum(highest, jnp.where(seen, scores, _LOWEST).max(axis=1))
        weights = jnp.where(seen, jnp.exp2(scores - top[:, None]), 0.0)
        fade = jnp.exp2(highest - top)
        values = given.value[keys, :]
        summed = summed * fade[:, None] + product(weights.astype(values.dtype), values, ROWS_BY_COLUMNS)
        return summed, top, total * fade + weights.sum(axis=1)

    start = (
        jnp.zeros(queries.shape, jnp.float32),
        jnp.full(queries.shape[:1], _LOWEST, jnp.float32),
        jnp.zeros(queries.shape[:1], jnp.float32),
    )
    summed, highest, total = jax.lax.fori_loop(0, given.count[...], take, start)
    total = jnp.where(total > 0, total, 1.0)  # at least 1 where anything is seen, 0 elsewhere
    mixed[...] = (summed / total[:, None]).reshape(mixed.shape).astype(mixed.dtype)
    log_total[...] = (highest + jnp.log2(total)).reshape(log_total.shape)


def query_kernel(
    settings: Settings, given: Given, pulled: jax.Ref, log_total: jax.Ref, shared: jax.Ref, gradient: jax.Ref
) -> None:
    queries, pulls = _of_all_heads(given.query[...]), _of_all_heads(pulled[...])
    log_totals, drift = log_total[...].reshape(-1, 1), shared[...].reshape(-1, 1)
    block = pl.program_id(0)

    def take(turn: Array, summed: Array) -> Array:
        key_block = given.blocks[turn]
        at = pl.ds(key_block * settings.tiles.keys, settings.tiles.keys)
        keys = given.key[at, :]
        scores, slope = _bend(product(queries, keys, ROWS_BY_ROWS), settings)
        seen = _seen(settings, given, block, key_block)
        weights = jnp.where(seen, jnp.exp2(scores - log_totals), 0.0)
        pull = weights * (product(pulls, given.value[at, :], ROWS_BY_ROWS) - drift) * slope
        return summed + product(pull.astype(keys.dtype), keys, ROWS_BY_COLUMNS)

    summed = jax.lax.fori_loop(0, given.count[...], take, jnp.zeros(queries.shape, jnp.float32))
    gradient[...] = (settings.scale * summed).reshape(gradient.shape).astype(gradient.dtype)


def key_kernel(
    settings: Settings,
    given: Given,
    pulled: jax.Ref,
    log_total: jax.Ref,
    shared: jax.Ref,
    key_gradient: jax.Ref,
    value_gradient: jax.Ref,
) -> None:
    """Scores stand with keys down and queries across, so that no product has to turn them."""
    block, tiles = pl.program_id(0), settings.tiles
    keys, values = given.key[...], given.value[...]
    bundles = given.query.shape[1] // tiles.together

    def take(turn: Array, state: tuple[Array, Array]) -> tuple[Array, Array]:
        key_summed, value_summed = state
        query_block = given.blocks[jax.lax.div(turn, bundles)]
        at = pl.ds(query_block * tiles.sizes.query, tiles.sizes.query)
        heads = pl.ds(jax.lax.rem(turn, bundles) * tiles.together, tiles.together)
        queries, pulls = _of_all_heads(given.query[at, heads, :]), _of_all_heads(pulled[at, heads, :])
        scores, slope = _bend(product(keys, queries, ROWS_BY_ROWS), settings)
        seen = _seen(settings, given, query_block, block, keys_down=True)
        weights = jnp.where(seen, jnp.exp2(scores - log_total[at, heads].reshape(1, -1)), 0.0)
        value_summed += product(weights.astype(pulls.dtype), pulls, ROWS_BY_COLUMNS)
        drift = shared[at, heads].reshape(1, -1)
        pull = weights * (product(values, pulls, ROWS_BY_ROWS) - drift) * slope
        return key_summed + product(pull.astype(queries.dtype), queries, ROWS_BY_COLUMNS), value_summed

    start = (jnp.zeros(keys.shape, jnp.float32), jnp.zeros(keys.shape, jnp.float32))
    key_summed, value_summed = jax.lax.fori_loop(0, given.count[...] * bundles, take, start)
    key_gradient[...] = (settings.scale * key_summed).astype(key_gradient.dtype)
    value_gradient[...] = value_summed.astype(value_gradient.dtype)


def _of_all_heads(array: Float[jax.Array, "tokens heads size"]) -> Float[jax.Array, "tokens_and_heads size"]:
    """The heads of a token one after the other, then those of the next token."""
    return array.reshape(-1, array.shape[2])


def _bend(
    products: Float[jax.Array, "down across"], settings: Settings
) -> tuple[Float[jax.Array, "down across"], Float[jax.Array, "down across"] | float]:
    """Scores as exponents of two, and their slope: of the score by the scaled product."""
    softcap = settings.rule.softcap
    if softcap is None:
        return products * (settings.scale * _LOG2_E), 1.0
    bent = jnp.tanh(products * (settings.scale / softcap))
    return bent * (softcap * _LOG2_E), 1.0 - bent * bent


def _query_index(settings: Settings, block: Int[jax.Array, ""]) -> Int[jax.Array, "queries"]:
    """The places of a block's queries, once for each head."""
    tiles = settings.tiles
    inside = jax.lax.div(jax.lax.iota(jnp.int32, tiles.queries), jnp.int32(tiles.together))
    return block * tiles.sizes.query + inside


def _query_position(settings: Settings, given: Given, block: Int[jax.Array, ""]) -> Int[jax.Array, "queries"]:
    """Their positions."""
    tiles = settings.tiles
    found = given.positions[pl.ds(block * tiles.sizes.query, tiles.sizes.query)]
    return jnp.broadcast_to(found[:, None], (tiles.sizes.query, tiles.together)).reshape(-1)


def _seen(
    settings: Settings,
    given: Given,
    query_block: Int[jax.Array, ""],
    key_block: Int[jax.Array, ""],
    *,
    keys_down: bool = False,
) -> Bool[jax.Array, "down across"]:
    """Queries down and keys across, or the other way round."""

    def of_queries(row: Array) -> jax.Array:
        return jnp.expand_dims(row, 0 if keys_down else 1)

    def of_keys(row: Array) -> jax.Array:
        return jnp.expand_dims(row, 1 if keys_down else 0)

    keys = settings.tiles.keys
    at = pl.ds(key_block * keys, keys)
    query = of_queries(_query_index(settings, query_block))
    key = of_keys(key_block * keys + jax.lax.iota(jnp.int32, keys))
    seen = (key <= query) & (query < of_keys(given.visible_until[at]))
    if settings.rule.window is not None:
        position = of_queries(_query_position(settings, given, query_block))
        seen &= position - of_keys(given.positions[at]) < settings.rule.window
    return seen
