"""What the TPU attention kernels have in common: products, masks, and numbers turned between rows and columns."""

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int, Num

from rmjax.models.attention import ScoreRule

LANES = 128
# A hidden score minus the highest score of a query is so low that exp gives zero, even where the query has seen nothing
# yet and its highest is still LOWEST. So one selection hides a score, and no minus infinity becomes NaN.
HIDDEN = float(jnp.finfo(jnp.float32).min)
LOWEST = HIDDEN / 2


def column(row: Num[jax.Array, "1 count"]) -> Num[jax.Array, "count lanes"]:
    """The row stood on end, the same in all lanes: Mosaic turns whole tiles, and reads full lanes fastest."""
    return jnp.broadcast_to(row, (LANES, row.shape[1])).T


def across(column: Num[jax.Array, "count lanes"], width: int) -> Num[jax.Array, "count width"]:
    """So many copies of a column beside each other."""
    if width <= LANES:
        return column[:, :width]
    return jnp.concatenate([column] * -(-width // LANES), axis=1)[:, :width]


def seen_down(
    query_block: Int[jax.Array, ""],
    key_block: Int[jax.Array, ""],
    query_position: jax.Ref,
    key_places: jax.Ref,
    window: int | None,
) -> Bool[jax.Array, "block_queries block_keys"]:
    """Queries down and keys across; of the queries their positions as a column, of the keys their places as rows."""
    queries, keys = query_position.shape[0], key_places.shape[1]
    query_index = query_block * queries + jax.lax.broadcasted_iota(jnp.int32, (queries, keys), 0)
    key_index = key_block * keys + jax.lax.broadcasted_iota(jnp.int32, (queries, keys), 1)
    seen = (key_index <= query_index) & (query_index < key_places[:1])
    if window is not None:
        seen &= across(query_position[...], keys) - key_places[1:] < window
    return seen


def seen_across(
    query_block: Int[jax.Array, ""],
    key_block: Int[jax.Array, ""],
    query_places: jax.Ref,
    visible_until: jax.Ref,
    key_position: jax.Ref,
    window: int | None,
) -> Bool[jax.Array, "block_keys block_queries"]:
    """Keys down and queries across; of the keys both numbers as columns, of the queries their places as rows."""
    keys, queries = visible_until.shape[0], query_places.shape[1]
    query_index = query_block * queries + jax.lax.broadcasted_iota(jnp.int32, (keys, queries), 1)
    key_index = key_block * keys + jax.lax.broadcasted_iota(jnp.int32, (keys, queries), 0)
    seen = (key_index <= query_index) & (query_index < across(visible_until[...], queries))
    if window is not None:
        seen &= query_places[1:] - across(key_position[...], queries) < window
    return seen


def hide(
    scores: Float[jax.Array, "queries block_keys"], seen: Bool[jax.Array, "block_queries block_keys"]
) -> Float[jax.Array, "queries block_keys"]:
    """Queries of several heads, one head below the other, see the same keys."""
    by_head = scores.reshape(-1, *seen.shape)
    return jnp.where(seen, by_head, HIDDEN).reshape(scores.shape)


def hide_across(
    scores: Float[jax.Array, "block_keys queries"], seen: Bool[jax.Array, "block_keys block_queries"]
) -> Float[jax.Array, "block_keys queries"]:
    """The same with one head beside the other."""
    heads = jnp.split(scores, scores.shape[1] // seen.shape[1], axis=1)
    return jnp.concatenate([jnp.where(seen, head, HIDDEN) for head in heads], axis=1)


def bend(scores: Float[jax.Array, "down across"], rule: ScoreRule) -> Float[jax.Array, "down across"]:
    """The soft cap, of scores that are scaled already."""
    return scores if rule.softcap is None else rule.softcap * jnp.tanh(scores / rule.softcap)


def slope(bent: Float[jax.Array, "down across"], rule: ScoreRule) -> Float[jax.Array, "down across"] | float:
    """The derivative of ``bend`` where it gave ``bent``."""
    return 1.0 if rule.softcap is None else 1.0 - jnp.square(bent / rule.softcap)
