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
    attention = choose_attention(config.model.attention, "tpu")
    model = parallel.fit(RewardModel(config.model, config.text.vocabulary_size, attention))
    optimizer = make_optimizer(config.optimizer, config.steps)
    state = parallel.abstract_state(model, optimizer)
    lowered = parallel.lower_train(make_train_step(model, config, optimizer), state, _abstract_batch(config))
    compiled = lowered.compile()
    memory = compiled.memory_analysis()
    assert memory is not None, "the TPU compiler knows what a program takes"
    sent = collective_bytes(compiled.as_text())
    peak = memory.argument_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes
    peak += memory.temp_size_in_bytes + memory.generated_code_size_in_bytes
    tokens = config.batch.rows * config.batch.row_length
    work = {"tokens": tokens, "visible_pairs": tokens * lengths.seen}
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
        flops=training_flops(config.model, **work),
        compute_seconds=_executed_flops(config, work) / len(devices) / chip.flops,
        memory_seconds=_memory_bytes(config, memory) / chip.hbm_bandwidth,
        interconnect_seconds=sent.total() / chip.interconnect_bandwidth,
        lengths=lengths,
    )


def _executed_flops(config: ExperimentConfig, work: dict[str, float]) -> float:
    """With what the backward pass computes again: all of the forward pass, or its attention."""
    again = {Remat.NONE: 0.0, Remat.FULL: forward_flops(config.model, **work)}
    attention = forward_flops(config.model, **work) - 2.0 * matrix_parameters(config.model) * work["tokens"]
    return training_flops(config.model, **work) + again.get(config.model.remat, attention)


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
    """A batch of all rows, with slots for as many responses as the config says, or two for each 64 tokens."""
    rows, length = config.batch.rows, config.batch.row_length
    responses = config.batch.responses_per_row or -(-length // 256) * 8
    comparisons = config.batch.comparisons_per_row or responses // 2
    widths = dict.fromkeys(("tokens", "positions", "visible_until"), length)
    widths |= dict.fromkeys(("response_end", "response_id"), responses)
    floats = ("probability", "margin", "weight")
    return PreferenceBatch(
        **{
            name: jax.ShapeDtypeStruct(
                (rows, widths.get(name, comparisons)), np.dtype("float32" if name in floats else "int32")
            )
            for name in PreferenceBatch._fields
        }
    )


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
