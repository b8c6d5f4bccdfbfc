"""A train step compiled for TPUs that aren't there: does it fit, what does it send, how fast can it be at best?

The step, the model and the layout are those of a run; the arrays are abstract, so neither weights nor memory are
needed.
"""

import dataclasses
import functools
import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from rmjax.batches.batch import PreferenceBatch
from rmjax.config import ConfigError, DataConfig, ExperimentConfig, Strategy, validate
from rmjax.model_config import Remat
from rmjax.models.attention_choice import choose_attention
from rmjax.models.flops import forward_flops, matrix_parameters, training_flops
from rmjax.models.lora import Names, is_adapter, leaves_of
from rmjax.models.reward import RewardModel, init, parameter_count
from rmjax.models.shape import model_shape
from rmjax.training.chips import chip_of, devices_of, sending_bandwidth
from rmjax.training.collectives import collective_bytes
from rmjax.training.dry_run_result import Compiled, DryRun, PairLengths, layout_of, row_length_of
from rmjax.training.mesh import MeshParallel, make_mesh
from rmjax.training.optimizer import make_optimizer
from rmjax.training.state import TrainState
from rmjax.training.step import make_train_step
from rmjax.training.tuning import LAYERS, adapters_of, check_tuning, split


def dry_run(config: ExperimentConfig, topology: str, lengths: PairLengths | None = None) -> DryRun:
    """Compiles the step of a run for a slice of TPUs.

    Args:
      config: of an experiment whose strategy is the mesh; of ``text.vocabulary_size`` words, if the model says nothing.
      topology: as the TPU compiler names it, ``v5e:4x4``.
      lengths: of the pairs that the rows will hold.

    Raises:
      ConfigError, TopologyError: for what can't be laid out so.
    """
    check(config)
    return LaidOut(config, topology, lengths or PairLengths()).compiled()


def check(config: ExperimentConfig) -> None:
    """ConfigError for an experiment that isn't right, isn't laid over a mesh, or leaves its rows to the data: one that
    says all of it.

    It needn't say what it learns from.
    """
    faults = []
    for look in (_check_architecture, _check_fields, row_length_of, _check_strategy):
        try:
            look(config)
        except ConfigError as fault:
            faults.append(str(fault))
    if faults:
        raise ConfigError("\n".join(faults))


def _check_architecture(config: ExperimentConfig) -> None:
    if not _has_architecture(config):
        raise ConfigError(
            f"config.pretrained is {config.pretrained!r}; it must be None, with the architecture in config.model, for "
            "nothing is read in a dry run"
        )


def _has_architecture(config: ExperimentConfig) -> bool:
    return config.pretrained is None or config.model.vocabulary_size is not None


def _check_fields(config: ExperimentConfig) -> None:
    validate(dataclasses.replace(config, data=DataConfig()))
    if _has_architecture(config):
        check_tuning(config)


def _check_strategy(config: ExperimentConfig) -> None:
    if config.parallel.strategy is not Strategy.MESH:
        raise ConfigError(
            f"config.parallel.strategy is {config.parallel.strategy.value!r}; it must be 'mesh', the one that is "
            "compiled for a slice of TPUs"
        )


@dataclass(frozen=True)
class LaidOut:
    """The step of a config that ``check`` lets through, on a slice of TPUs: mesh, model and state are made once, when
    they are asked for.

    Attributes:
      config: of the experiment.
      topology: as the TPU compiler names it.
      lengths: of the pairs that the rows will hold.
    """

    config: ExperimentConfig
    topology: str
    lengths: PairLengths

    @functools.cached_property
    def known(self) -> DryRun:
        """What is known before anything is compiled."""
        config, chip, work = self.config, chip_of(self.topology), _Work(self.config, self.lengths)
        return DryRun(
            topology=self.topology,
            chips=self._parallel.device_count,
            parameters=parameter_count(self._state.params),
            layout=layout_of(config, self._parallel.device_count),
            state_bytes=_bytes_of_one(self._state),
            hbm_bytes=chip.hbm_bytes,
            flops=work.needed,
            compute_seconds=work.executed / self._parallel.device_count / chip.flops,
            lengths=self.lengths,
            compiled=None,
        )

    def compiled(self) -> DryRun:
        """With what the compiler says."""
        step = make_train_step(self._model, self.config, self._optimizer)
        lowered = self._parallel.lower_train(step, self._state, _abstract_batch(self.config))
        try:
            compiled = lowered.compile()
        except jax.errors.JaxRuntimeError as error:
            if "RESOURCE_EXHAUSTED" not in str(error):
                raise
            return dataclasses.replace(self.known, refusal=str(error).splitlines()[0])
        return dataclasses.replace(self.known, compiled=_read(compiled, self.config, self.topology))

    @functools.cached_property
    def _parallel(self) -> MeshParallel:
        devices = devices_of(self.topology)
        parallel = MeshParallel(self.config, devices, make_mesh(self.config.parallel, devices))
        parallel.check_rows()
        return parallel

    @functools.cached_property
    def _model(self) -> RewardModel:
        config = self.config
        attention = choose_attention(config.model.attention, self._parallel.devices[0])
        words = config.model.vocabulary_size or config.text.vocabulary_size
        return self._parallel.fit(RewardModel(model_shape(config.model, adapters_of(config)), words, attention))

    @functools.cached_property
    def _optimizer(self) -> optax.GradientTransformation:
        return make_optimizer(self.config.optimizer, self.config.steps)

    @functools.cached_property
    def _state(self) -> TrainState:
        return self._parallel.abstract_state(self._model, self._optimizer)


