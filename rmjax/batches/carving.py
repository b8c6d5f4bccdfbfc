"""Parts that fill what others leave free, where most parts are too large to lie two to a row."""

import heapq
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from rmjax.batches.best_fit import best_fit, in_windows
from rmjax.batches.lengths import GroupLengths
from rmjax.batches.parts import Parts, from_entries
from rmjax.batches.row_shape import RowShape
from rmjax.batches.splitting import Group, next_part

_FAILURES = 64  # parts that can't be carved, one after the other, until no more are tried


class _Piece(NamedTuple):
    responses: list[int]
    comparisons: list[int]


class _Room(NamedTuple):
    """What a row has free; the largest comes first in a heap."""

    minus_tokens: int
    responses: int
    comparisons: int
    row: int

    @property
    def shape(self) -> RowShape:
        return RowShape(length=-self.minus_tokens, responses=self.responses, comparisons=self.comparisons)

    def after(self, piece: _Piece, size: int) -> "_Room":
        """With a piece of that many tokens."""
        responses, comparisons = self.responses - len(piece.responses), self.comparisons - len(piece.comparisons)
        return _Room(self.minus_tokens + size, responses, comparisons, self.row)


class _Rooms:
    """Of rows; the largest is at hand."""

    def __init__(self, rooms: Iterable[_Room]):
        self._of_row = {room.row: room for room in rooms}
        self._heap = list(self._of_row.values())  # with rooms that have been taken since
        heapq.heapify(self._heap)

    def take(self, row: int) -> _Room:
        return self._of_row.pop(row)

    def take_largest(self) -> _Room | None:
        while self._heap:
            room = heapq.heappop(self._heap)
            if self._of_row.get(room.row) == room:
                return self.take(room.row)
        return None

    def put(self, room: _Room) -> None:
        self._of_row[room.row] = room
        heapq.heappush(self._heap, room)


def carve(lengths: GroupLengths, shape: RowShape, parts: Parts) -> Parts:
    """The same comparisons in parts that need fewer rows, where there are such.

    Parts of more than half of a row lie alone, and where they are so many that they need more rows than their tokens
    would, as with many responses to each prompt, much stays free. Then the parts of the emptiest rows are carved: into
    pieces that fit what other rows have free, each again with what its responses share. That costs tokens where
    nothing else would have been, and saves the row.
    """
    if (parts.size > shape.length // 2).sum() * shape.length <= parts.size.sum():
        return parts
    carved, rows = parts, best_fit(parts, np.arange(len(parts)), shape)
    while True:  # pieces and parts lie otherwise once they are packed again, which may leave more to be carved
        again = _carved_once(lengths, shape, carved, rows)
        packed = best_fit(again, np.arange(len(again)), shape)
        if len(packed) >= len(rows):
            break
        carved, rows = again, packed
    return carved if _rows_of_an_epoch(carved, shape) < _rows_of_an_epoch(parts, shape) else parts


def _rows_of_an_epoch(parts: Parts, shape: RowShape) -> int:
    """As they are packed in training, where a piece may not meet the row it was carved for."""
    order = np.random.default_rng(0).permutation(len(parts))
    return sum(map(len, in_windows(parts, order, shape)))


def _carved_once(lengths: GroupLengths, shape: RowShape, parts: Parts, rows: list[list[int]]) -> Parts:
    """The parts that ``rows`` lists, with pieces in place of those that lay alone, the emptiest rows first."""
    needs = parts.needs
    used = np.array([needs[:, row].sum(axis=1) for row in rows])
    rooms = _Rooms(
        _Room(tokens - shape.length, shape.responses - responses, shape.comparisons - comparisons, row)
        for row, (tokens, responses, comparisons) in enumerate(used.tolist())
    )
    carved: dict[int, list[_Piece]] = {}
    filled, failures = set(), 0
    for row in np.argsort(used[:, 0], kind="stable").tolist():
        if failures == _FAILURES:
            break
        if len(rows[row]) > 1 or row in filled:
            continue
        part, own = rows[row][0], rooms.take(row)
        found = _pieces(lengths, parts, part, rooms)
        if found is None:
            rooms.put(own)
            failures += 1
        else:
            carved[part] = [piece for _, piece in found]
            filled.update(where for where, _ in found)
            failures = 0
    return _replaced(lengths, parts, carved)


def _pieces(lengths: GroupLengths, parts: Parts, part: int, rooms: _Rooms) -> list[tuple[int, _Piece]] | None:
    """Pieces of a part with the rows that they go to, whose rooms get smaller; None where the rooms don't suffice.

    The largest room takes the longest comparison that is left and what else fits beside it.
    """
    group = Group(lengths, int(parts.group[part]))
    inside = parts.comparisons[parts.comparison_offsets[part] : parts.comparison_offsets[part + 1]].tolist()
    pairs = {index: (int(lengths.left[index]), int(lengths.right[index])) for index in inside}
    sizes = {index: group.of(pair).size for index, pair in pairs.items()}
    remaining = {index: pairs[index] for index in sorted(inside, key=lambda index: -sizes[index])}
    found: list[tuple[_Room, _Piece]] = []
    while remaining and (room := rooms.take_largest()) is not None:
        longest = sizes[next(iter(remaining))]
        if longest > room.shape.length or room.responses < 2 or room.comparisons < 1:
            rooms.put(room)
            break
        piece = _Piece(*next_part(group, remaining, room.shape))
        found.append((room, piece))
        for index in piece.comparisons:
            del remaining[index]
    for room, piece in found:
        rooms.put(room if remaining else room.after(piece, group.of(piece.responses).size))
    return None if remaining else [(room.row, piece) for room, piece in found]


def _replaced(lengths: GroupLengths, parts: Parts, carved: dict[int, list[_Piece]]) -> Parts:
    """The parts, with pieces in place of those that were carved."""
    kept = ~np.isin(np.arange(len(parts)), list(carved))
    pieces = [(part, piece) for part, made in carved.items() for piece in made]

    def entries(
        offsets: Int[np.ndarray, "parts_and_end"],
        members: Int[np.ndarray, "members"],
        of_piece: Callable[[_Piece], list[int]],
    ) -> Int[np.ndarray, "3 entries"]:
        """As ``from_entries`` takes them; the pieces are numbered after the parts."""
        part = np.repeat(np.arange(len(parts)), np.diff(offsets))
        old = np.stack([parts.group[part], part, members])[:, kept[part]]
        new = [
            [parts.group[part], number, member]
            for number, (part, piece) in enumerate(pieces, len(parts))
            for member in of_piece(piece)
        ]
        return np.concatenate([old, np.array(new, np.int64).reshape(-1, 3).T], axis=1)

    return from_entries(
        lengths,
        entries(parts.response_offsets, parts.responses, lambda piece: piece.responses),
        entries(parts.comparison_offsets, parts.comparisons, lambda piece: piece.comparisons),
    )
