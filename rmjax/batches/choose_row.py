"""The row shape of a run, chosen from the lengths of its data where the config leaves it open."""

import numpy as np
from jaxtyping import Int

from rmjax.batches.lengths import GroupLengths
from rmjax.batches.packing import RowPlan, plan_epoch
from rmjax.batches.row_shape import RowShape
from rmjax.config import BatchConfig

_UNLIMITED = 1 << 30


def choose_row_shape(lengths: GroupLengths, config: BatchConfig) -> RowShape:
    """The row shape of a run: the same for all epochs.

    Slots that the config leaves open come from one plan without slot limits: as many as 99.5 % of its rows need, or the
    largest group that fits a row by its tokens, rounded up to a multiple of 8. An empty slot costs next to nothing
    beside a row's tokens, and a row that runs out of slots is padded.
    """
    length, responses, comparisons = config.row_length, config.responses_per_row, config.comparisons_per_row
    free = RowShape(length=length, responses=responses or _UNLIMITED, comparisons=comparisons or _UNLIMITED)
    if responses is None or comparisons is None:
        plan = plan_epoch(lengths, free, seed=0, epoch=0)
        if responses is None:
            responses = _slots(np.diff(plan.parts.response_offsets), plan)
        if comparisons is None:
            comparisons = _slots(np.diff(plan.parts.comparison_offsets), plan)
    return RowShape(length=length, responses=responses, comparisons=comparisons)


def _slots(of_part: Int[np.ndarray, "parts"], plan: RowPlan) -> int:
    if not plan.rows:
        return 8
    of_row = np.add.reduceat(of_part[plan.order], plan.row_offsets[:-1])
    enough = max(int(np.ceil(np.quantile(of_row, 0.995))), int(of_part.max()))
    return -(-enough // 8) * 8
