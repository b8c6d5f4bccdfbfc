"""How a step is laid over devices: the only module that asks which there are.

The strategies have one interface (``rmjax.training.strategy``): ``pmap`` and ``jit``, here, keep the whole state on
every device; ``mesh`` (``rmjax.training.mesh``) splits it.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import optax
from absl import logging
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding

from rmjax.arrays import Array
from rmjax.batches.batch import PreferenceBatch
from rmjax.config import ConfigError, ExperimentConfig, Strategy
from rmjax.model_config import AttentionKind, ModelConfig
from rmjax.models.attention_choice import choose_attention, chosen_kind, has_kernels
from rmjax.models.lora import Adapters
from rmjax.models.reward import Params, RewardModel
from rmjax.models.shape import model_shape
from rmjax.training.mesh import MeshParallel, make_mesh
from rmjax.training.state import TrainState, new_state
from rmjax.training.step import StepResult, TrainStep
from rmjax.training.strategy import CompiledRewards, CompiledStep, Device, Parallel, PendingRewards, padded

AXIS = "devices"
# Activations of more tokens don't stay in a core's caches: with 4 layers of 256 and 2 cores, 4096 and more took 1.17 to
# 1.2 times as long for each token as 1024 to 2048 did.
_CPU_REWARD_TOKENS = 2048


@dataclasses.dataclass(frozen=True)
class Replicated(Parallel):
    """Data parallelism: every device of this process has the whole state, and its share of the rows.

    Under ``Strategy.JIT`` there is one device.
    """

    @property
    def device_count(self) -> int:
        return len(self.devices) * (jax.process_count() if self._pmap else 1)

    @property
    def row_parts(self) -> int:
        return self.device_count

    @property
    def reward_parts(self) -> int:
        return len(self.devices)

    @property
    def reward_tokens(self) -> int | None:
        return _CPU_REWARD_TOKENS if self.devices[0].platform == "cpu" else None

    @property
    def _pmap(self) -> bool:
        return self.config.parallel.strategy is not Strategy.JIT

    def compile_train(self, step: TrainStep) -> CompiledStep:
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

    def compile_rewards(self, fn: Callable[..., Array]) -> CompiledRewards:
        """Over the devices of this process alone, which need nothing of the others."""
        if self._pmap:
            devices = None if jax.process_count() > 1 else self.devices
            compiled = jax.pmap(fn, in_axes=(None, 0, 0, 0, 0), devices=devices)
        else:
            compiled = jax.jit(fn)

        def rewards(params: Any, *rows: np.ndarray) -> PendingRewards:
            values = compiled(params, *self._put(padded(rows, len(self.devices))))
            return lambda: np.asarray(values).reshape(-1, *values.shape[-2:])[: len(rows[0])]

        return rewards

    def new_state(
        self, model: RewardModel, optimizer: optax.GradientTransformation, seed: int, params: Params | None = None
    ) -> TrainState:
        state = new_state(model, optimizer, seed, params, self.config.tuning)
        return jax.device_put(state, self._everywhere(self.devices))

    def abstract_state(self, model: RewardModel, optimizer: optax.GradientTransformation) -> TrainState:
        state = jax.eval_shape(lambda: new_state(model, optimizer, 0, tuning=self.config.tuning))
        place = self._everywhere(self.devices if jax.process_count() == 1 else tuple(jax.devices()))
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place), state)

    def abstract_params(self, model: RewardModel) -> Params:
        """On every device, so that no call has to send them there; over several processes on the first of each."""
        params = super().abstract_params(model)
        if jax.process_count() > 1:
            return params
        return jax.tree.map(lambda leaf: leaf.update(sharding=self._everywhere(self.devices)), params)

    def to_shared(self, state: TrainState) -> TrainState:
        """A step gives each process arrays of its own devices, of which nothing says that they are everywhere the
        same."""
        if jax.process_count() == 1:
            return state
        return multihost_utils.host_local_array_to_global_array(state, self._all_devices, PartitionSpec())

    def to_own(self, state: TrainState) -> TrainState:
        if jax.process_count() == 1:
            return state
        return multihost_utils.global_array_to_host_local_array(state, self._all_devices, PartitionSpec())

    def put(self, batch: PreferenceBatch) -> PreferenceBatch:
        if isinstance(batch.tokens, jax.Array) and batch.tokens.sharding == self._sharding:
            return batch
        return self._put(batch)

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

    def _everywhere(self, devices: tuple[Device, ...]) -> NamedSharding | SingleDeviceSharding:
        """Of a state: whole on each of the devices, or on the one there is."""
        return NamedSharding(Mesh(np.array(devices), (AXIS,)), PartitionSpec()) if self._pmap else self._sharding

    def _put(self, rows: Any) -> Any:
        """Arrays of this process's rows, [rows, ...], on its devices; under pmap as [devices, rows / devices, ...]."""
        if self._pmap:
            rows = jax.tree.map(lambda array: array.reshape(len(self.devices), -1, *array.shape[1:]), rows)
        return jax.device_put(rows, self._sharding)


