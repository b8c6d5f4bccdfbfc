"""A train step compiled for TPUs that aren't there: does it fit, what does it send, how fast can it be at best?

The step, the model and the layout are those of a run; the arrays are abstract, so neither weights nor memory are
needed.
"""

import dataclasses
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rmjax.batches.batch import PreferenceBatch
from rmjax.config import ConfigError, ExperimentConfig, Remat, Strategy, validate
from rmjax.models.attention_choice import choose_attention
from rmjax.models.flops import forward_flops, matrix_parameters, training_flops
from rmjax.models.reward import RewardModel, parameter_count
from rmjax.training.chips import GIB, Chip, chip_of, devices_of
from rmjax.training.collectives import collective_bytes
from rmjax.training.mesh import MeshParallel, make_mesh
from rmjax.training.optimizer import make_optimizer
from rmjax.training.step import make_train_step

RESERVED = 0.97  # of a chip's memory a program can have; the runtime keeps the rest


@dataclass(frozen=True, kw_only=True)
class PairLengths:
    """The tokens of a pair; by default the means of Anthropic's HH (``python -m benchmarks.packing``).

    Attributes:
      distinct: tokens with the prompt once.
      padded: tokens that a trainer computes which encodes both conversations and pads batches of 16 pairs.
      seen: how many tokens a token sees on average, itself counted.
    """

    distinct: float = 238.0
    padded: float = 1108.0
    seen: float = 174.0


@dataclass(frozen=True, kw_only=True)
class DryRun:
    """What is known of a step without running it; bytes and seconds are of one chip.

    Attributes:
      argument_bytes, temporary_bytes, peak_bytes: as the compiler lays them out; the state is among the arguments.
      collectives: bytes sent, by kind.
      flops: the arithmetic that must be done, over all chips, nothing counted twice.
      compute_seconds, memory_seconds, interconnect_seconds: the least time for the arithmetic (with what is computed
        again), for the memory traffic, and for what is sent, each as if it were alone.
    """

    topology: str
    chips: int
    parameters: int
    rows: int
    row_length: int
    argument_bytes: int
    temporary_bytes: int
    peak_bytes: int
    hbm_bytes: int
    collectives: dict[str, int]
    flops: float
    compute_seconds: float
    memory_seconds: float
    interconnect_seconds: float
    lengths: PairLengths

    @property
    def fits(self) -> bool:
        return self.peak_bytes <= RESERVED * self.hbm_bytes

    @property
    def roofline_seconds(self) -> float:
        """The least time of a step: as if all three overlapped without a gap."""
        return max(self.compute_seconds, self.memory_seconds, self.interconnect_seconds)

    @property
    def bound(self) -> str:
        """Which of the three it is."""
        parts = {
            "compute": self.compute_seconds, "memory": self.memory_seconds, "interconnect": self.interconnect_seconds,
        }  # fmt: skip
        return max(parts, key=parts.__getitem__)

    @property
    def pairs_per_second(self) -> float:
        """At the roofline, with full rows."""
        return self.rows * self.row_length / self.lengths.distinct / self.roofline_seconds

    @property
    def padded_pairs_per_second(self) -> float:
        """What a trainer would reach that spends the same time on a token, but pads and computes prompts twice."""
        return self.pairs_per_second * self.lengths.distinct / self.lengths.padded

    def to_json(self) -> dict[str, Any]:
        """All of it as plain values."""
        return {
            "topology": self.topology, "chips": self.chips, "parameters": self.parameters, "rows": self.rows,
            "row_length": self.row_length, "arguments_gib": self.argument_bytes / GIB,
            "temporaries_gib": self.temporary_bytes / GIB, "peak_gib": self.peak_bytes / GIB,
            "hbm_gib": self.hbm_bytes / GIB, "fits": self.fits,
            "collective_gib": {kind: size / GIB for kind, size in sorted(self.collectives.items())},
            "flops": self.flops, "compute_seconds": self.compute_seconds, "memory_seconds": self.memory_seconds,
            "interconnect_seconds": self.interconnect_seconds, "roofline_seconds": self.roofline_seconds,
            "bound": self.bound, "pairs_per_second": self.pairs_per_second,
            "padded_pairs_per_second": self.padded_pairs_per_second,
        }  # fmt: skip


