"""What every strategy of laying a step over devices offers to the loop, to evaluation and to scoring."""

import abc
import collections
import dataclasses
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import jax
import numpy as np
import optax
from jaxtyping import Float, Int

from rmjax.arrays import Array
from rmjax.batches.batch import PreferenceBatch
from rmjax.config import ConfigError, ExperimentConfig
from rmjax.models.reward import Params, RewardModel, init
from rmjax.training.state import TrainState
from rmjax.training.step import StepResult, TrainStep
from rmjax.training.tuning import stored

Device = Any  # jax.Device is a variable, not a type
Item = TypeVar("Item")
CompiledStep = Callable[[TrainState, PreferenceBatch], tuple[TrainState, StepResult]]
PendingRewards = Callable[[], Float[np.ndarray, "rows responses heads"]]  # waits for them
CompiledRewards = Callable[..., PendingRewards]


@dataclasses.dataclass(frozen=True)
class Parallel(abc.ABC):
    """A step laid over devices: rows are split over them, and the state is one for all.

    Attributes:
      config: whose ``parallel`` and ``batch.rows`` are followed.
      devices: those that the strategy was given.
    """

    config: ExperimentConfig
    devices: tuple[Device, ...]

    @property
    @abc.abstractmethod
    def device_count(self) -> int:
        """Devices that share a step, over all processes."""

    @property
    @abc.abstractmethod
    def row_parts(self) -> int:
        """How many parts the rows of a step are split into, over all processes."""

    @property
    @abc.abstractmethod
    def reward_parts(self) -> int:
        """How many parts the rows are split into whose rewards are computed."""

    @property
    def reward_tokens(self) -> int | None:
        """At how many tokens in one call a part computes rewards fastest; None where more are never slower."""
        return None

    @abc.abstractmethod
    def compile_train(self, step: TrainStep) -> CompiledStep:
        """The step over all devices. The state that is given in is donated: use the one that comes out.

        Takes states of ``new_state`` or of an earlier step, and batches of this process's rows, as numpy arrays or as
        they come from ``prefetch``. Sums in the result are over all devices, and the same on each. Raises ConfigError
        where the rows can't be split evenly.
        """

    @abc.abstractmethod
    def compile_rewards(self, fn: Callable[..., Array]) -> CompiledRewards:
        """``fn(params, tokens, positions, visible_until, response_end)`` on numpy rows.

        Any number of rows will do: empty ones are added for the devices that would stay without, and cut off again.
        What it returns waits for the rewards when it is called, so the devices can be given more meanwhile.
        """

    @abc.abstractmethod
    def new_state(
        self, model: RewardModel, optimizer: optax.GradientTransformation, seed: int, params: Params | None = None
    ) -> TrainState:
        """The state before the first step, laid out as it comes out of a step: so that all steps are compiled once.

        Parameters that it is to begin with lie where ``abstract_params`` says, and are donated.
        """

    @abc.abstractmethod
    def abstract_state(self, model: RewardModel, optimizer: optax.GradientTransformation) -> TrainState:
        """Shapes, dtypes and places of a state as ``to_shared`` gives it, without the arrays: what a checkpoint is
        restored as."""

    @abc.abstractmethod
    def put(self, batch: PreferenceBatch) -> PreferenceBatch:
        """The batch on the devices, laid out as the compiled step takes it; one that is there already stays."""

    def fit(self, model: RewardModel) -> RewardModel:
        """The model as the functions that are given to ``compile_train`` and ``compile_rewards`` must use it."""
        return model

    def abstract_params(self, model: RewardModel) -> Params:
        """Shapes, dtypes and places of the parameters that ``compile_rewards`` takes, without the arrays.

        A place of None is the first device of this process.
        """
        return jax.eval_shape(lambda: stored(init(model, jax.random.PRNGKey(0)), self.config.tuning))

    def own_rows(self, rows: int) -> Int[np.ndarray, "own"]:
        """Which rows of a step this process reads, in ascending order; those of all processes are all rows."""
        index, count = jax.process_index(), jax.process_count()
        return np.arange(index * rows // count, (index + 1) * rows // count)

    def to_shared(self, state: TrainState) -> TrainState:
        """The state as arrays of all processes, as a checkpoint takes it; the buffers stay those of ``state``."""
        return state

    def to_own(self, state: TrainState) -> TrainState:
        """The inverse of ``to_shared``: the state as a step takes it."""
        return state

    def prefetch(self, items: Iterable[Item], ahead: int = 2) -> Iterator[Item]:
        """The items in order, with each PreferenceBatch that is one or lies in one (as in a tuple) put on the devices.

        Another thread prepares the next items meanwhile, at most ``ahead`` of them, so they must not share memory with
        each other. What it raises is raised here, at the item where it happened. The thread ends with the iteration:
        at the last item, an error, or when this iterator is closed.
        """
        iterator = iter(items)
        end = object()

        def prepare() -> Any:
            item = next(iterator, end)
            return jax.tree.map(lambda part: self.put(part) if _is_batch(part) else part, item, is_leaf=_is_batch)

        executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="prefetch")
        try:
            waiting: collections.deque[Future] = collections.deque(executor.submit(prepare) for _ in range(ahead))
            while (item := waiting.popleft().result()) is not end:
                waiting.append(executor.submit(prepare))
                yield item
        finally:
            executor.shutdown(wait=True, cancel_futures=True)

    def check_rows(self) -> None:
        """ConfigError where ``batch.rows`` can't be split evenly over devices and microbatches."""
        rows, microbatches = self.config.batch.rows, self.config.parallel.microbatches
        parts = self.row_parts * microbatches
        if rows % parts:
            below, above = rows // parts * parts, -(-rows // parts) * parts
            right = f"{below} or {above}" if below else f"{above}"
            raise ConfigError(
                f"config.batch.rows is {rows!r}; it must be a multiple of {parts} = {self._row_parts_in_words} * "
                f"config.parallel.microbatches = {microbatches}, such as {right}"
            )

    @property
    def _row_parts_in_words(self) -> str:
        return f"{self.row_parts} devices"


def padded(rows: tuple[np.ndarray, ...], parts: int) -> list[np.ndarray]:
    """The arrays with empty rows at the end, as many as a multiple of ``parts`` takes."""
    missing = -len(rows[0]) % parts
    return [np.pad(array, ((0, missing), (0, 0))) for array in map(np.asarray, rows)]


def _is_batch(value: Any) -> bool:
    return isinstance(value, PreferenceBatch)
