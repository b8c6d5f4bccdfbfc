"""How a step is laid over devices: the only module that knows about them."""

import collections
import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding
from jaxtyping import Float

from rmjax.arrays import Array
from rmjax.batches.batch import PreferenceBatch
from rmjax.config import ConfigError, ExperimentConfig, ModelConfig, Strategy
from rmjax.models.attention_choice import choose_attention
from rmjax.models.reward import RewardModel
from rmjax.training.state import TrainState
from rmjax.training.step import StepResult, TrainStep

Device = Any  # jax.Device is a variable, not a type
Item = TypeVar("Item")
AXIS = "devices"


@dataclasses.dataclass(frozen=True)
class Parallel:
    """Data parallelism as the config says: rows are split over devices, the state is one for all of them.

    Attributes:
      config: whose ``parallel.strategy`` and ``batch.rows`` are followed.
      devices: of this process; under ``Strategy.JIT`` there is one.
    """

    config: ExperimentConfig
    devices: tuple[Device, ...]

    @property
    def device_count(self) -> int:
        """Devices that share a step, over all processes."""
        return len(self.devices) * (jax.process_count() if self._pmap else 1)

    @property
    def _pmap(self) -> bool:
        return self.config.parallel.strategy is Strategy.PMAP

    def compile_train(self, step: TrainStep) -> Callable[[TrainState, PreferenceBatch], tuple[TrainState, StepResult]]:
        """The step over all devices. The state that is given in is donated: use the one that comes out.

        Takes batches of this process's rows, as numpy arrays or as they come from ``prefetch``. Sums in the result are
        over all devices, and the same on each. Raises ConfigError where the rows can't be split evenly.
        """
        self.check_rows()
        if self._pmap:
            compiled = jax.pmap(
                functools.partial(step, axis_name=AXIS),
                axis_name=AXIS,
                in_axes=(None, 0),
                out_axes=None,
                donate_argnums=0,
                devices=None if jax.process_count() > 1 else self.devices,
            )
        else:
            compiled = jax.jit(step, donate_argnums=0)

        def train(state: TrainState, batch: PreferenceBatch) -> tuple[TrainState, StepResult]:
            return compiled(state, self.put(batch))

        return train

    def compile_rewards(self, fn: Callable[..., Array]) -> Callable[..., Float[np.ndarray, "rows responses heads"]]:
        """``fn(params, tokens, positions, visible_until, response_end)`` over this process's devices, on numpy rows.

        Any number of rows will do: empty ones are added for the devices that would stay without, and cut off again.
        """
        count = len(self.devices)
        if self._pmap:
            devices = None if jax.process_count() > 1 else self.devices
            compiled = jax.pmap(fn, in_axes=(None, 0, 0, 0, 0), devices=devices)
        else:
            compiled = jax.jit(fn)

        def rewards(params: Any, *rows: np.ndarray) -> Float[np.ndarray, "rows responses heads"]:
            given = len(rows[0])
            missing = -given % count
            filled = [np.pad(array, ((0, missing), (0, 0))) for array in map(np.asarray, rows)]
            values = np.asarray(compiled(params, *self._put(filled)))
            return values.reshape(given + missing, *values.shape[-2:])[:given]

        return rewards

    def place(self, state: TrainState) -> TrainState:
        """The state as it comes out of a step, so that the first step is compiled for the same layout as all others."""
        if self._pmap:
            return jax.device_put(state, NamedSharding(Mesh(np.array(self.devices), (AXIS,)), PartitionSpec()))
        return jax.device_put(state, self._sharding)

    def to_shared(self, state: TrainState) -> TrainState:
        """The state as arrays of all processes, as a checkpoint takes it; the buffers stay those of ``state``.

        A step gives each process arrays of its own devices, of which nothing says that they are everywhere the same.
        """
        if jax.process_count() == 1:
            return state
        return multihost_utils.host_local_array_to_global_array(state, self._all_devices, PartitionSpec())

    def to_own(self, state: TrainState) -> TrainState:
        """The inverse of ``to_shared``: the state as a step takes it."""
        if jax.process_count() == 1:
            return state
        return multihost_utils.global_array_to_host_local_array(state, self._all_devices, PartitionSpec())

    def put(self, batch: PreferenceBatch) -> PreferenceBatch:
        """The batch on the devices, laid out as the compiled step takes it; one that is there already stays."""
        if isinstance(batch.tokens, jax.Array) and batch.tokens.sharding == self._sharding:
            return batch
        return self._put(batch)

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

    @functools.cached_property
    def _sharding(self) -> NamedSharding | SingleDeviceSharding:
        """Of a batch: its first axis over the devices of this process, or all of it on one."""
        if self._pmap:
            return NamedSharding(Mesh(np.array(self.devices), (AXIS,)), PartitionSpec(AXIS))
        return SingleDeviceSharding(self.devices[0])

    @functools.cached_property
    def _all_devices(self) -> Mesh:
        """The devices of all processes, as pmap takes them."""
        return Mesh(np.array(jax.devices()), (AXIS,))

    def _put(self, rows: Any) -> Any:
        """Arrays of this process's rows, [rows, ...], on its devices; under pmap as [devices, rows / devices, ...]."""
        if self._pmap:
            rows = jax.tree.map(lambda array: array.reshape(len(self.devices), -1, *array.shape[1:]), rows)
        return jax.device_put(rows, self._sharding)

    def check_rows(self) -> None:
        """ConfigError where ``batch.rows`` can't be split evenly over devices and microbatches."""
        rows, microbatches = self.config.batch.rows, self.config.parallel.microbatches
        parts = self.device_count * microbatches
        if rows % parts:
            below, above = rows // parts * parts, -(-rows // parts) * parts
            right = f"{below} or {above}" if below else f"{above}"
            raise ConfigError(
                f"config.batch.rows is {rows!r}; it must be a multiple of {parts} = {self.device_count} devices * "
                f"config.parallel.microbatches = {microbatches}, such as {right}"
            )


def make_parallel(config: ExperimentConfig, devices: tuple[Device, ...] | None = None) -> Parallel:
    """Over the given devices of this process, by default all of them (``Strategy.JIT`` takes the first)."""
    devices = tuple(jax.local_devices()) if devices is None else devices
    if config.parallel.strategy is Strategy.PMAP:
        return Parallel(config, devices)
    if jax.process_count() > 1:
        raise ConfigError(
            f"config.parallel.strategy is {Strategy.JIT.value!r}, which is for one device; it must be "
            f"{Strategy.PMAP.value!r} over {jax.process_count()} processes"
        )
    return Parallel(config, devices[:1])


def describe_devices() -> dict[str, str | int]:
    """Of all processes: what the devices are and how many there are."""
    devices = jax.devices()
    return {"kind": devices[0].device_kind, "count": len(devices), "processes": jax.process_count()}


def make_model(config: ModelConfig, vocabulary_size: int) -> RewardModel:
    """The reward model, with the attention that suits the devices where the config leaves it open."""
    return RewardModel(config, vocabulary_size, choose_attention(config.attention, jax.local_devices()[0].platform))


def default_placement() -> SingleDeviceSharding:
    """Where an array lies of which nobody says where: on the first device of this process."""
    return SingleDeviceSharding(jax.local_devices()[0])


def _is_batch(value: Any) -> bool:
    return isinstance(value, PreferenceBatch)
