"""Padded batches: how many tokens they compute, and a choice of them that stands for an epoch.

Needs numpy alone, because the peers' environment has neither rmjax nor jaxtyping.
"""

import numpy as np


def padded_tokens(sequences: np.ndarray, pairs_per_batch: int) -> np.ndarray:
    """What a trainer computes that pads: for each batch of pairs in order, both sides padded to the longest of all."""
    starts = np.arange(0, len(sequences), pairs_per_batch)
    longest = np.maximum.reduceat(sequences.max(axis=1), starts)
    sizes = np.diff(np.append(starts, len(sequences)))
    return 2 * sizes * longest


def representative_windows(costs: np.ndarray, windows: int, steps: int, *, seed: int) -> np.ndarray:
    """Numbers of batches such that each window of ``steps`` stands for all of them, whatever their order.

    The batches, sorted by what they cost, are cut into ``steps`` equal strata, and each window takes one of each, which
    lie evenly in the stratum; the dearest goes to the window that has cost least so far. So a window costs what an
    epoch does on average but for a little, where consecutive batches may all be long or all be short.
    """
    random = np.random.default_rng(seed)
    strata = np.array_split(np.argsort(costs, kind="stable"), steps)
    if min(map(len, strata)) < windows:
        raise ValueError(
            f"{len(costs)} batches are too few for {windows} windows of {steps} steps; {windows * steps} are needed"
        )
    total, columns = np.zeros(windows), []
    for stratum in reversed(strata):
        places = (np.arange(windows) + random.random()) / windows * len(stratum)
        column = np.empty(windows, np.int64)
        column[np.argsort(total, kind="stable")] = stratum[places.astype(np.int64)][::-1]
        total += costs[column]
        columns.append(column)
    return random.permuted(np.stack(columns, axis=1), axis=1)
