"""The rewards of tokenized responses, on all devices."""

from collections import deque
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float32, Int

from rmjax.arrays import Array
from rmjax.batches.lengths import measure
from rmjax.batches.packing import pack, plan_in_order
from rmjax.batches.row_shape import RowShape
from rmjax.batches.tokenized import TokenizedPreferences
from rmjax.config import ExperimentConfig, least_row_length
from rmjax.errors import ReportedError
from rmjax.models.reward import Params, RewardModel, mean_of_members
from rmjax.training.parallel import make_parallel_here
from rmjax.training.strategy import Parallel, PendingRewards

_MULTIPLE = 128  # row lengths are rounded up to what attention kernels and TPU lanes like
_AHEAD = 8  # batches that are given to the devices before the first of them is waited for
_TOKENS_A_RESPONSE = 16  # one slot for so many tokens: rarely what a row runs out of


class NonFiniteRewardsError(ReportedError, FloatingPointError):
    """Some rewards are NaN or infinite: nothing can be measured with them, and they are nobody's score."""


class RewardComputer:
    """Computes the reward of every tokenized response, packed in order.

    The rows are as long as the text contract asks (prompt and response at their limits, rounded up to 128), never as
    the training row, so whatever the contract lets through has a reward. Batches have a few static shapes, each
    compiled once: a full one has about as many tokens as a training batch (where the row length is left to the data, as
    one of rows that hold every pair within the limits) or, where they are fewer, as the devices compute best, and what
    is left is computed in powers of two of rows on each device, the last filled up with empty rows. Neither the batch
    nor the device count changes a reward beyond float tolerance.

    Args:
      model: the model.
      config: its experiment; of its batch only the number of tokens matters here.
      parallel: the devices; by default those here, laid out as in training where they can be.
    """

    def __init__(self, model: RewardModel, config: ExperimentConfig, *, parallel: Parallel | None = None):
        longest = config.text.max_prompt_tokens + config.text.max_response_tokens
        length = -(-longest // _MULTIPLE) * _MULTIPLE
        self.shape = RowShape(length=length, responses=max(2, length // _TOKENS_A_RESPONSE), comparisons=0)
        self._heads, self._members = max(1, len(config.model.reward_heads)), config.model.ensemble
        parallel = parallel or make_parallel_here(config)
        model = parallel.fit(model)
        self._parts = parallel.reward_parts
        tokens = config.batch.rows * (config.batch.row_length or least_row_length(config.text))
        self._budget = max(1, tokens // (length * self._parts)) * length
        self._rows_a_part = max(1, min(self._budget, parallel.reward_tokens or self._budget) // length)

        def rewards_of_rows(params: Params, *rows: Array) -> Array:
            return model.apply({"params": params}, *rows)  # pyright: ignore[reportReturnType] it returns variables only when asked to

        self._compute = parallel.compile_rewards(rewards_of_rows)

    def __call__(self, params: Params, tokenized: TokenizedPreferences) -> Float32[np.ndarray, "responses heads"]:
        """The rewards of all responses of ``tokenized``, in its order; of an ensemble the means over its members.

        Raises:
          NonFiniteRewardsError: where a reward is NaN or infinite.
        """
        return mean_of_members(self.members(params, tokenized))

    def members(
        self, params: Params, tokenized: TokenizedPreferences
    ) -> Float32[np.ndarray, "responses heads members"]:
        """The same by member."""
        result = np.full((tokenized.responses, self._heads * self._members), np.nan, np.float32)
        plan = plan_in_order(measure(tokenized), self.shape)
        pending: deque[tuple[Int[Array, "rows slots"], PendingRewards]] = deque()

        def finish() -> None:
            response_id, values = pending.popleft()
            used = response_id >= 0
            result[response_id[used]] = values()[used]

        for numbers in self._batches(plan.rows):
            batch = pack(tokenized, plan, numbers)
            rows = (batch.tokens, batch.positions, batch.visible_until, batch.response_end)
            pending.append((batch.response_id, self._compute(params, *rows)))
            if len(pending) > _AHEAD:
                finish()
        while pending:
            finish()
        broken = np.flatnonzero(~np.isfinite(result).all(axis=1))
        if len(broken):
            record, response = tokenized.response_origin[broken[0]].tolist()
            raise NonFiniteRewardsError(
                f"the rewards of {len(broken)} of {len(result)} responses are not finite; the first is that of "
                f"response {response} of record {record} (both counted from 0)"
            )
        return result.reshape(len(result), self._heads, self._members)

    @property
    def tokens_at_once(self) -> int:
        """The token slots that a training batch has: enough for rows to be filled well, and all devices busy."""
        return self._budget * self._parts

    @property
    def tokens_a_call(self) -> int:
        """The token slots of one call of the compiled program; what doesn't fill its last call costs as if it did."""
        return self._rows_a_part * self.shape.length * self._parts

    def warm_up(self, params: Params) -> None:
        """Compiles every batch shape there is, by computing empty rows."""
        for rows_a_part in sorted({size for needed in range(1, self._rows_a_part + 1) for size in self._sizes(needed)}):
            rows = rows_a_part * self._parts
            filled = (np.zeros((rows, self.shape.length), np.int32),) * 3
            self._compute(params, *filled, np.zeros((rows, self.shape.responses), np.int32))()

    def _sizes(self, needed: int) -> list[int]:
        """The rows that each device computes, batch by batch, where so many are needed: powers of two, or a full batch,
        of which the last may have empty rows, but no more than a quarter."""
        sizes = []
        while needed > 0:
            above = 1 << (needed - 1).bit_length()
            size = above if 4 * needed > 3 * above else above // 2
            sizes.append(self._rows_a_part if needed >= self._rows_a_part else min(size, self._rows_a_part))
            needed -= sizes[-1]
        return sizes

    def _batches(self, rows: int) -> Iterator[Int[np.ndarray, "batch"]]:
        """Yields the row numbers of each batch, -1 for an empty row."""
        start = 0
        for size in self._sizes(-(-rows // self._parts)):
            numbers = np.arange(start, min(start + size * self._parts, rows))
            yield np.concatenate([numbers, np.full(size * self._parts - len(numbers), -1)])
            start += size * self._parts
