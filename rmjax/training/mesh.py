"""The mesh strategy: jit over a mesh of devices, over which parameters, gradients and optimizer state are split.

A state is one of global arrays, of which each process holds the parts on its devices; it is created, saved and restored
so, and never whole anywhere. XLA inserts what the devices must tell each other.
"""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
import optax
from flax import linen as nn
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as Spec
from jaxtyping import Int

from rmjax.arrays import Array
from rmjax.batches.batch import PreferenceBatch
from rmjax.config import ConfigError, ParallelConfig
from rmjax.models.reward import Params, RewardModel, parameter_axes
from rmjax.training.sharding import AXES, DATA, FSDP, ROWS, axis_rules, shard_attention, shardings_of
from rmjax.training.state import TrainState, new_state
from rmjax.training.step import StepResult, TrainStep
from rmjax.training.strategy import CompiledRewards, CompiledStep, Device, Parallel, PendingRewards, padded
from rmjax.training.tuning import of_trained, trained_from

_OF_A_CPU = " (JAX_NUM_CPU_DEVICES=N makes a CPU N of them)"


def make_mesh(config: ParallelConfig, devices: tuple[Device, ...]) -> Mesh:
    """Of all the devices: ``fsdp`` and ``tensor`` as the config says, ``data`` what is left."""
    parts = config.fsdp * config.tensor
    if len(devices) % parts:
        raise ConfigError(
            f"config.parallel.fsdp * config.parallel.tensor is {config.fsdp} * {config.tensor} = {parts}; it must be a "
            f"divisor of the {len(devices)} devices{_OF_A_CPU if devices[0].platform == 'cpu' else ''}"
        )
    shape = (len(devices) // parts, config.fsdp, config.tensor)
    return jax.make_mesh(shape, AXES, axis_types=(AxisType.Auto,) * len(AXES), devices=devices)


@dataclasses.dataclass(frozen=True)
class MeshParallel(Parallel):
    """Rows are split over the mesh's ``data`` and ``fsdp`` axes; what is split over which axis besides is for
    ``rmjax.training.sharding`` to say.

    Attributes:
      devices: of all processes.
      mesh: of these devices.
    """

    mesh: Mesh

    @property
    def device_count(self) -> int:
        return self.mesh.size

    @property
    def row_parts(self) -> int:
        return self.mesh.shape[DATA] * self.mesh.shape[FSDP]

    @property
    def reward_parts(self) -> int:
        return self.row_parts

    @property
    def _row_parts_in_words(self) -> str:
        return f"{self.device_count} devices / config.parallel.tensor = {self.config.parallel.tensor}"

    def compile_train(self, step: TrainStep) -> CompiledStep:
        self.check_rows()
        compiled: Any = None

        def train(state: TrainState, batch: PreferenceBatch) -> tuple[TrainState, StepResult]:
            nonlocal compiled
            if compiled is None:  # the places are those of the first state
                compiled = self._jit_train(step, state)
            with self._laid_out():
                return compiled(state, self.put(batch))

        return train

    def lower_train(self, step: TrainStep, state: TrainState, batch: PreferenceBatch) -> jax.stages.Lowered:
        """The step on the way to the compiler, for abstract arguments: those of ``abstract_state``, and a batch of all
        rows. So it can be compiled for devices that aren't there."""
        batch = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=self._rows), batch)
        with self._laid_out():
            return self._jit_train(step, state).lower(state, batch)

    def compile_rewards(self, fn: Callable[..., Array]) -> CompiledRewards:
        """Over the devices of all processes: each of them must ask for the same rewards, and is given all of them.

        Parameters that don't lie on the mesh are laid there whole.
        """
        compiled = jax.jit(fn, out_shardings=self._whole)

        def rewards(params: Any, *rows: np.ndarray) -> PendingRewards:
            params = jax.tree.map(self._on_the_mesh, params)
            filled = padded(rows, self.row_parts)
            split = [jax.make_array_from_callback(array.shape, self._rows, array.__getitem__) for array in filled]
            with self._laid_out():
                values = np.asarray(compiled(params, *split))  # at once: on CPUs exchanges of two calls may lock
            return lambda: values[: len(rows[0])]

        return rewards

    def new_state(
        self, model: RewardModel, optimizer: optax.GradientTransformation, seed: int, params: Params | None = None
    ) -> TrainState:
        return self._jit_new_state(model, optimizer)(seed, params)

    def abstract_state(self, model: RewardModel, optimizer: optax.GradientTransformation) -> TrainState:
        """What the optimizer holds for a parameter lies where that does."""
        tuning = self.config.tuning
        state = jax.eval_shape(lambda: new_state(model, optimizer, 0, tuning=tuning))
        params = self._places(model)
        opt_state = optax.tree.map_params(
            optimizer,
            lambda _, place: place,
            state.opt_state,
            of_trained(params, trained_from(state.params, tuning)),
            transform_non_params=lambda _: self._whole,
        )
        places = jax.tree.map(lambda _: self._whole, state).replace(params=params, opt_state=opt_state)
        return _placed(state, places)

    def abstract_params(self, model: RewardModel) -> Params:
        return _placed(super().abstract_params(model), self._places(model))

    def fit(self, model: RewardModel) -> RewardModel:
        return model.clone(attention=shard_attention(model.attention, self.mesh))

    def own_rows(self, rows: int) -> Int[np.ndarray, "own"]:
        """Processes whose devices differ along ``tensor`` alone read the same rows."""
        size = rows // self.row_parts
        return (self._own_parts[:, None] * size + np.arange(size)).reshape(-1)

    def put(self, batch: PreferenceBatch) -> PreferenceBatch:
        if isinstance(batch.tokens, jax.Array) and batch.tokens.sharding == self._rows:
            return batch
        return jax.tree.map(self._from_own_rows, batch)

    def _from_own_rows(self, own: np.ndarray) -> Array:
        """The global array of whose rows these are this process's; they needn't lie next to each other in it."""
        size = len(own) // len(self._own_parts)

        def part(index: Any) -> np.ndarray:
            place = int(np.searchsorted(self._own_parts, (index[0].start or 0) // size))
            return own[place * size : (place + 1) * size]

        return jax.make_array_from_callback((size * self.row_parts, *own.shape[1:]), self._rows, part)

    @functools.cached_property
    def _own_parts(self) -> Int[np.ndarray, "parts"]:
        """Which parts of the rows lie on devices of this process, in ascending order."""
        parts = self.mesh.devices.reshape(self.row_parts, -1)
        own = [any(device.process_index == jax.process_index() for device in devices) for devices in parts]
        return np.flatnonzero(own)

    @functools.cached_property
    def _rows(self) -> NamedSharding:
        return NamedSharding(self.mesh, Spec(ROWS))

    @functools.cached_property
    def _whole(self) -> NamedSharding:
        return NamedSharding(self.mesh, Spec())

    def _places(self, model: RewardModel) -> Params:
        return shardings_of(parameter_axes(model), axis_rules(self.config.model, self.mesh), self.mesh)

    def _on_the_mesh(self, leaf: Any) -> Any:
        here = isinstance(leaf, jax.Array) and leaf.sharding.device_set == self._whole.device_set
        return leaf if here else jax.device_put(leaf, self._whole)

    def _jit_new_state(self, model: RewardModel, optimizer: optax.GradientTransformation) -> Any:
        places = jax.tree.map(lambda leaf: leaf.sharding, self.abstract_state(model, optimizer))
        new = functools.partial(new_state, model, optimizer, tuning=self.config.tuning)
        return jax.jit(new, static_argnums=0, donate_argnums=1, out_shardings=places)

    def _jit_train(self, step: TrainStep, state: TrainState) -> Any:
        places = jax.tree.map(lambda leaf: leaf.sharding, state)
        return jax.jit(step, donate_argnums=0, in_shardings=(places, self._rows), out_shardings=(places, self._whole))

    @contextlib.contextmanager
    def _laid_out(self) -> Iterator[None]:
        """Gives the names of axes that the model uses their meaning."""
        with jax.set_mesh(self.mesh), nn.logical_axis_rules(axis_rules(self.config.model, self.mesh)):
            yield


def _placed(abstract: Any, places: Any) -> Any:
    return jax.tree.map(
        lambda leaf, place: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place), abstract, places
    )
