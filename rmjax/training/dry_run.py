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
from rmjax.training.step import make_train_step
from rmjax.training.tuning import LAYERS, adapters_of, split


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
    return compiled_run(config, abstract_run(config, topology, lengths or PairLengths()))


def check(config: ExperimentConfig) -> None:
    """ConfigError for an experiment that isn't right, isn't laid over a mesh, or leaves its rows to the data.

    It needn't say what it learns from.
    """
    if config.pretrained is not None and config.model.vocabulary_size is None:
        raise ConfigError(
            f"config.pretrained is {config.pretrained!r}; it must be None, with the architecture in config.model, for "
            "nothing is read in a dry run"
        )
    validate(dataclasses.replace(config, data=DataConfig()))
    row_length_of(config)
    if config.parallel.strategy is not Strategy.MESH:
        raise ConfigError(
            f"config.parallel.strategy is {config.parallel.strategy.value!r}; it must be 'mesh', the one that is "
            "compiled for a slice of TPUs"
        )


def abstract_run(config: ExperimentConfig, topology: str, lengths: PairLengths) -> DryRun:
    """What is known before anything is compiled."""
    parallel, model, optimizer = _parts(config, topology)
    state, chip = parallel.abstract_state(model, optimizer), chip_of(topology)
    work = _Work(config, lengths)
    return DryRun(
        topology=topology,
        chips=parallel.device_count,
        parameters=parameter_count(state.params),
        layout=layout_of(config, parallel.device_count),
        state_bytes=_bytes_of_one(state),
        hbm_bytes=chip.hbm_bytes,
        flops=work.needed,
        compute_seconds=work.executed / parallel.device_count / chip.flops,
        lengths=lengths,
        compiled=None,
    )


def compiled_run(config: ExperimentConfig, known: DryRun) -> DryRun:
    """With what the compiler says of the step of the same config."""
    parallel, model, optimizer = _parts(config, known.topology)
    step, state = make_train_step(model, config, optimizer), parallel.abstract_state(model, optimizer)
    lowered = parallel.lower_train(step, state, _abstract_batch(config))
    try:
        compiled = lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return dataclasses.replace(known, refusal=str(error).splitlines()[0])
    return dataclasses.replace(known, compiled=_read(compiled, config, known.topology))


def _parts(config: ExperimentConfig, topology: str) -> tuple[MeshParallel, RewardModel, optax.GradientTransformation]:
    devices = devices_of(topology)
    parallel = MeshParallel(config, devices, make_mesh(config.parallel, devices))
    parallel.check_rows()
    attention = choose_attention(config.model.attention, devices[0])
    words = config.model.vocabulary_size or config.text.vocabulary_size
    model = parallel.fit(RewardModel(model_shape(config.model, adapters_of(config)), words, attention))
    return parallel, model, make_optimizer(config.optimizer, config.steps)


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
