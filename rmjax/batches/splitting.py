"""Splitting one group: which of its responses and comparisons a part takes that has to fit."""

from collections import Counter
from collections.abc import Iterable, Sequence, Set
from typing import NamedTuple

import numpy as np

from rmjax.batches.lengths import GroupLengths
from rmjax.batches.row_shape import RowShape


class Part(NamedTuple):
    """Responses of one group, the tokens that they share, and those of their conversations, each counted whole."""

    responses: tuple[int, ...]
    prefix: int
    tokens: int

    @property
    def size(self) -> int:
        return self.tokens - (len(self.responses) - 1) * self.prefix


class Group:
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

    def of(self, responses: Sequence[int]) -> Part:
        """The part of these responses."""
        part = self.grown(None, responses[0])
        for response in responses[1:]:
            part = self.grown(part, response)
        return part

    def grown(self, part: Part | None, response: int) -> Part:
        """The part with one more response."""
        own = response - self._first
        if part is None:
            return Part((response,), 0, self._whole[own])
        shared = self._shared[part.responses[0] - self._first][own]
        prefix = shared if len(part.responses) == 1 else min(part.prefix, shared)
        return Part((*part.responses, response), prefix, part.tokens + self._whole[own])


def next_part(group: Group, remaining: dict[int, tuple[int, int]], shape: RowShape) -> tuple[list[int], list[int]]:
    """The responses and the comparisons of a part of the group that begins with the first comparison that is left.

    Both responses of that comparison must fit the shape. The part grows by the response that brings the most
    comparisons, the longest of those that bring as many, as long as one fits. Where each brings one and no more, as
    where all were compared with the same reference, those are chosen that together leave the least room. So parts are
    full, and what is left for a group's last part is short: it fits beside others.
    """
    part = group.of(next(iter(remaining.values())))
    while True:
        members = set(part.responses)
        inside = [index for index, pair in remaining.items() if members.issuperset(pair)]
        slots = min(shape.comparisons - len(inside), shape.responses - len(members))
        gains = Counter(
            one for pair in remaining.values() if len(outside := set(pair) - members) == 1 for one in outside
        )
        grown = {response: group.grown(part, response) for response in sorted(gains)} if slots > 0 else {}
        fitting = {response: larger for response, larger in grown.items() if larger.size <= shape.length}
        if not fitting:
            inside = inside[: shape.comparisons]
            return sorted({response for index in inside for response in remaining[index]}), inside
        if all(gains[response] == 1 for response in fitting) and not _compared(fitting.keys(), remaining.values()):
            for response in _fullest(part, fitting, shape.length, slots):
                part = group.grown(part, response)
        else:
            part = max(fitting.values(), key=lambda larger: (gains[larger.responses[-1]], larger.size))


def _compared(responses: Set[int], pairs: Iterable[tuple[int, int]]) -> bool:
    """Whether any two of them were compared with each other."""
    return any(responses >= set(pair) for pair in pairs)


def _fullest(part: Part, grown: dict[int, Part], length: int, slots: int) -> list[int]:
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
