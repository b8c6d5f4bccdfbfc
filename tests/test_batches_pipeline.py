import itertools
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from tokenized_data import random_tokenized

from rmjax.batches.pipeline import DataState, PreferencePipeline
from rmjax.batches.row_shape import RowShape

SHAPE = RowShape(length=96, responses=16, comparisons=16)


def pipeline(seed=0, rows=4, own_rows=None, **data):
    own_rows = None if own_rows is None else np.array(own_rows, int)
    return PreferencePipeline(random_tokenized(0, **data), SHAPE, rows, seed=seed, own_rows=own_rows)


def take(stream, count):
    taken = list(itertools.islice(stream, count))
    stream.close()
    return taken


def equal(batch, other):
    return all(np.array_equal(ours, theirs) for ours, theirs in zip(batch, other, strict=True))


@pytest.mark.parametrize("seed", range(3))
def test_from_any_state_the_stream_goes_on_exactly(seed):
    made = pipeline(seed=seed)
    steps = made.steps_in(0) + made.steps_in(1) + 2
    whole = take(made.batches(DataState(0, 0)), steps)
    for done in range(steps):
        start = whole[done - 1][0] if done else DataState(0, 0)
        for (state, batch), (expected_state, expected) in zip(
            take(pipeline(seed=seed).batches(start), min(3, steps - done)), whole[done:], strict=False
        ):
            assert state == expected_state
            assert equal(batch, expected)


@pytest.mark.parametrize("rows", [1, 4, 1000])
def test_an_epoch_has_every_comparison_once_and_all_batches_one_shape(rows):
    made = pipeline(rows=rows)
    everything = made._tokenized.comparisons
    state, orders = DataState(0, 0), []
    for epoch in range(3):
        batches = take(made.batches(DataState(epoch, 0)), made.steps_in(epoch))
        assert {batch.tokens.shape for _, batch in batches} == {(rows, SHAPE.length)}
        ids = np.concatenate([batch.comparison_id[batch.comparison_id >= 0] for _, batch in batches])
        assert sorted(ids.tolist()) == list(range(everything))
        orders.append(tuple(ids.tolist()))
        state = batches[-1][0]
        assert state == DataState(epoch + 1, 0)
        used = sum((batch.visible_until > 0).sum() for _, batch in batches)
        assert made.fill(epoch) == used / (len(batches) * rows * SHAPE.length)
    assert len(set(orders)) == 3


def test_seeds_give_different_streams():
    ((_, first),) = take(pipeline(seed=0).batches(DataState(0, 0)), 1)
    ((_, second),) = take(pipeline(seed=1).batches(DataState(0, 0)), 1)
    assert not equal(first, second)


@pytest.mark.parametrize("shares", [([0, 1], [2, 3]), ([0], [1], [2], [3]), ([0, 2], [1, 3], [1, 3])])
def test_processes_read_their_rows_of_the_one_batch(shares):
    steps = pipeline().steps_in(0) + 1
    whole = take(pipeline().batches(DataState(0, 0)), steps)
    for own_rows in shares:
        parts = take(pipeline(own_rows=own_rows).batches(DataState(0, 0)), steps)
        for (state, batch), (own_state, own) in zip(whole, parts, strict=True):
            assert own_state == state
            assert equal(own, [array[own_rows] for array in batch])


def test_a_state_at_the_end_of_an_epoch_is_the_start_of_the_next():
    made = pipeline()
    ((state, batch),) = take(made.batches(DataState(0, made.steps_in(0))), 1)
    ((expected_state, expected),) = take(made.batches(DataState(1, 0)), 1)
    assert state == expected_state
    assert equal(batch, expected)


def test_what_cannot_be_streamed_is_an_error():
    with pytest.raises(ValueError, match=r"0 rows .*config.batch.rows.* at least 1"):
        pipeline(rows=0)
    for own_rows in ([], [0, 4], [-1]):
        with pytest.raises(ValueError, match=r"own_rows is .* rows of a step, in 0\.\.3"):
            pipeline(own_rows=own_rows)
    made = pipeline()
    for state in (DataState(0, made.steps_in(0) + 1), DataState(0, -1), DataState(-1, 0)):
        with pytest.raises(ValueError, match="the data state is"):
            made.batches(state)


def test_threads_end_with_the_iterator():
    before = threading.active_count()
    stream = pipeline().batches(DataState(0, 0))
    next(stream)
    assert threading.active_count() > before
    stream.close()
    deadline = time.monotonic() + 10
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() == before


def test_a_program_ends_though_its_stream_is_open_and_absl_never_parsed_flags():
    code = (
        "import sys; sys.path.insert(0, 'tests')\n"
        "from test_batches_pipeline import DataState, pipeline\n"
        "stream = pipeline().batches(DataState(0, 0)); print(next(stream)[0])"
    )
    root = Path(__file__).parents[1]
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=60, check=True
    )
    assert "DataState(epoch=0, step=1)" in result.stdout
