"""Groups as they are laid in rows: whole where they fit, else split into parts, each with what its responses share."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from rmjax.batches.lengths import GroupLengths
from rmjax.batches.row_shape import RowShape, RowTooShortError
from rmjax.batches.splitting import Group, next_part


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What is laid in rows undivided: some responses of a group, and the comparisons between them.

    Attributes:
      group: the group of each part.
      prefix: tokens that the responses of a part share, laid once.
      size: tokens, with the prefix once.
      response_offsets, responses: the responses of part i are ``responses[response_offsets[i]:response_offsets[i+1]]``,
        counted over all groups, in ascending order.
      comparison_offsets, comparisons: the same for comparisons.
      left, right: for each entry of ``comparisons`` the compared responses, counted inside the part.
    """

    group: Int[np.ndarray, "parts"]
    prefix: Int[np.ndarray, "parts"]
    size: Int[np.ndarray, "parts"]
    response_offsets: Int[np.ndarray, "parts_and_end"]
    responses: Int[np.ndarray, "laid_responses"]
    comparison_offsets: Int[np.ndarray, "parts_and_end"]
    comparisons: Int[np.ndarray, "laid_comparisons"]
    left: Int[np.ndarray, "laid_comparisons"]
    right: Int[np.ndarray, "laid_comparisons"]

    def __len__(self) -> int:
        return len(self.group)

    @property
    def needs(self) -> Int[np.ndarray, "3 parts"]:
        """What each part takes of a row: tokens, responses and comparisons."""
        return np.stack([self.size, np.diff(self.response_offsets), np.diff(self.comparison_offsets)])


def compared_parts(lengths: GroupLengths, shape: RowShape) -> Parts:
    """Parts for training: each comparison in exactly one, with only the responses that its comparisons need."""
    if shape.responses < 2 or shape.comparisons < 1:
        raise RowTooShortError(f"the row shape is {shape}; a row needs slots for at least 2 responses and 1 comparison")
    need = lengths.comparison_tokens
    if (need > shape.length).any():
        first = int((need > shape.length).argmax())
        preference, comparison = lengths.comparison_origin[first].tolist()
        raise RowTooShortError(
            f"{int((need > shape.length).sum())} comparisons don't fit a row of {shape.length} tokens; the first, "
            f"comparison {comparison} of preference {preference} (both counted from 0), needs {need[first]}; right "
            f"would be batch.row_length={int(need.max())} or more"
        )
    used = np.zeros(len(lengths.whole), bool)
    used[lengths.left] = used[lengths.right] = True

    def split(group: int) -> Iterator[tuple[list[int], list[int]]]:
        first, last = lengths.comparison_offsets[group : group + 2].tolist()
        remaining = {index: (int(lengths.left[index]), int(lengths.right[index])) for index in range(first, last)}
        splitting = Group(lengths, group)
        while remaining:
            part = next_part(splitting, remaining, shape)
            yield part
            for index in part[1]:
                del remaining[index]

    return _assemble(lengths, shape, np.flatnonzero(used), np.arange(len(lengths.left)), split)


def all_parts(lengths: GroupLengths, shape: RowShape) -> Parts:
    """Parts for scoring: every response in exactly one, and no comparisons."""
    if shape.responses < 1:
        raise RowTooShortError(f"the row shape is {shape}; a row needs a slot for at least 1 response")
    if (lengths.whole > shape.length).any():
        first = int((lengths.whole > shape.length).argmax())
        record, response = lengths.response_origin[first].tolist()
        raise RowTooShortError(
            f"response {response} of record {record} (both counted from 0), of {lengths.whole[first]} tokens, doesn't "
            f"fit a row of {shape.length} tokens; right would be rows of {int(lengths.whole.max())} or more"
        )

    def split(group: int) -> Iterator[tuple[list[int], list[int]]]:
        splitting, part = Group(lengths, group), None
        for response in range(*lengths.group_offsets[group : group + 2].tolist()):
            grown = splitting.grown(part, response)
            if part is not None and (grown.size > shape.length or len(part.responses) == shape.responses):
                yield list(part.responses), []
                grown = splitting.grown(None, response)
            part = grown
        assert part is not None, "a group holds responses"
        yield list(part.responses), []

    return _assemble(lengths, shape, np.arange(len(lengths.whole)), np.arange(0), split)


