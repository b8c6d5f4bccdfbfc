"""The row shape of a run, chosen from the lengths of its data where the config leaves it open."""

import numpy as np
from absl import logging
from jaxtyping import Int

from rmjax.batches.lengths import GroupLengths
from rmjax.batches.packing import RowPlan, plan_epoch
from rmjax.batches.parts import compared_parts
from rmjax.batches.row_shape import RowShape
from rmjax.config import BatchConfig

_UNLIMITED = 1 << 30
_MULTIPLE = 128  # what attention's blocks and the lanes of a TPU like
_TIMES = (1.0, 1.5, 2.0)  # how many times as long as the longest comparison rows may be
_WORTH = 0.03  # the share of an epoch's token slots that longer rows must save


def choose_row_shape(lengths: GroupLengths, config: BatchConfig) -> RowShape:
    """The row shape of a run: the same for all epochs.

    A length that the config leaves open is the shortest that serves: as long as the longest comparison, rounded up to
    a multiple of 128; or one and a half times or twice as long, where that saves more than 3 % of an epoch's token
    slots, as padding or as prefixes that the parts of a split group repeat. (What attention computes hardly grows with
    the length, as it skips what nobody sees; short rows go round more evenly over devices and microbatches.)

    Slots that the config leaves open come from one plan without slot limits: as many as 99.5 % of its rows need, or the
    largest group that fits a row by its tokens, rounded up to a multiple of 8. An empty slot costs next to nothing
    beside a row's tokens, and a row that runs out of slots is padded.
    """
    length, responses, comparisons = config.row_length, config.responses_per_row, config.comparisons_per_row
    if length is None:
        plan = _plan_of_chosen_length(lengths, config)
        length = plan.shape.length
    elif responses is None or comparisons is None:
        plan = _plan(lengths, config, length)
    else:
        return RowShape(length=length, responses=responses, comparisons=comparisons)
    return RowShape(
        length=length,
        responses=responses or _slots(np.diff(plan.parts.response_offsets), plan),
        comparisons=comparisons or _slots(np.diff(plan.parts.comparison_offsets), plan),
    )


def _plan_of_chosen_length(lengths: GroupLengths, config: BatchConfig) -> RowPlan:
    """The plan with the shortest rows among those that take hardly more token slots than the fewest."""
    longest = int(lengths.comparison_tokens.max(initial=1))
    whole = compared_parts(lengths, RowShape(length=_UNLIMITED, responses=_UNLIMITED, comparisons=_UNLIMITED))
    distinct = int(whole.size.sum())
    plans: list[RowPlan] = []
    for length in dict.fromkeys(-(-int(longest * times) // _MULTIPLE) * _MULTIPLE for times in _TIMES):
        plans.append(_plan(lengths, config, length))
        if distinct >= (1 - _WORTH) * _token_slots(plans[-1]):
            break  # there is no more than that to save
    fewest = min(map(_token_slots, plans))
    chosen = next(plan for plan in plans if fewest >= (1 - _WORTH) * _token_slots(plan))
    tried = ", ".join(f"{_needed(distinct, plan):.1f} % in rows of {plan.shape.length}" for plan in plans)
    logging.info(
        "rows of %d tokens chosen for comparisons of up to %d: no longer ones would save %.0f %% of an epoch's token "
        "slots, which hold a token laid for the first time to %s", chosen.shape.length, longest, 100 * _WORTH, tried,
    )  # fmt: skip
    return chosen


def _needed(distinct: int, plan: RowPlan) -> float:
    """Percent of the token slots that are neither padding nor a prefix laid again; 100 where there are none."""
    return 100 * distinct / _token_slots(plan) if plan.rows else 100.0


def _token_slots(plan: RowPlan) -> int:
    return plan.rows * plan.shape.length


def _plan(lengths: GroupLengths, config: BatchConfig, length: int) -> RowPlan:
    """An epoch in rows of such a length, with no limits of slots but those of the config."""
    responses, comparisons = config.responses_per_row or _UNLIMITED, config.comparisons_per_row or _UNLIMITED
    return plan_epoch(lengths, RowShape(length=length, responses=responses, comparisons=comparisons), seed=0, epoch=0)


def _slots(of_part: Int[np.ndarray, "parts"], plan: RowPlan) -> int:
    if not plan.rows:
        return 8
    of_row = np.add.reduceat(of_part[plan.order], plan.row_offsets[:-1])
    enough = max(int(np.ceil(np.quantile(of_row, 0.995))), int(of_part.max()))
    return -(-enough // 8) * 8
