"""The arrays of a step: packed rows, and the comparisons that lie in them."""

from typing import NamedTuple

from jaxtyping import Float, Int

from rmjax.arrays import Array


class PreferenceBatch(NamedTuple):
    """Packed rows, as numpy or jax arrays.

    Token j of a row is seen from index i if and only if ``j <= i < visible_until[j]``.

    Attributes:
      tokens, positions, visible_until: the rows; padding has visible_until 0.
      response_end: index of the token whose hidden state is read as the reward; 0 in unused slots.
      left, right: which two response slots of the row a comparison compares; 0 in unused slots.
      head: which output of the reward head a comparison is made on.
      probability: that left is preferred.
      margin: signed towards left, in units of reward.
      weight: what the comparison counts; 0 in unused slots.
      response_id, comparison_id: indices into the tokenized data's responses and comparisons; -1 in unused slots.
    """

    tokens: Int[Array, "rows length"]
    positions: Int[Array, "rows length"]
    visible_until: Int[Array, "rows length"]
    response_end: Int[Array, "rows responses"]
    left: Int[Array, "rows comparisons"]
    right: Int[Array, "rows comparisons"]
    head: Int[Array, "rows comparisons"]
    probability: Float[Array, "rows comparisons"]
    margin: Float[Array, "rows comparisons"]
    weight: Float[Array, "rows comparisons"]
    response_id: Int[Array, "rows responses"]
    comparison_id: Int[Array, "rows comparisons"]