def _read(compiled: jax.stages.Compiled, config: ExperimentConfig, topology: str) -> Compiled:
    memory, text = compiled.memory_analysis(), compiled.as_text()
    assert memory is not None, "the TPU compiler says what a program takes"
    assert text is not None, "and shows it"
    sent = collective_bytes(text)
    peak = memory.argument_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes
    return Compiled(
        argument_bytes=memory.argument_size_in_bytes,
        temporary_bytes=memory.temp_size_in_bytes,
        peak_bytes=peak + memory.temp_size_in_bytes + memory.generated_code_size_in_bytes,
        collectives=dict(sent),
        memory_seconds=_memory_bytes(config, memory) / chip_of(topology).hbm_bandwidth,
        interconnect_seconds=sent.total() / sending_bandwidth(topology) if sent.total() else 0.0,
    )


def _bytes_of_one(tree: Any) -> int:
    """What abstract arrays take on one chip of those that they lie on."""
    leaves = jax.tree.leaves(tree)
    return sum(math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize for leaf in leaves)


@dataclass(frozen=True)
class _Work:
    """The arithmetic of a step with full rows."""

    config: ExperimentConfig
    lengths: PairLengths

    @property
    def needed(self) -> float:
        """What must be done, nothing counted twice: no gradients of what is frozen, and no backward pass where that is
        the whole backbone."""
        tokens = float(self.config.batch.rows * row_length_of(self.config))
        work, trained = {"tokens": tokens, "visible_pairs": tokens * self.lengths.seen}, self._trained
        if not any(names[0] == "backbone" for names in trained):
            return forward_flops(self.config.model, **work)
        kernels = sum(size for names, size in trained.items() if names[-1] == "kernel" and names[:2] == LAYERS)
        adapters = sum(size for names, size in trained.items() if is_adapter(names))
        frozen = matrix_parameters(self.config.model) - kernels
        return training_flops(self.config.model, **work, frozen=frozen, adapters=adapters)

    @functools.cached_property
    def _trained(self) -> dict[Names, int]:
        """How many numbers of each parameter are trained; the embedding's, which no matrix is, are counted as if it had
        one row."""
        config = self.config
        model = RewardModel(model_shape(config.model, adapters_of(config)), vocabulary_size=1)
        moving = jax.eval_shape(lambda: split(init(model, jax.random.PRNGKey(0)), config.tuning)[0])
        return {names: leaf.size for names, leaf in leaves_of(moving).items()}

    @property
    def executed(self) -> float:
        """With what the backward pass computes again: all of the forward pass, or its attention.

        Scores that attention's own backward pass makes again are not counted, nor what lies beside visible pairs in a
        block: in rows of many conversations they are a few percent.
        """
        tokens, model = float(self.config.batch.rows * row_length_of(self.config)), self.config.model
        if model.remat is Remat.NONE or not any(names[0] == "backbone" for names in self._trained):
            return self.needed
        again = 0.0 if model.remat is Remat.DOTS else tokens
        return self.needed + forward_flops(model, tokens=again, visible_pairs=tokens * self.lengths.seen)


def _memory_bytes(config: ExperimentConfig, memory: Any) -> float:
    """The least traffic of a step: the state is read and written, the weights are read by each pass over each
    microbatch (by a chip those of its tensor share), and what is kept for the backward pass is written and read."""
    passes = 2 + (config.model.remat is Remat.FULL)
    size = jnp.dtype(config.model.compute_dtype.value).itemsize
    weights = matrix_parameters(config.model) * size / config.parallel.tensor
    kept = 2.0 * memory.temp_size_in_bytes
    return (
        memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        + config.parallel.microbatches * (passes * weights + kept)
    )


def _abstract_batch(config: ExperimentConfig) -> PreferenceBatch:
    """A batch of all rows, with slots for as many responses as the config says, or eight for each 256 tokens."""
    rows, length = config.batch.rows, row_length_of(config)
    responses = config.batch.responses_per_row or -(-length // 256) * 8
    comparisons = config.batch.comparisons_per_row or responses // 2

    def array(width: int, dtype: str = "int32") -> Any:
        return jax.ShapeDtypeStruct((rows, width), np.dtype(dtype))

    return PreferenceBatch(
        tokens=array(length), positions=array(length), visible_until=array(length),
        response_end=array(responses), left=array(comparisons), right=array(comparisons), head=array(comparisons),
        probability=array(comparisons, "float32"), margin=array(comparisons, "float32"),
        weight=array(comparisons, "float32"), response_id=array(responses), comparison_id=array(comparisons),
    )  # fmt: skip
