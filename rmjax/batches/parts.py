"""Groups as they are laid in rows: whole where they fit, else split into parts that repeat the shared prefix."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from rmjax.batches.lengths import GroupLengths
from rmjax.errors import UserError


class RowTooShortError(UserError):
    """A row can't hold what must lie in one row: the message says what is needed."""


@dataclass(frozen=True, kw_only=True)
class RowShape:
    """The static shape of a row: tokens, and slots for responses and comparisons."""

    length: int
    responses: int
    comparisons: int


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What is laid in rows undivided: one prefix, some of its responses, and the comparisons between them.

    Attributes:
      group: the group of each part.
      size: tokens, with the prefix once.
      response_offsets, responses: the responses of part i are ``responses[response_offsets[i]:response_offsets[i+1]]``,
        counted over all groups, in ascending order.
      comparison_offsets, comparisons: the same for comparisons.
      left, right: for each entry of ``comparisons`` the compared responses, counted inside the part.
    """

    group: Int[np.ndarray, "parts"]
    size: Int[np.ndarray, "parts"]
    response_offsets: Int[np.ndarray, "parts_and_end"]
    responses: Int[np.ndarray, "laid_responses"]
    comparison_offsets: Int[np.ndarray, "parts_and_end"]
    comparisons: Int[np.ndarray, "laid_comparisons"]
    left: Int[np.ndarray, "laid_comparisons"]
    right: Int[np.ndarray, "laid_comparisons"]

    def __len__(self) -> int:
        return len(self.group)


def compared_parts(lengths: GroupLengths, shape: RowShape) -> Parts:
    """Parts for training: each comparison in exactly one, with only the responses that its comparisons need."""
    if shape.responses < 2 or shape.comparisons < 1:
        raise RowTooShortError(f"the row shape is {shape}; a row needs slots for at least 2 responses and 1 comparison")
    group_of = np.repeat(np.arange(len(lengths.prefix)), np.diff(lengths.comparison_offsets))
    need = lengths.prefix[group_of] + lengths.own[lengths.left] + lengths.own[lengths.right]
    if (need > shape.length).any():
        raise RowTooShortError(
            f"{int((need > shape.length).sum())} comparisons don't fit a row of {shape.length} tokens, the first in "
            f"group {int(group_of[(need > shape.length).argmax()])}; right would be batch.row_length={int(need.max())} "
            "or more"
        )
    used = np.zeros(len(lengths.own), bool)
    used[lengths.left] = used[lengths.right] = True

    def split(group: int) -> Iterable[tuple[list[int], list[int]]]:
        first, last = lengths.comparison_offsets[group : group + 2].tolist()
        pairs = {index: (int(lengths.left[index]), int(lengths.right[index])) for index in range(first, last)}
        return _split_compared(int(lengths.prefix[group]), lengths.own, pairs, shape)

    return _assemble(lengths, shape, used, np.arange(len(lengths.left)), split)


def all_parts(lengths: GroupLengths, shape: RowShape) -> Parts:
    """Parts for scoring: every response in exactly one, and no comparisons."""
    if shape.responses < 1:
        raise RowTooShortError(f"the row shape is {shape}; a row needs a slot for at least 1 response")
    whole = lengths.own + np.repeat(lengths.prefix, np.diff(lengths.group_offsets))
    if (whole > shape.length).any():
        raise RowTooShortError(
            f"response {int((whole > shape.length).argmax())} doesn't fit a row of {shape.length} tokens; right would "
            f"be rows of {int(whole.max())} or more"
        )

    def split(group: int) -> Iterable[tuple[list[int], list[int]]]:
        room, part = shape.length - int(lengths.prefix[group]), []
        for response in range(*lengths.group_offsets[group : group + 2].tolist()):
            own = int(lengths.own[response])
            if part and (own > room or len(part) == shape.responses):
                yield part, []
                room, part = shape.length - int(lengths.prefix[group]), []
            part.append(response)
            room -= own
        yield part, []

    return _assemble(lengths, shape, np.ones(len(lengths.own), bool), np.arange(0), split)


def _split_compared(prefix: int, own: np.ndarray, pairs: dict[int, tuple[int, int]], shape: RowShape):
    """Yields (responses, comparisons) of each part of one group.

    A part begins with the first comparison that is left and grows by the response that brings the most comparisons
    for its tokens, as long as one fits.
    """
    remaining = dict(pairs)
    while remaining:
        members = set(next(iter(remaining.values())))
        room = shape.length - prefix - sum(int(own[response]) for response in members)
        while True:
            inside = [index for index, pair in remaining.items() if members.issuperset(pair)]
            if len(inside) >= shape.comparisons or len(members) >= shape.responses:
                break
            gains: Counter[int] = Counter()
            for pair in remaining.values():
                outside = set(pair) - members
                if len(outside) == 1:
                    gains.update(outside)
            fitting = [response for response in gains if own[response] <= room]
            if not fitting:
                break
            best = max(fitting, key=lambda response: (gains[response] / own[response], -response))
            members.add(best)
            room -= int(own[best])
        inside = inside[: shape.comparisons]
        yield sorted({response for index in inside for response in pairs[index]}), inside
        for index in inside:
            del remaining[index]


def _assemble(
    lengths: GroupLengths,
    shape: RowShape,
    used: Bool[np.ndarray, "responses"],
    comparisons: Int[np.ndarray, "used_comparisons"],
    split: Callable[[int], Iterable[tuple[list[int], list[int]]]],
) -> Parts:
    """Whole groups where they fit, ``split(group)`` where they don't."""
    groups = len(lengths.prefix)
    response_group = np.repeat(np.arange(groups), np.diff(lengths.group_offsets))
    comparison_group = np.repeat(np.arange(groups), np.diff(lengths.comparison_offsets))[: len(comparisons)]
    size = lengths.prefix + np.bincount(response_group[used], lengths.own[used], groups).astype(np.int64)
    too_large = size > shape.length
    too_large |= np.bincount(response_group[used], minlength=groups) > shape.responses
    too_large |= np.bincount(comparison_group, minlength=groups) > shape.comparisons

    whole_responses = np.flatnonzero(used & ~too_large[response_group])
    whole_comparisons = comparisons[~too_large[comparison_group]]
    response_entries = [np.stack([response_group[whole_responses], whole_responses * 0, whole_responses])]
    comparison_entries = [np.stack([comparison_group[whole_comparisons], whole_comparisons * 0, whole_comparisons])]
    for group in np.flatnonzero(too_large).tolist():
        for number, (part_responses, part_comparisons) in enumerate(split(group)):
            response_entries.append(_entries(group, number, part_responses))
            comparison_entries.append(_entries(group, number, part_comparisons))
    return _parts(lengths, np.concatenate(response_entries, 1), np.concatenate(comparison_entries, 1))


def _entries(group: int, number: int, members: list[int]) -> np.ndarray:
    return np.array([[group] * len(members), [number] * len(members), members], np.int64)


def _parts(
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
    everyone = len(lengths.own)
    place = part_of * everyone + responses  # ascending, so that a response's place in its part can be looked up

    def inside(compared: np.ndarray) -> np.ndarray:
        return np.searchsorted(place, made_part * everyone + compared[comparisons]) - offsets[made_part]

    group = part_keys // parts_of_a_group
    return Parts(
        group=group,
        size=lengths.prefix[group] + np.bincount(part_of, lengths.own[responses], len(group)).astype(np.int64),
        response_offsets=offsets,
        responses=responses,
        comparison_offsets=np.searchsorted(made_part, np.arange(len(group) + 1)),
        comparisons=comparisons,
        left=inside(lengths.left),
        right=inside(lengths.right),
    )
