"""Attention in blocks, in plain JAX: memory linear in the row's length, and no work on blocks that nobody sees.

The softmax is made up block by block as in Milakov and Gimelshein (2018, arXiv 1805.02867), and the backward pass
computes the weights again from the logarithms of their sums, as in Dao et al. (2022, arXiv 2205.14135).
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from rmjax.arrays import Array
from rmjax.models.attention import PLAIN, ScoreRule
from rmjax.models.blocks import Order, Places, Turn, cut, cut_places, join, needed_blocks, seen_in, visit

# On two CPU cores and HH's conversations 64 was faster than 32 (too many turns) and 128 (too much that nobody sees).
BLOCK = 64
_LOWEST = float(jnp.finfo(jnp.float32).min)  # a finite stand-in for minus infinity, as in dense_attention

Queries = Float[Array, "blocks groups queries size"]  # of a block, those of all heads of a group
Keys = Float[Array, "blocks groups block size"]
State = tuple[Array, Array, Array]
_product = functools.partial(jnp.einsum, preferred_element_type=jnp.float32)


def blocked_attention(
    query: Float[Array, "rows length heads size"],
    key: Float[Array, "rows length groups size"],
    value: Float[Array, "rows length groups size"],
    visible_until: Int[Array, "rows length"],
    positions: Int[Array, "rows length"],
    rule: ScoreRule = PLAIN,
    *,
    block: int = BLOCK,
    order: Order = Order.LISTED,
) -> Float[Array, "rows length heads size"]:
    """The same numbers as ``dense_attention``. Rows of any length will do: they are padded to whole blocks."""
    rows, length, _, _ = query.shape
    groups = key.shape[2]
    blocks = -(-length // block)
    places = cut_places(visible_until, positions, block)
    qkv = (cut(array, groups, block) for array in (query, key, value))
    return join(_attend(*qkv, places, rule, blocks, order), rows, length, block)


@functools.partial(jax.custom_vjp, nondiff_argnums=(4, 5, 6))
def _attend(
    query: Queries, key: Keys, value: Keys, places: Places, rule: ScoreRule, blocks: int, order: Order
) -> Queries:
    return _forward(query, key, value, places, rule, blocks, order)[0]


def _scores(query: Queries, key: Keys, rule: ScoreRule) -> Float[Array, "blocks groups queries block"]:
    """Scaled and capped."""
    scores = _product("lgid,lgjd->lgij", query, key) * rule.scale_for(query.shape[-1])
    return scores if rule.softcap is None else rule.softcap * jnp.tanh(scores / rule.softcap)


def _seen(turn: Turn, places: Places, blocks: int, rule: ScoreRule, query: Queries) -> Array:
    """``seen_in`` for all query heads of a group, which lie one after the other."""
    seen = seen_in(turn, places, blocks, rule.window)
    return jnp.tile(seen, (1, query.shape[2] // seen.shape[1], 1))[:, None]


def _forward(query: Queries, key: Keys, value: Keys, places: Places, rule: ScoreRule, blocks: int, order: Order):
    """The mixed values, and what the backward pass needs."""

    def take(turn: Turn, state: State) -> State:
        mixed, highest, total = (turn.queries(array) for array in state)
        scores = _scores(turn.queries(query), turn.keys(key), rule)
        seen = _seen(turn, places, blocks, rule, query)
        top = jnp.maximum(highest, jnp.where(seen, scores, _LOWEST).max(axis=-1))
        weights = jnp.where(seen, jnp.exp(scores - top[..., None]), 0.0)
        fade = jnp.exp(highest - top)
        mixed = mixed * fade[..., None] + _product("lgij,lgjd->lgid", weights.astype(value.dtype), turn.keys(value))
        total = total * fade + weights.sum(axis=-1)
        return turn.set_queries(state[0], mixed), turn.set_queries(state[1], top), turn.set_queries(state[2], total)

    lowest = jnp.full(query.shape[:-1], _LOWEST, jnp.float32)
    start = (jnp.zeros(query.shape, jnp.float32), lowest, jnp.zeros_like(lowest))
    mixed, highest, total = visit(needed_blocks(places, blocks, rule.window), order, take, start)
    total = jnp.where(total > 0, total, 1.0)  # at least 1 where anything is seen, 0 elsewhere
    mixed = (mixed / total[..., None]).astype(query.dtype)
    return mixed, (query, key, value, places, mixed, highest + jnp.log(total))


def _backward(rule: ScoreRule, blocks: int, order: Order, kept: tuple, pulled: Queries):
    """The gradients, by the same visits."""
    query, key, value, places, mixed, log_sum = kept
    drift = (pulled.astype(jnp.float32) * mixed.astype(jnp.float32)).sum(axis=-1)

    def take(turn: Turn, state: State) -> State:
        own, others, pull = turn.queries(query), turn.keys(key), turn.queries(pulled)
        scores = _scores(own, others, rule)
        seen = _seen(turn, places, blocks, rule, query)
        weights = jnp.where(seen, jnp.exp(scores - turn.queries(log_sum)[..., None]), 0.0)
        to_weights = _product("lgid,lgjd->lgij", pull, turn.keys(value))
        to_scores = weights * (to_weights - turn.queries(drift)[..., None]) * rule.scale_for(query.shape[-1])
        if rule.softcap is not None:
            to_scores *= 1 - jnp.square(scores / rule.softcap)
        weights, to_scores = weights.astype(value.dtype), to_scores.astype(value.dtype)
        to_query, to_key, to_value = state
        return (
            turn.add_to_queries(to_query, _product("lgij,lgjd->lgid", to_scores, others)),
            turn.add_to_keys(to_key, _product("lgij,lgid->lgjd", to_scores, own)),
            turn.add_to_keys(to_value, _product("lgij,lgid->lgjd", weights, pull)),
        )

    start = (jnp.zeros(query.shape, jnp.float32), jnp.zeros(key.shape, jnp.float32), jnp.zeros(key.shape, jnp.float32))
    gradients = visit(needed_blocks(places, blocks, rule.window), order, take, start)
    return *(gradient.astype(array.dtype) for gradient, array in zip(gradients, kept, strict=False)), None


_attend.defvjp(_forward, _backward)
