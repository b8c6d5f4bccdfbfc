"""Which blocks of queries and keys meet: the order in which the TPU kernels walk through them."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Int

from rmjax.arrays import Array
from rmjax.models.kernels import BlockSizes

# What a visit does besides staying where the visit before it was.
FIRST, LAST, NEEDED = 1, 2, 4


class Visits(NamedTuple):
    """A walk for each row: all inner blocks that the first outer block needs, then those of the second, and so on.

    It is a list of pairs, not a range for each outer block, because what is needed has gaps (between a response and its
    prompt lie its siblings), and because every grid step that does nothing costs about as long as a small block. Steps
    after the end of a row's walk, where another row's is longer, stay at its last pair: nothing is fetched for them.
    """

    outer: Int[Array, "rows visits"]
    inner: Int[Array, "rows visits"]
    flags: Int[Array, "rows visits"]  # sums of FIRST and LAST (of the outer block) and NEEDED
    steps: Int[Array, ""]  # of the longest walk


def causal_blocks(length: int, sizes: BlockSizes) -> Bool[np.ndarray, "query_blocks key_blocks"]:
    """Whether the key block starts no later than the query block ends."""
    last_query = np.arange(length // sizes.query) * sizes.query + sizes.query - 1
    first_key = np.arange(length // sizes.key) * sizes.key
    return first_key[None, :] <= last_query[:, None]


def visits(needed: Bool[Array, "rows outer inner"], possible: Bool[np.ndarray, "outer inner"]) -> Visits:
    """The walk over the needed pairs, of which none is outside the possible ones.

    An outer block that needs nothing is visited once all the same, without NEEDED: its output must be written.
    """
    rows, _, inners = needed.shape
    idle = ~needed.any(axis=2, keepdims=True) & (np.arange(inners) == possible.argmax(axis=1)[:, None])
    visited = (needed | idle).reshape(rows, -1)
    count = visited.sum(axis=1, keepdims=True)
    step = jnp.arange(possible.sum())
    order = jnp.argsort(~visited, axis=1, stable=True)[:, : step.size]
    order = jnp.where(step < count, order, jnp.take_along_axis(order, count - 1, axis=1))
    outer = order // inners
    turn = outer[:, 1:] != outer[:, :-1]
    edge = jnp.ones((rows, 1), bool)
    first = jnp.concatenate([edge, turn], axis=1)
    last = jnp.concatenate([turn, edge], axis=1) | (step == count - 1)
    needs = jnp.take_along_axis(needed.reshape(rows, -1), order, axis=1)
    flags = jnp.where(step < count, FIRST * first + LAST * last + NEEDED * needs, 0)
    walk = (array.astype(jnp.int32) for array in (outer, order % inners, flags))
    return Visits(*walk, steps=count.max().astype(jnp.int32))
