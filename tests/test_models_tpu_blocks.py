"""The blocks that meet, against every pair of tokens; the walk, against the blocks that it must visit."""

import jax
import numpy as np
import pytest
from random_batches import random_batch

from rmjax.models.attention import seen_from
from rmjax.models.kernels import BlockSizes, needed_blocks
from rmjax.models.tpu_blocks import FIRST, LAST, NEEDED, causal_blocks, visits

SIZES = [BlockSizes(query=16, key=16), BlockSizes(query=8, key=32), BlockSizes(query=32, key=8)]
size = pytest.mark.parametrize("sizes", SIZES, ids=lambda sizes: f"{sizes.query}x{sizes.key}")

compiled = jax.jit(needed_blocks, static_argnums=(2, 3))


def blocks_with_a_seen_pair(visible_until, positions, window, sizes):
    seen = np.asarray(seen_from(visible_until, positions, window))
    rows, length, _ = seen.shape
    return seen.reshape(rows, length // sizes.query, sizes.query, length // sizes.key, sizes.key).any(axis=(2, 4))


@size
@pytest.mark.parametrize("window", [None, 4, 30])
def test_every_seen_pair_lies_in_a_needed_block_and_few_others_are_needed(sizes, window):
    needed = must = possible = 0
    for seed in range(10):
        # Long conversations, as the blocks of a TPU are to those of real data.
        batch = random_batch(seed, rows=4, length=512, longest=30)
        found = np.asarray(compiled(batch.visible_until, batch.positions, window, sizes))
        expected = blocks_with_a_seen_pair(batch.visible_until, batch.positions, window, sizes)
        assert np.all(found[expected])
        if window is None:
            np.testing.assert_array_equal(found, expected)
        needed, must = needed + found.sum(), must + expected.sum()
        possible += 4 * causal_blocks(512, sizes).sum()
    assert must <= needed <= 1.3 * must
    assert needed < 0.5 * possible


@size
def test_any_numbers_are_allowed(sizes):
    """No row of trees: random visibility that no packing would give."""
    rng = np.random.default_rng(0)
    for _ in range(10):
        visible_until = rng.integers(0, 65, (4, 64), np.int32) * rng.integers(0, 2, (4, 64), np.int32)
        positions = rng.integers(0, 64, (4, 64), np.int32)
        for window in (None, 3, 20):
            found = np.asarray(compiled(visible_until, positions, window, sizes))
            assert np.all(found[blocks_with_a_seen_pair(visible_until, positions, window, sizes)])


def test_padding_needs_nothing():
    nothing = np.zeros((2, 64), np.int32)
    assert not np.any(needed_blocks(nothing, nothing, None, SIZES[0]))


@pytest.mark.parametrize("transposed", [False, True])
@size
def test_the_walk_visits_each_needed_pair_once_and_each_outer_block(sizes, transposed):
    batch = random_batch(3, rows=4)
    needed = np.array(needed_blocks(batch.visible_until, batch.positions, 5, sizes))
    needed[2] = False  # a row that needs nothing
    possible = causal_blocks(128, sizes)
    if transposed:
        needed, possible = needed.transpose(0, 2, 1), possible.T
    walk = jax.tree.map(np.asarray, visits(needed, possible))
    lengths = []
    for row, outer, inner, flags in zip(needed, walk.outer, walk.inner, walk.flags, strict=True):
        works = flags & NEEDED > 0
        np.testing.assert_array_equal(np.stack([outer[works], inner[works]], axis=1), np.argwhere(row))
        ended = int(np.flatnonzero(flags)[-1]) + 1
        lengths.append(ended)
        np.testing.assert_array_equal(outer[:ended][flags[:ended] & FIRST > 0], np.arange(len(row)))
        np.testing.assert_array_equal(outer[:ended][flags[:ended] & LAST > 0], np.arange(len(row)))
        assert np.all(np.diff(outer[:ended]) >= 0)
        assert np.all(outer[ended:] == outer[ended - 1])  # what is there already is fetched again by nobody
        assert np.all(inner[ended:] == inner[ended - 1])
        idle = ~works[:ended]
        assert idle.sum() == (~row.any(axis=1)).sum()
    assert walk.steps == max(lengths)
    assert min(lengths) < max(lengths)
