"""Groups as they are laid in rows: whole where they fit, else split into parts, each with what its responses share."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Set
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

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


def compared_parts(lengths: GroupLengths, shape: RowShape) -> Parts:
    """Parts for training: each comparison in exactly one, with only the responses that its comparisons need."""
    if shape.responses < 2 or shape.comparisons < 1:
        raise RowTooShortError(f"the row shape is {shape}; a row needs slots for at least 2 responses and 1 comparison")
    places = np.sort(lengths.place[np.stack([lengths.left, lengths.right])], axis=0)
    need = lengths.whole[lengths.left] + lengths.whole[lengths.right] - lengths.shared(*places)
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
        pairs = {index: (int(lengths.left[index]), int(lengths.right[index])) for index in range(first, last)}
        return _split_compared(_Group(lengths, group), pairs, shape)

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
        splitting, part = _Group(lengths, group), None
        for response in range(*lengths.group_offsets[group : group + 2].tolist()):
            grown = splitting.grown(part, response)
            if part is not None and (grown.size > shape.length or len(part.responses) == shape.responses):
                yield list(part.responses), []
                grown = splitting.grown(None, response)
            part = grown
        assert part is not None, "a group holds responses"
        yield list(part.responses), []

    return _assemble(lengths, shape, np.arange(len(lengths.whole)), np.arange(0), split)


class _Part(NamedTuple):
    """Responses of one group, the tokens that they share, and those of their conversations, each counted whole."""

    responses: tuple[int, ...]
    prefix: int
    tokens: int

    @property
    def size(self) -> int:
        return self.tokens - (len(self.responses) - 1) * self.prefix


class _Group:
    """A group that is being split: what each two of its responses share."""

    def __init__(self, lengths: GroupLengths, group: int):
        self._first, end = lengths.group_offsets[group : group + 2].tolist()
        count = end - self._first
        self._whole = lengths.whole[self._first : end].tolist()
        by_place = np.zeros((count, count), np.int64)
        for place in range(count - 1):
            after = np.minimum.accumulate(lengths.common[self._first + place + 1 : end])
            by_place[place, place + 1 :] = by_place[place + 1 :, place] = after
        places = lengths.place[self._first : end] - self._first
        self._shared = by_place[np.ix_(places, places)].tolist()

    def grown(self, part: _Part | None, response: int) -> _Part:
        """The part with one more response."""
        own = response - self._first
        if part is None:
            return _Part((response,), 0, self._whole[own])
        shared = self._shared[part.responses[0] - self._first][own]
        prefix = shared if len(part.responses) == 1 else min(part.prefix, shared)
        return _Part((*part.responses, response), prefix, part.tokens + self._whole[own])


def _split_compared(
    group: _Group, pairs: dict[int, tuple[int, int]], shape: RowShape
) -> Iterator[tuple[list[int], list[int]]]:
    """Yields (responses, comparisons) of each part of one group.

    A part begins with the first comparison that is left and grows by the response that brings the most comparisons,
    the longest of those that bring as many, as long as one fits. Where each brings one and no more, as where all were
    compared with the same reference, those are chosen that together leave the least room. So parts are full, and what
    is left for a group's last part is short: it fits beside others.
    """
    remaining = dict(pairs)
    while remaining:
        left, right = next(iter(remaining.values()))
        part = group.grown(group.grown(None, left), right)
        while True:
            members = set(part.responses)
            inside = [index for index, pair in remaining.items() if members.issuperset(pair)]
            slots = min(shape.comparisons - len(inside), shape.responses - len(members))
            if slots <= 0:
                break
            gains = Counter(
                one for pair in remaining.values() if len(outside := set(pair) - members) == 1 for one in outside
            )
            fitting = {
                response: grown
                for response in sorted(gains)
                if (grown := group.grown(part, response)).size <= shape.length
            }
            if not fitting:
                break
            if all(gains[response] == 1 for response in fitting) and not _compared(fitting.keys(), remaining.values()):
                for response in _fullest(part, fitting, shape.length, slots):
                    part = group.grown(part, response)
            else:
                part = max(fitting.values(), key=lambda grown: (gains[grown.responses[-1]], grown.size))
        inside = inside[: shape.comparisons]
        yield sorted({response for index in inside for response in pairs[index]}), inside
        for index in inside:
            del remaining[index]


def _compared(responses: Set[int], pairs: Iterable[tuple[int, int]]) -> bool:
    """Whether any two of them were compared with each other."""
    return any(responses >= set(pair) for pair in pairs)


def _fullest(part: _Part, grown: dict[int, _Part], length: int, slots: int) -> list[int]:
    """Which responses, ``slots`` at most, make the part the largest that fits, of those it can be ``grown`` by.

    Where some of them share less with the part than the others do, so that what each adds depends on the rest, it is
    the longest alone.
    """
    prefix = min(one.prefix for one in grown.values())
    if prefix < max(one.prefix for one in grown.values()):
        return [max(grown, key=lambda response: grown[response].size)]
    adds = {response: one.tokens - part.tokens - prefix for response, one in grown.items()}
    room = length - part.tokens + (len(part.responses) - 1) * prefix
    fewest = np.full(room + 1, slots + 1)  # responses that add up to each number of tokens
    fewest[0] = 0
    taken = np.zeros((len(adds), room + 1), bool)
    for number, tokens in enumerate(adds.values()):
        taken[number, tokens:] = fewest[: room + 1 - tokens] + 1 < fewest[tokens:]
        fewest[tokens:] = np.minimum(fewest[: room + 1 - tokens] + 1, fewest[tokens:])
    at, chosen = int(np.flatnonzero(fewest <= slots)[-1]), []
    for number, (response, tokens) in reversed(list(enumerate(adds.items()))):
        if taken[number, at]:
            chosen.append(response)
            at -= tokens
    return chosen


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
    whole = _parts(lengths, laid, made)
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
