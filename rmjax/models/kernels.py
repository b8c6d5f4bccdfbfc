"""What the attention kernels for TPU and those for GPU have in common: which blocks meet, and products of them."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float, Int

from rmjax.arrays import Array

ROWS_BY_ROWS = ((1,), (1,))
ROWS_BY_COLUMNS = ((1,), (0,))
FAR = 2**30  # beyond every position


@dataclass(frozen=True, kw_only=True)
class BlockSizes:
    """How many queries (of each head of a group) meet how many keys at a time."""

    query: int
    key: int


def needed_blocks(
    visible_until: Int[Array, "rows length"],
    positions: Int[Array, "rows length"],
    window: int | None,
    sizes: BlockSizes,
) -> Bool[Array, "rows query_blocks key_blocks"]:
    """Whether some query of the one block may see some key of the other; never False where one does.

    Exact without a window. With one, each key is compared with the earliest position among the block's queries that see
    anything. This takes `query_blocks * length` comparisons for each row, against `length**2` scores for each head.
    """
    rows, length = visible_until.shape
    index = jnp.arange(length)
    first_query = jnp.arange(0, length, sizes.query)[:, None]
    needs = (visible_until[:, None, :] > jnp.maximum(first_query, index)) & (index < first_query + sizes.query)
    if window is not None:
        sees = jax.lax.cummax(jnp.asarray(visible_until), axis=1) > index
        earliest = jnp.where(sees, positions, FAR).reshape(rows, -1, sizes.query).min(axis=2)
        needs &= earliest[:, :, None] - positions[:, None, :] < window
    return jnp.any(needs.reshape(rows, length // sizes.query, length // sizes.key, sizes.key), axis=3)


def product(
    left: Float[jax.Array, "left_rows left_columns"],
    right: Float[jax.Array, "right_rows right_columns"],
    contract: tuple[tuple[int], tuple[int]],
) -> Float[jax.Array, "left_rows across"]:
    """Sums in float32. The precision that jax is set to counts for float32 alone: with bfloat16, where the products are
    exact anyway, Mosaic refuses a higher one."""
    precision = None if left.dtype == jnp.float32 else jax.lax.Precision.DEFAULT
    return jax.lax.dot_general(left, right, (contract, ((), ())), precision, preferred_element_type=jnp.float32)
