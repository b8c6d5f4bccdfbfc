"""The metrics of steps, from device arrays to numbers, in batches: the loop never waits for a step it just started."""

import math
import time
from collections.abc import Iterator

import jax

from rmjax.errors import ReportedError
from rmjax.training.metrics import step_metrics
from rmjax.training.step import StepResult


class NonFiniteError(ReportedError, FloatingPointError):
    """What must be finite is NaN or infinite; ``step`` is the first step at which it was seen."""

    def __init__(self, step: int, message: str):
        super().__init__(message)
        self.step = step


class Meter:
    """Holds the results of steps until they are asked for."""

    def __init__(self):
        self._pending: list[tuple[int, StepResult]] = []
        self._compiled = False
        self.restart_clock()

    def add(self, step: int, result: StepResult) -> None:
        """Takes the result of a step, which may not have been computed yet."""
        self._pending.append((step, result))

    def restart_clock(self) -> None:
        """Leaves the time up to now out of the rates, as that of a validation."""
        self._since = time.perf_counter()

    def take(self, *, leave: int = 0) -> Iterator[tuple[int, dict[str, float]]]:
        """Yields the metrics of the steps held, in order, but for the ``leave`` newest (which keep the device busy).

        The rates are those of the time since the last call, the same for all steps of a call; those of the first call
        that takes a step are left out, for they would be those of compiling. At the first step whose loss or gradient
        is not finite comes NonFiniteError; the steps before it have been yielded by then.
        """
        count = max(0, len(self._pending) - leave)
        taken, self._pending = self._pending[:count], self._pending[count:]
        results = jax.device_get([result for _, result in taken])
        now = time.perf_counter()
        seconds, self._since = max(now - self._since, 1e-9), now
        rates = {
            "tokens_per_second": sum(float(result.sums.tokens) for result in results) / seconds,
            "comparisons_per_second": sum(float(result.sums.comparisons) for result in results) / seconds,
        }
        rates, self._compiled = rates if self._compiled else {}, self._compiled or bool(taken)
        for (step, _), result in zip(taken, results, strict=True):
            yield step, _line(step, result, rates)


def _line(step: int, result: StepResult, rates: dict[str, float]) -> dict[str, float]:
    # The sum, not the mean: a batch in which no comparison has weight has no mean, and nothing is wrong with it.
    loss, norm = float(result.sums.loss), float(result.gradient_norm)
    if not (math.isfinite(loss) and math.isfinite(norm)):
        raise NonFiniteError(step, f"the loss of step {step} is {loss}, its gradient norm {norm}")
    metrics = step_metrics(result)
    fill = metrics.pop("packing_fill")
    return {**metrics, **rates, "packing_fill": fill}
