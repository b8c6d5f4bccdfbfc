"""What a dry run finds: the memory, the traffic and the least time of a step on a slice of TPUs."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from rmjax.config import ConfigError, ExperimentConfig
from rmjax.training.chips import GIB

RESERVED = 0.97  # of a chip's memory a program can have; the runtime keeps the rest


@dataclass(frozen=True, kw_only=True)
class PairLengths:
    """The tokens of a pair; by default the means of Anthropic's HH, as ``benchmarks.throughput`` draws it.

    Attributes:
      distinct: tokens with the prompt once.
      padded: tokens that a trainer computes which encodes both conversations and pads batches of 16 pairs.
      seen: how many tokens a token sees on average, itself counted.
    """

    distinct: float = 238.0
    padded: float = 1108.0
    seen: float = 174.0


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How a step is laid over the chips: the fields of a config that a dry run compares.

    Attributes:
      data, fsdp, tensor: the mesh.
      rows_per_chip: how many rows a chip takes, in ``microbatches`` parts; with ``tensor`` > 1 it shares them.
    """

    data: int
    fsdp: int
    tensor: int
    rows_per_chip: int
    microbatches: int
    row_length: int
    remat: str
    first_moment_dtype: str

    @property
    def rows(self) -> int:
        """Of a step, over all chips."""
        return self.rows_per_chip * self.data * self.fsdp


def row_length_of(config: ExperimentConfig) -> int:
    """The config's own; ConfigError where it leaves it to the data, of which a dry run has none."""
    length = config.batch.row_length
    if length is None:
        raise ConfigError(
            "config.batch.row_length is None; it must be given, as --config.batch.row_length=2048, where there are no "
            "data to choose it from"
        )
    return length


def layout_of(config: ExperimentConfig, chips: int) -> Layout:
    """Of a config that suits so many chips."""
    parallel = config.parallel
    data = chips // (parallel.fsdp * parallel.tensor)
    return Layout(
        data=data,
        fsdp=parallel.fsdp,
        tensor=parallel.tensor,
        rows_per_chip=config.batch.rows // (data * parallel.fsdp),
        microbatches=parallel.microbatches,
        row_length=row_length_of(config),
        remat=config.model.remat.value,
        first_moment_dtype=config.optimizer.first_moment_dtype.value,
    )


@dataclass(frozen=True, kw_only=True)
class Compiled:
    """What the compiled step says; bytes and seconds are of one chip.

    Attributes:
      argument_bytes, temporary_bytes, peak_bytes: as the compiler lays them out; the state is among the arguments.
      collectives: bytes sent, by kind.
      memory_seconds, interconnect_seconds: the least time for the memory traffic and for what is sent, each as if it
        were alone.
    """

    argument_bytes: int
    temporary_bytes: int
    peak_bytes: int
    collectives: dict[str, int]
    memory_seconds: float
    interconnect_seconds: float


@dataclass(frozen=True, kw_only=True)
class DryRun:
    """What is known of a step without running it.

    Attributes:
      state_bytes: parameters and optimizer state of one chip.
      flops: the arithmetic that must be done, over all chips, nothing counted twice.
      compute_seconds: the least time for it, with what is computed again, as if nothing else took time.
      compiled: None where the compiler refuses, for want of memory.
      refusal: the compiler's words then.
    """

    topology: str
    chips: int
    parameters: int
    layout: Layout
    state_bytes: int
    hbm_bytes: int
    flops: float
    compute_seconds: float
    lengths: PairLengths
    compiled: Compiled | None
    refusal: str = ""

    @property
    def fits(self) -> bool:
        return self.compiled is not None and self.compiled.peak_bytes <= RESERVED * self.hbm_bytes

    @property
    def seconds(self) -> dict[str, float]:
        """The least time of each of the three, or, not compiled, of the arithmetic alone."""
        found = {"compute": self.compute_seconds}
        if self.compiled is not None:
            found |= {"memory": self.compiled.memory_seconds, "interconnect": self.compiled.interconnect_seconds}
        return found

    @property
    def roofline_seconds(self) -> float:
        """The least time of a step: as if all three overlapped without a gap."""
        return max(self.seconds.values())

    @property
    def bound(self) -> str:
        """Which of the three it is."""
        return max(self.seconds, key=self.seconds.__getitem__)

    @property
    def pairs_per_second(self) -> float:
        """At the roofline, with full rows."""
        return self.layout.rows * self.layout.row_length / self.lengths.distinct / self.roofline_seconds

    @property
    def padded_pairs_per_second(self) -> float:
        """What a trainer would reach that spends the same time on a token, but pads and computes prompts twice."""
        return self.pairs_per_second * self.lengths.distinct / self.lengths.padded

    def to_json(self) -> dict[str, Any]:
        """All of it as plain values; of a step that the compiler refuses, None for what it alone could say."""
        layout = {"rows": self.layout.rows} | dataclasses.asdict(self.layout)
        known = {
            "topology": self.topology, "chips": self.chips, "parameters": self.parameters, **layout,
            "state_gib": self.state_bytes / GIB, "hbm_gib": self.hbm_bytes / GIB, "fits": self.fits,
            "flops": self.flops, "compute_seconds": self.compute_seconds,
        }  # fmt: skip
        names = (
            "arguments_gib", "temporaries_gib", "peak_gib", "collective_gib", "memory_seconds", "interconnect_seconds",
            "roofline_seconds", "bound", "pairs_per_second", "padded_pairs_per_second",
        )  # fmt: skip
        compiled = self.compiled
        if compiled is None:
            return known | dict.fromkeys(names) | {"refusal": self.refusal}
        values = (
            compiled.argument_bytes / GIB, compiled.temporary_bytes / GIB, compiled.peak_bytes / GIB,
            {kind: size / GIB for kind, size in sorted(compiled.collectives.items())}, compiled.memory_seconds,
            compiled.interconnect_seconds, self.roofline_seconds, self.bound, self.pairs_per_second,
            self.padded_pairs_per_second,
        )  # fmt: skip
        return known | dict(zip(names, values, strict=True))
