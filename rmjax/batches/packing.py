"""Packing in numpy: which groups lie in which row, and the arrays of those rows.

A row holds several groups one after the other, each its shared prefix once and then what is left of each response.
Token j of a row is seen from index i if and only if ``j <= i < visible_until[j]``: a prefix token is visible until its
group ends, a response token until its response ends, padding never.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from rmjax.batches.batch import PreferenceBatch
from rmjax.batches.best_fit import in_windows
from rmjax.batches.carving import carve
from rmjax.batches.lengths import GroupLengths
from rmjax.batches.parts import Parts, all_parts, compared_parts
from rmjax.batches.row_shape import RowShape
from rmjax.batches.tokenized import TokenizedPreferences


@dataclass(frozen=True, kw_only=True)
class RowPlan:
    """Which parts lie in which row: row i holds the parts ``order[row_offsets[i]:row_offsets[i + 1]]``."""

    shape: RowShape
    lengths: GroupLengths
    parts: Parts
    order: Int[np.ndarray, "parts"]
    row_offsets: Int[np.ndarray, "rows_and_end"]

    @property
    def rows(self) -> int:
        return len(self.row_offsets) - 1

    @property
    def tokens(self) -> int:
        """How many token slots are used."""
        return int(self.parts.size.sum())

    @property
    def fill(self) -> float:
        """The share of token slots that are used; 1 where there are no rows."""
        return self.tokens / (self.rows * self.shape.length) if self.rows else 1.0

    @property
    def split_groups(self) -> int:
        """How many groups lie in more than one part."""
        return int((np.unique(self.parts.group, return_counts=True)[1] > 1).sum())


def parts_to_train(lengths: GroupLengths, shape: RowShape) -> Parts:
    """What every epoch lays: the groups, each whole where it fits a row.

    A group too large for a row is split into parts that each begin with what their responses share; so are some that
    would fit, where that saves rows (``rmjax.batches.carving``). A comparison that fits no row is an error.
    """
    return carve(lengths, shape, compared_parts(lengths, shape))


def plan_epoch(lengths: GroupLengths, shape: RowShape, *, seed: int, epoch: int, parts: Parts | None = None) -> RowPlan:
    """A shuffled epoch, a pure function of its arguments.

    Every comparison lies in exactly one row. The parts are shuffled; windows of the shuffled order are packed by best
    fit, the longest first, and the rows of a window are shuffled again. ``parts`` are those of ``parts_to_train``,
    which plans of many epochs need once.
    """
    parts = parts_to_train(lengths, shape) if parts is None else parts
    random = np.random.default_rng([seed % (1 << 64), epoch])
    rows = []
    for window in in_windows(parts, random.permutation(len(parts)), shape):
        rows.extend(window[index] for index in random.permutation(len(window)))
    return _plan(lengths, parts, rows, shape)


def plan_in_order(lengths: GroupLengths, shape: RowShape) -> RowPlan:
    """Rows for evaluation and scoring: every response is laid and read exactly once, and there are no comparisons.

    The order of the data is kept at large, for ``response_id`` says where a reward belongs. Groups that don't fit a
    row are split. Batches have no comparison slots, whatever ``shape.comparisons`` is.
    """
    shape = RowShape(length=shape.length, responses=shape.responses, comparisons=0)
    parts = all_parts(lengths, shape)
    rows = []
    for window in in_windows(parts, np.arange(len(parts)), shape):
        rows.extend(sorted(window, key=min))
    return _plan(lengths, parts, rows, shape)


def _plan(lengths: GroupLengths, parts: Parts, rows: list[list[int]], shape: RowShape) -> RowPlan:
    return RowPlan(
        shape=shape,
        lengths=lengths,
        parts=parts,
        order=np.array([part for row in rows for part in row], np.int64),
        row_offsets=np.cumsum([0, *map(len, rows)], dtype=np.int64),
    )


def pack(tokenized: TokenizedPreferences, plan: RowPlan, rows: slice | Int[np.ndarray, "rows"]) -> PreferenceBatch:
    """The arrays of some rows of a plan; -1 among the row numbers gives an empty row."""
    numbers = np.arange(plan.rows)[rows] if isinstance(rows, slice) else rows
    shape, parts = plan.shape, plan.parts
    padded_offsets = np.append(plan.row_offsets, plan.row_offsets[-1])  # row -1 begins and ends at the last offset
    part_counts = padded_offsets[numbers + 1] - padded_offsets[numbers]
    part_counts = np.where(numbers < 0, 0, part_counts)
    part = plan.order[_ranges(padded_offsets[numbers], part_counts)]
    row = np.repeat(np.arange(len(numbers)), part_counts)
    prefix = parts.prefix[part]
    part_begin = _running(parts.size[part], part_counts)  # index in the row

    counts = (parts.response_offsets[part + 1] - parts.response_offsets[part]).astype(np.int64)
    response = parts.responses[_ranges(parts.response_offsets[part], counts)]
    response_row, own = np.repeat(row, counts), plan.lengths.whole[response] - np.repeat(prefix, counts)
    response_begin = np.repeat(part_begin + prefix, counts) + _running(own, counts)
    first_slot = _running(counts, part_counts)  # of each part
    slot = np.repeat(first_slot, counts) + _running(np.ones_like(response), counts)

    source = tokenized.response_offsets[response]
    first = tokenized.response_offsets[parts.responses[parts.response_offsets[part]]]
    filled = _laid(
        tokenized.tokens,
        (len(numbers), shape.length),
        row=np.concatenate([row, response_row]),
        begin=np.concatenate([part_begin, response_begin]),
        count=np.concatenate([prefix, own]),
        source=np.concatenate([first, source + np.repeat(prefix, counts)]),
        position=np.concatenate([np.zeros_like(prefix), np.repeat(prefix, counts)]),
        until=np.concatenate([part_begin + parts.size[part], response_begin + own]),
    )
    place, response_cells = (response_row, slot), (len(numbers), shape.responses)
    return PreferenceBatch(
        *filled,
        response_end=_scattered(response_cells, place, response_begin + own - 1, 0),
        response_id=_scattered(response_cells, place, response, -1),
        **_comparisons(tokenized, plan, part, part_counts, first_slot, row),
    )


def _comparisons(tokenized, plan: RowPlan, part, part_counts, first_slot, row) -> dict[str, np.ndarray]:
    """The fields of a batch that hold comparisons."""
    parts = plan.parts
    counts = parts.comparison_offsets[part + 1] - parts.comparison_offsets[part]
    entry = _ranges(parts.comparison_offsets[part], counts)
    comparison = parts.comparisons[entry]
    slot = np.repeat(_running(counts, part_counts), counts) + _running(np.ones_like(entry), counts)
    place, cells = (np.repeat(row, counts), slot), (len(part_counts), plan.shape.comparisons)
    base = np.repeat(first_slot, counts)
    return {
        "left": _scattered(cells, place, base + parts.left[entry], 0),
        "right": _scattered(cells, place, base + parts.right[entry], 0),
        "head": _scattered(cells, place, tokenized.head[comparison], 0),
        "probability": _scattered(cells, place, tokenized.probability[comparison], 0, np.float32),
        "margin": _scattered(cells, place, tokenized.margin[comparison], 0, np.float32),
        "weight": _scattered(cells, place, tokenized.weight[comparison], 0, np.float32),
        "comparison_id": _scattered(cells, place, comparison, -1),
    }


def _laid(tokens, shape: tuple[int, int], *, row, begin, count, source, position, until) -> tuple[np.ndarray, ...]:
    """Tokens, positions and visible_until of rows with ``count`` tokens from ``source`` on laid at ``begin``."""
    target = _ranges(row * shape[1] + begin, count)
    result = tuple(np.zeros(shape, np.int32) for _ in range(3))
    result[0].reshape(-1)[target] = tokens[_ranges(source, count)]
    result[1].reshape(-1)[target] = _ranges(position, count)
    result[2].reshape(-1)[target] = np.repeat(until, count)
    return result


def _scattered(shape: tuple[int, int], place, values, unused: int, dtype: type = np.int32) -> np.ndarray:
    result = np.full(shape, unused, dtype)
    result[place] = values
    return result


def _ranges(begin: Int[np.ndarray, "ranges"], count: Int[np.ndarray, "ranges"]) -> Int[np.ndarray, "total"]:
    """begin[0], begin[0] + 1, … (count[0] of them), begin[1], …"""
    ends = np.cumsum(count)
    return np.repeat(begin - (ends - count), count) + np.arange(ends[-1] if len(ends) else 0)


def _running(values: Int[np.ndarray, "entries"], counts: Int[np.ndarray, "owners"]) -> Int[np.ndarray, "entries"]:
    """For each entry the sum of the entries before it that have the same owner; owners have ``counts`` entries each."""
    before = np.append(0, np.cumsum(values))
    return before[:-1] - np.repeat(before[np.cumsum(counts) - counts], counts)