def _assemble(
    lengths: GroupLengths,
    shape: RowShape,
    responses: Int[np.ndarray, "used_responses"],
    comparisons: Int[np.ndarray, "used_comparisons"],
    split: Callable[[int], Iterator[tuple[list[int], list[int]]]],
) -> Parts:
    """Whole groups where they fit, ``split(group)`` where they don't."""
    response_group = np.repeat(np.arange(lengths.groups), np.diff(lengths.group_offsets))[responses]
    comparison_group = np.repeat(np.arange(lengths.groups), np.diff(lengths.comparison_offsets))[comparisons]
    laid = np.stack([response_group, np.zeros_like(responses), responses])
    made = np.stack([comparison_group, np.zeros_like(comparisons), comparisons])
    whole = from_entries(lengths, laid, made)
    too_large = whole.size > shape.length
    too_large |= np.diff(whole.response_offsets) > shape.responses
    too_large |= np.diff(whole.comparison_offsets) > shape.comparisons
    if not too_large.any():
        return whole
    split_groups = whole.group[too_large]
    response_entries = [laid[:, ~np.isin(response_group, split_groups)]]
    comparison_entries = [made[:, ~np.isin(comparison_group, split_groups)]]
    for group in split_groups.tolist():
        for number, (part_responses, part_comparisons) in enumerate(split(group)):
            response_entries.append(_entries(group, number, part_responses))
            comparison_entries.append(_entries(group, number, part_comparisons))
    return from_entries(lengths, np.concatenate(response_entries, 1), np.concatenate(comparison_entries, 1))


def _entries(group: int, number: int, members: list[int]) -> np.ndarray:
    return np.array([[group] * len(members), [number] * len(members), members], np.int64)


def from_entries(
    lengths: GroupLengths, laid: Int[np.ndarray, "3 responses"], made: Int[np.ndarray, "3 comparisons"]
) -> Parts:
    """Parts from entries (group, number of the part in its group, response or comparison)."""
    parts_of_a_group = int(laid[1].max(initial=0)) + 1
    keys, responses = laid[0] * parts_of_a_group + laid[1], laid[2]
    order = np.lexsort((responses, keys))
    keys, responses = keys[order], responses[order]
    part_keys, first = np.unique(keys, return_index=True)
    offsets = np.append(first, len(keys))
    part_of = np.searchsorted(part_keys, keys)

    made_keys, comparisons = made[0] * parts_of_a_group + made[1], made[2]
    order = np.lexsort((comparisons, made_keys))
    made_part, comparisons = np.searchsorted(part_keys, made_keys[order]), comparisons[order]
    everyone = len(lengths.whole)
    place = part_of * everyone + responses  # ascending, so that a response's place in its part can be looked up

    def inside(compared: np.ndarray) -> np.ndarray:
        return np.searchsorted(place, made_part * everyone + compared[comparisons]) - offsets[made_part]

    sorted_places = lengths.place[responses]
    prefix = lengths.shared(*(extreme.reduceat(sorted_places, first) for extreme in (np.minimum, np.maximum)))
    tokens = np.bincount(part_of, lengths.whole[responses], len(first)).astype(np.int64)
    return Parts(
        group=part_keys // parts_of_a_group,
        prefix=prefix,
        size=tokens - (np.diff(offsets) - 1) * prefix,
        response_offsets=offsets,
        responses=responses,
        comparison_offsets=np.searchsorted(made_part, np.arange(len(first) + 1)),
        comparisons=comparisons,
        left=inside(lengths.left),
        right=inside(lengths.right),
    )
