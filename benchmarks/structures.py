"""Rows of the structures that attention meets, and the arithmetic that each takes, counted in pairs of tokens."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from benchmarks.hh_lengths import draw_lengths
from rmjax.model_config import AttentionKind
from rmjax.models.attention_choice import WIDE_BLOCK
from rmjax.models.blocked_attention import BLOCK
from rmjax.models.blocks import cut_places, needed_blocks
from rmjax.models.kernels import BlockSizes
from rmjax.models.kernels import needed_blocks as needed_by_kernels

WINDOW = 512  # positions, of the structure with a sliding window
BEST_OF = 16
FINEST = 32  # tokens of the smallest block that is counted
BLOCKS = (32, 64, 128, 256)
IN_USE = {AttentionKind.LISTED: BLOCK, AttentionKind.ABREAST: WIDE_BLOCK}


@dataclass(frozen=True, kw_only=True)
class Structure:
    """One row."""

    visible_until: Int[np.ndarray, "length"]
    positions: Int[np.ndarray, "length"]
    window: int | None = None

    @property
    def length(self) -> int:
        return len(self.positions)


@dataclass(frozen=True, kw_only=True)
class Visible:
    """What is seen in a row: the pairs of tokens, and which blocks of ``FINEST`` by ``FINEST`` hold any of them."""

    pairs: int
    blocks: Bool[np.ndarray, "queries keys"]

    def pairs_in_blocks(self, query: int, key: int) -> int:
        """Pairs of tokens in all blocks of that size that hold a visible one."""
        length = len(self.blocks) * FINEST
        parts = self.blocks.reshape(length // query, query // FINEST, length // key, key // FINEST)
        return int(parts.any(axis=(1, 3)).sum()) * query * key


def make_structure(name: str, length: int) -> Structure:
    """A row of so many tokens: ``causal`` (one sequence), ``window`` (one with a sliding window), ``pairs`` (packed,
    each with a shared prompt, of HH's lengths) or ``best_of_16`` (responses to a prompt that takes half of the row)."""
    if name == "pairs":
        return _laid(_hh_groups(length), length)
    if name == f"best_of_{BEST_OF}":
        return _laid([(length // 2, *[length // 2 // BEST_OF] * BEST_OF)], length)
    until, positions = np.full(length, length), np.arange(length)
    return Structure(visible_until=until, positions=positions, window={"causal": None, "window": WINDOW}[name])


STRUCTURES = ("causal", "pairs", f"best_of_{BEST_OF}", "window")


def _hh_groups(length: int) -> list[tuple[int, ...]]:
    """As many pairs as fit, in the order in which they come; one that doesn't fit is left out."""
    groups, used = [], 0
    for group in draw_lengths(length, seed=0).tolist():
        if used + sum(group) <= length:
            groups.append(tuple(group))
            used += sum(group)
    return groups


def _laid(groups: list[tuple[int, ...]], length: int) -> Structure:
    """Groups (tokens of the prompt, then of each response) one after the other; what is left of the row pads it."""
    until, positions = np.zeros(length, np.int64), np.zeros(length, np.int64)
    at = 0
    for prompt, *responses in groups:
        end = at + prompt + sum(responses)
        until[at : at + prompt], positions[at : at + prompt] = end, np.arange(prompt)
        at += prompt
        for response in responses:
            until[at : at + response] = at + response
            positions[at : at + response] = prompt + np.arange(response)
            at += response
    return Structure(visible_until=until, positions=positions)


def look(row: Structure) -> Visible:
    """Counts what is seen, a few queries at a time, so that long rows take little memory."""
    keys, pairs, blocks = np.arange(row.length), 0, []
    for first in range(0, row.length, FINEST):
        query = np.arange(first, first + FINEST)[:, None]
        seen = (keys <= query) & (query < row.visible_until)
        if row.window is not None:
            seen &= row.positions[query] - row.positions < row.window
        pairs += int(seen.sum())
        blocks.append(seen.reshape(FINEST, -1, FINEST).any(axis=(0, 2)))
    return Visible(pairs=pairs, blocks=np.stack(blocks))


def computed_in_blocks(row: Structure, kind: AttentionKind, block: int) -> int:
    """Pairs of tokens that the blocked implementations compute, by their own choice of blocks."""
    places = cut_places(row.visible_until[None], row.positions[None], block)
    count = row.length // block
    needed = np.asarray(needed_blocks(places, count, row.window))[0]
    if kind is AttentionKind.LISTED:
        return int(needed.sum()) * block**2
    queries, keys = np.nonzero(needed)
    turns = int((queries - keys).max()) + 1  # of all query blocks, also those without a key block so far back
    return turns * count * block**2


def computed_by_kernels(row: Structure, sizes: BlockSizes) -> int:
    """Pairs of tokens that kernels with such blocks compute, for TPU or GPU."""
    needed = needed_by_kernels(row.visible_until[None], row.positions[None], row.window, sizes)
    return int(np.asarray(needed).sum()) * sizes.query * sizes.key
