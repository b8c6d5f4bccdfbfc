"""The stream of training batches: a Grain pipeline over planned rows, whose whole state is (epoch, step)."""

import functools
import itertools
from collections.abc import Iterator
from typing import NamedTuple

import grain
import numpy as np
from absl import logging
from jaxtyping import Int

from rmjax.batches.batch import PreferenceBatch
from rmjax.batches.lengths import GroupLengths, measure
from rmjax.batches.packing import RowPlan, pack, parts_to_train, plan_epoch
from rmjax.batches.row_shape import RowShape
from rmjax.batches.tokenized import TokenizedPreferences

_READ = grain.ReadOptions(num_threads=1, prefetch_buffer_size=4)  # packing takes about a millisecond a batch


class DataState(NamedTuple):
    """Where the stream stands: the epoch, and the next step in it. It is the same on every process."""

    epoch: int = 0
    step: int = 0


class PreferencePipeline:
    """Endless batches of packed rows, shuffled by (seed, epoch) and shared out over processes.

    A step has ``rows_per_step`` rows over all processes, of which each reads its ``own_rows`` (by default all of them),
    in that order. The last step of an epoch is filled up with empty rows: nothing is dropped. ``lengths`` are those of
    ``tokenized``, where they have been measured already.
    """

    def __init__(
        self,
        tokenized: TokenizedPreferences,
        shape: RowShape,
        rows_per_step: int,
        *,
        seed: int,
        own_rows: Int[np.ndarray, "own"] | None = None,
        lengths: GroupLengths | None = None,
    ):
        if rows_per_step < 1:
            raise ValueError(f"a step has {rows_per_step} rows (config.batch.rows); it must have at least 1")
        own_rows = np.arange(rows_per_step) if own_rows is None else own_rows
        if not len(own_rows) or own_rows.min() < 0 or own_rows.max() >= rows_per_step:
            raise ValueError(f"own_rows is {own_rows}; it must be rows of a step, in 0..{rows_per_step - 1}")
        if not tokenized.comparisons:
            raise ValueError("there are no comparisons to learn from; right would be at least one")
        self._tokenized = tokenized
        self._lengths = measure(tokenized) if lengths is None else lengths
        self._shape = shape
        self._parts = parts_to_train(self._lengths, shape)
        self._rows_per_step = rows_per_step
        self._seed = seed
        self._own_rows = own_rows
        self._planned = 0
        self.plan = functools.lru_cache(maxsize=2)(self._plan)

    def steps_in(self, epoch: int) -> int:
        """How many steps an epoch has; epochs may differ by a few."""
        return -(-self.plan(epoch).rows // self._rows_per_step)

    def fill(self, epoch: int) -> float:
        """The share of an epoch's token slots that hold tokens, the empty rows of the last step included."""
        slots = self.steps_in(epoch) * self._rows_per_step * self._shape.length
        return self.plan(epoch).tokens / slots

    def batches(self, start: DataState) -> Iterator[tuple[DataState, PreferenceBatch]]:
        """Yields (the state to go on from after this batch, the batch of this process) for ever.

        Close the iterator (or let go of it) to end its threads.
        """
        if start.epoch < 0:
            raise ValueError(f"the data state is {start}; epochs count from 0")
        if not 0 <= start.step <= self.steps_in(start.epoch):
            raise ValueError(f"the data state is {start}; epoch {start.epoch} has {self.steps_in(start.epoch)} steps")
        return self._batches(start)

    def _batches(self, start: DataState) -> Iterator[tuple[DataState, PreferenceBatch]]:
        for epoch in itertools.count(start.epoch):
            steps = self.steps_in(epoch)
            first = start.step if epoch == start.epoch else 0
            if first == steps:
                continue
            source = grain.MapDataset.source(
                _Steps(self._tokenized, self.plan(epoch), self._rows_per_step, self._own_rows)
            )
            reader = iter(source.slice(slice(first, None)).to_iter_dataset(_READ))
            try:
                for step, batch in enumerate(reader, first + 1):
                    yield (DataState(epoch + 1, 0) if step == steps else DataState(epoch, step)), batch
            finally:
                reader.close()

    def _plan(self, epoch: int) -> RowPlan:
        plan = plan_epoch(self._lengths, self._shape, seed=self._seed, epoch=epoch, parts=self._parts)
        logging.log(
            logging.INFO if self._planned == 0 else logging.DEBUG,
            "epoch %d: %d groups (%d of them split) in %d parts, %d rows of %d tokens, %.1f %% of the slots filled",
            epoch, len(np.unique(plan.parts.group)), plan.split_groups, len(plan.parts), plan.rows,
            plan.shape.length, 100 * plan.fill,
        )  # fmt: skip
        self._planned += 1
        return plan


class _Steps:
    """The steps of one epoch as a Grain data source."""

    def __init__(self, tokenized: TokenizedPreferences, plan: RowPlan, rows_per_step: int, own_rows: np.ndarray):
        self._tokenized, self._plan, self._rows_per_step, self._own_rows = tokenized, plan, rows_per_step, own_rows

    def __len__(self) -> int:
        return -(-self._plan.rows // self._rows_per_step)

    def __getitem__(self, index: int) -> PreferenceBatch:
        numbers = index * self._rows_per_step + self._own_rows
        return pack(self._tokenized, self._plan, np.where(numbers < self._plan.rows, numbers, -1))
