"""What a packing plan is made from: lengths and who is compared with whom, never the tokens themselves."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from rmjax.batches.tokenized import TokenizedPreferences, shared_prefix_lengths


@dataclass(frozen=True, kw_only=True)
class GroupLengths:
    """The lengths of groups that share a prefix.

    Attributes:
      prefix: tokens that a group's responses share, laid once for each group in a row.
      own: tokens of each response after its group's prefix, at least 1.
      group_offsets, comparison_offsets, left, right: as in TokenizedPreferences.
    """

    prefix: Int[np.ndarray, "groups"]
    own: Int[np.ndarray, "responses"]
    group_offsets: Int[np.ndarray, "groups_and_end"]
    comparison_offsets: Int[np.ndarray, "groups_and_end"]
    left: Int[np.ndarray, "comparisons"]
    right: Int[np.ndarray, "comparisons"]


def measure(tokenized: TokenizedPreferences) -> GroupLengths:
    """The lengths of tokenized preferences, with each group's shared prefix found in tokens."""
    prefix = shared_prefix_lengths(tokenized)
    whole = np.diff(tokenized.response_offsets)
    return GroupLengths(
        prefix=prefix,
        own=whole - np.repeat(prefix, np.diff(tokenized.group_offsets)),
        group_offsets=tokenized.group_offsets,
        comparison_offsets=tokenized.comparison_offsets,
        left=tokenized.left,
        right=tokenized.right,
    )
