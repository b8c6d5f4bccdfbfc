"""Parts into rows, as tightly as a quick look allows: a window of them at once, or many in windows."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Int

from rmjax.batches.parts import Parts
from rmjax.batches.row_shape import RowShape

_WINDOW = 2048  # parts packed together: enough for full rows, few enough that the order stays shuffled at large
_TRIES = 8  # rows looked at for a part, where slots and not tokens are what is scarce


def in_windows(parts: Parts, order: Int[np.ndarray, "parts"], shape: RowShape) -> Iterator[list[list[int]]]:
    """Yields the rows of each window; its emptiest row goes into the next window, so that only the last has rests."""
    windows = np.array_split(order, max(1, round(len(order) / _WINDOW)))
    carried: list[int] = []
    for number, window in enumerate(windows):
        rows = best_fit(parts, np.concatenate([np.array(carried, np.int64), window]), shape)
        carried = []
        if number + 1 < len(windows) and len(rows) > 1:
            emptiest = int(np.argmin([parts.size[row].sum() for row in rows]))
            carried = rows.pop(emptiest)
        yield rows


def best_fit(parts: Parts, window: Int[np.ndarray, "window"], shape: RowShape) -> list[list[int]]:
    """Packs the parts of a window, the largest first, each into the fullest row that has room for it.

    A part is as large as its share of a row's tokens or slots, whichever is scarcer; a row without slots is closed.
    Rows that are open lie in buckets by their free tokens; the bits of ``free`` say which buckets hold any.
    """
    needs = parts.needs[:, window]
    scarcest = (needs / np.maximum([[shape.length], [shape.responses], [shape.comparisons]], 1)).max(0)
    least_responses, least_comparisons = needs[1:].min(1).tolist() if len(window) else (0, 0)
    rows: list[list[int]] = []
    slots: list[tuple[int, int]] = []
    buckets: dict[int, list[int]] = {}
    free = 0
    for place in np.argsort(-scarcest, kind="stable").tolist():
        size, of_responses, of_comparisons = needs[:, place].tolist()
        room, row = shape.length, len(rows)
        for candidate in _candidates(free, size):
            open_row = buckets[candidate][-1]
            if slots[open_row][0] >= of_responses and slots[open_row][1] >= of_comparisons:
                room, row = candidate, open_row
                buckets[room].pop()
                if not buckets[room]:
                    free ^= 1 << room
                break
        else:
            rows.append([])
            slots.append((shape.responses, shape.comparisons))
        rows[row].append(int(window[place]))
        slots[row] = (slots[row][0] - of_responses, slots[row][1] - of_comparisons)
        room -= size
        if slots[row][0] >= least_responses and slots[row][1] >= least_comparisons:
            buckets.setdefault(room, []).append(row)
            free |= 1 << room
    return rows


def _candidates(free: int, size: int) -> Iterator[int]:
    """The free tokens of open rows that have room: the fullest rows first, and the emptiest last."""
    candidates = free >> size
    for _ in range(_TRIES):
        if not candidates:
            return
        yield size + (candidates & -candidates).bit_length() - 1
        candidates &= candidates - 1
    if candidates:
        yield size + candidates.bit_length() - 1