def dry_run(config: ExperimentConfig, topology: str, lengths: PairLengths | None = None) -> DryRun:
    """Compiles the step of a run for a slice of TPUs.

    Args:
      config: of an experiment whose strategy is the mesh; ``text.vocabulary_size`` is that of the model.
      topology: as the TPU compiler names it, ``v5e:4x4``.
      lengths: of the pairs that the rows will hold.

    Raises:
      ConfigError, TopologyError: for what can't be laid out so.
    """
    validate(config)
    if config.parallel.strategy is not Strategy.MESH:
        raise ConfigError(
            f"config.parallel.strategy is {config.parallel.strategy.value!r}; it must be 'mesh', the one that is "
            "compiled for a slice of TPUs"
        )
    lengths = lengths or PairLengths()
    chip, devices = chip_of(topology), devices_of(topology)
    parallel = MeshParallel(config, devices, make_mesh(config.parallel, devices))
    parallel.check_rows()
    model = parallel.fit(_tpu_model(config))
    optimizer = make_optimizer(config.optimizer, config.steps)
    state = parallel.abstract_state(model, optimizer)
    lowered = parallel.lower_train(make_train_step(model, config, optimizer), state, _abstract_batch(config))
    compiled = lowered.compile()
    memory, text = compiled.memory_analysis(), compiled.as_text()
    assert memory is not None, "the TPU compiler says what a program takes"
    assert text is not None, "and shows it"
    sent = collective_bytes(text)
    peak = memory.argument_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes
    peak += memory.temp_size_in_bytes + memory.generated_code_size_in_bytes
    work = _Work(config, lengths)
    return DryRun(
        topology=topology,
        chips=len(devices),
        parameters=parameter_count(state.params),
        rows=config.batch.rows,
        row_length=config.batch.row_length,
        argument_bytes=memory.argument_size_in_bytes,
        temporary_bytes=memory.temp_size_in_bytes,
        peak_bytes=peak,
        hbm_bytes=chip.hbm_bytes,
        collectives=dict(sent),
        flops=work.needed,
        compute_seconds=work.executed / len(devices) / chip.flops,
        memory_seconds=_memory_bytes(config, memory) / chip.hbm_bandwidth,
        interconnect_seconds=sent.total() / chip.interconnect_bandwidth,
        lengths=lengths,
    )


def _tpu_model(config: ExperimentConfig) -> RewardModel:
    return RewardModel(config.model, config.text.vocabulary_size, choose_attention(config.model.attention, "tpu"))


@dataclass(frozen=True)
class _Work:
    """The arithmetic of a step with full rows."""

    config: ExperimentConfig
    lengths: PairLengths

    @property
    def needed(self) -> float:
        """What must be done, nothing counted twice."""
        tokens = float(self.config.batch.rows * self.config.batch.row_length)
        return training_flops(self.config.model, tokens=tokens, visible_pairs=tokens * self.lengths.seen)

    @property
    def executed(self) -> float:
        """With what the backward pass computes again: all of the forward pass, or its attention."""
        tokens, model = float(self.config.batch.rows * self.config.batch.row_length), self.config.model
        if model.remat is Remat.NONE:
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
    rows, length = config.batch.rows, config.batch.row_length
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


def variants(config: ExperimentConfig, chip: Chip, chips: int) -> Iterator[ExperimentConfig]:
    """Configs of the same experiment that differ in mesh, rows for each chip and remat: what ``--sweep`` tries.

    Tensor parallelism of at most 4 (and of key and value heads that divide), one data axis over what is left of it:
    fully sharded where parameters and optimizer state are too large to be whole on every chip.
    """
    for tensor, remat, rows in itertools.product((1, 2, 4), (Remat.FULL, Remat.DOTS), (1, 2, 4, 8)):
        if chips % tensor or config.model.attention_heads % tensor:
            continue
        parallel = dataclasses.replace(config.parallel, fsdp=chips // tensor, tensor=tensor)
        yield dataclasses.replace(
            config,
            parallel=parallel,
            model=dataclasses.replace(config.model, remat=remat),
            batch=dataclasses.replace(config.batch, rows=rows * chips // tensor),
        )
