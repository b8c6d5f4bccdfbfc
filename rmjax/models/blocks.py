"""Rows cut into blocks, and the order in which pairs of a query block and a key block are visited.

A query block needs a key block of its row where any key of it is seen by any query. A visit is one turn of a loop;
there are two kinds, each for its hardware, and what is computed in a turn is written once for both.
"""

import enum
from collections.abc import Callable
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from rmjax.arrays import Array

State = TypeVar("State")


class Places(NamedTuple):
    """Of every token, by blocks: of row r, which has ``n`` blocks, the blocks ``r * n`` to ``r * n + n - 1``."""

    visible_until: Int[Array, "blocks block"]
    positions: Int[Array, "blocks block"]


class Order(enum.Enum):
    """How the pairs of blocks are visited."""

    LISTED = "listed"  # one needed pair a turn and no other: for a CPU, where small products are as quick as large ones
    ABREAST = "abreast"  # all query blocks at once, each with the key block so many before it: for wide devices


class Pair(NamedTuple):
    """A turn with one query block and one key block."""

    query: Int[Array, ""]
    key: Int[Array, ""]

    def queries(self, array: Array) -> Array:
        return array[self.query][None]

    def keys(self, array: Array) -> Array:
        return array[self.key][None]

    def set_queries(self, array: Array, to: Array) -> Array:
        return jnp.asarray(array).at[self.query].set(to[0])

    def add_to_queries(self, array: Array, more: Array) -> Array:
        return jnp.asarray(array).at[self.query].add(more[0])

    def add_to_keys(self, array: Array, more: Array) -> Array:
        return jnp.asarray(array).at[self.key].add(more[0])

    def indices(self) -> tuple[Int[Array, "lanes"], Int[Array, "lanes"]]:
        return self.query[None], self.key[None]


class Offset(NamedTuple):
    """A turn of every query block with the key block ``offset`` before it.

    A lane without such a block in its row has another row's; what it adds must be zero.
    """

    offset: Int[Array, ""]
    blocks: int

    def queries(self, array: Array) -> Array:
        return array

    def keys(self, array: Array) -> Array:
        return jnp.roll(array, self.offset, axis=0)

    def set_queries(self, array: Array, to: Array) -> Array:
        return to

    def add_to_queries(self, array: Array, more: Array) -> Array:
        return array + more

    def add_to_keys(self, array: Array, more: Array) -> Array:
        return array + jnp.roll(more, -self.offset, axis=0)

    def indices(self) -> tuple[Int[Array, "lanes"], Int[Array, "lanes"]]:
        lane = jnp.arange(self.blocks)
        return lane, lane - self.offset


Turn = Pair | Offset
"""A turn's blocks, a lane for each query block. ``queries`` and ``keys`` read an array's query or key blocks, [lanes,
...]; ``set_queries``, ``add_to_queries`` and ``add_to_keys`` write there; ``indices`` are (query block, key block)."""


def needed_blocks(places: Places, blocks: int, window: int | None = None) -> Bool[Array, "rows queries keys"]:
    """Whether any query of a block sees any key of another block of its row; a row has ``blocks`` of them.

    Exact without a window: the key that is visible longest decides. With one, blocks that the window passes over by
    their extreme positions are left out.
    """
    block = places.visible_until.shape[1]
    index = jnp.arange(blocks)
    longest = places.visible_until.max(axis=1).reshape(-1, 1, blocks)
    needed = (index <= index[:, None]) & (longest > (index * block)[:, None])
    if window is not None:
        first = places.positions.min(axis=1).reshape(-1, blocks, 1)
        needed &= first - places.positions.max(axis=1).reshape(-1, 1, blocks) < window
    return needed


def visit(
    needed: Bool[Array, "rows queries keys"], order: Order, take: Callable[[Turn, State], State], start: State
) -> State:
    """``state = take(turn, state)`` from ``start`` on, over all turns that are needed; no more turns than that."""
    rows, blocks, _ = needed.shape
    if order is Order.ABREAST:
        offset = jnp.arange(blocks)[:, None] - jnp.arange(blocks)
        turns = jnp.where(needed, offset + 1, 0).max()
        return jax.lax.fori_loop(0, turns, lambda turn, state: take(Offset(turn, rows * blocks), state), start)
    most = rows * blocks * (blocks + 1) // 2
    row, query, key = jnp.nonzero(needed, size=most, fill_value=0)
    query, key = row * blocks + query, row * blocks + key
    return jax.lax.fori_loop(0, needed.sum(), lambda turn, state: take(Pair(query[turn], key[turn]), state), start)


def seen_in(turn: Turn, places: Places, blocks: int, window: int | None) -> Bool[Array, "lanes block block"]:
    """Whether each query (second axis) of a lane sees each key (third axis)."""
    block = places.visible_until.shape[1]
    inside = jnp.arange(block)
    at, key_at = turn.indices()
    query = ((at % blocks) * block)[:, None, None] + inside[:, None]
    key = (key_at % blocks * block)[:, None, None] + inside
    same_row = (at // blocks == key_at // blocks)[:, None, None]
    seen = same_row & (key <= query) & (query < turn.keys(places.visible_until)[:, None, :])
    if window is not None:
        seen &= turn.queries(places.positions)[:, :, None] - turn.keys(places.positions)[:, None, :] < window
    return seen


def cut(array: Float[Array, "rows length heads size"], groups: int, block: int) -> Float[Array, "blocks groups n size"]:
    """Rows padded to whole blocks; of each block the tokens of all heads of a group one after the other."""
    rows, length, _, size = array.shape
    padded = -(-length // block) * block
    array = jnp.pad(array, ((0, 0), (0, padded - length), (0, 0), (0, 0)))
    array = array.reshape(rows * padded // block, block, groups, -1, size).transpose(0, 2, 3, 1, 4)
    return array.reshape(rows * padded // block, groups, -1, size)


def cut_places(visible_until: Int[Array, "rows length"], positions: Int[Array, "rows length"], block: int) -> Places:
    """Padded to whole blocks; what pads is never seen."""
    length = visible_until.shape[1]
    pad = ((0, 0), (0, -length % block))
    return Places(*(jnp.pad(array, pad).reshape(-1, block) for array in (visible_until, positions)))


def join(
    array: Float[Array, "blocks groups n size"], rows: int, length: int, block: int
) -> Float[Array, "rows length heads size"]:
    """The inverse of ``cut``."""
    blocks, groups, heads_and_tokens, size = array.shape
    array = array.reshape(blocks, groups, heads_and_tokens // block, block, size).transpose(0, 3, 1, 2, 4)
    return array.reshape(rows, blocks // rows * block, -1, size)[:, :length]