def make_parallel(config: ExperimentConfig, devices: tuple[Device, ...] | None = None) -> Parallel:
    """As ``config.parallel`` says.

    Args:
      config: of a run.
      devices: by default all of this process, of which ``Strategy.JIT`` takes the first; for ``Strategy.MESH`` all of
        all processes.

    Raises:
      ConfigError: if the devices are too many or too few.
    """
    if config.parallel.strategy is Strategy.MESH:
        devices = tuple(jax.devices()) if devices is None else devices
        return MeshParallel(config, devices, make_mesh(config.parallel, devices))
    devices = tuple(jax.local_devices()) if devices is None else devices
    if config.parallel.strategy is Strategy.PMAP:
        return Replicated(config, devices)
    if jax.process_count() > 1:
        raise ConfigError(
            f"config.parallel.strategy is {Strategy.JIT.value!r}, which is for one device; it must be "
            f"{Strategy.PMAP.value!r} or {Strategy.MESH.value!r} over {jax.process_count()} processes"
        )
    return Replicated(config, devices[:1])


def make_parallel_here(config: ExperimentConfig) -> Parallel:
    """For computing rewards with a trained model, on whatever machine: as the run was laid out, but on devices that its
    mesh doesn't fit the model is whole on each."""
    try:
        return make_parallel(config)
    except ConfigError:
        if config.parallel.strategy is not Strategy.MESH:
            raise
        return Replicated(config, tuple(jax.local_devices()))


def describe_devices() -> dict[str, str | int]:
    """Of all processes: what the devices are and how many there are."""
    devices = jax.devices()
    return {"kind": devices[0].device_kind, "count": len(devices), "processes": jax.process_count()}


def make_model(config: ModelConfig, vocabulary_size: int, adapters: Adapters | None = None) -> RewardModel:
    """The reward model, with the attention that suits the devices where the config leaves it open.

    A run's has the adapters that ``rmjax.training.tuning.adapters_of`` gives.
    """
    device = jax.local_devices()[0]
    if config.attention is AttentionKind.AUTO:
        kind = chosen_kind(config.attention, device)
        logging.info("attention is %r, which suits %s", kind.value, device.device_kind)
    return RewardModel(model_shape(config, adapters), vocabulary_size, choose_attention(config.attention, device))


def make_model_here(config: ModelConfig, vocabulary_size: int, adapters: Adapters | None = None) -> RewardModel:
    """For computing rewards with a trained model, on whatever machine: with the attention that suits the devices where
    kernels that it was trained with don't run on them. All kinds give the same rewards but for rounding."""
    device = jax.local_devices()[0]
    if config.attention is AttentionKind.PALLAS and not has_kernels(device):
        logging.info("trained with kernels for attention, read with what %s has", device.device_kind)
        config = dataclasses.replace(config, attention=AttentionKind.AUTO)
    return make_model(config, vocabulary_size, adapters)


def default_placement() -> SingleDeviceSharding:
    """Where an array lies of which nobody says where: on the first device of this process."""
    return SingleDeviceSharding(jax.local_devices()[0])
