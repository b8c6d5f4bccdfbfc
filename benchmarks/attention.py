"""Each implementation of attention at each length on each structure of rows: time, arithmetic, memory.

    python -m benchmarks.attention [--lengths=1024,2048,4096,8192] [--structures=causal,pairs,best_of_16,window]

Needs no data and no peers. One JSON line for each case and measure:

- ``arithmetic``: ``computed_pairs`` of tokens of an implementation with blocks of ``query_block`` by ``key_block``,
  ``over_visible`` (against the pairs of which one sees the other) and ``over_blocks`` (against all pairs in the blocks
  of that size that hold a visible one, less than which no implementation in blocks can do); ``in_use`` marks the block
  size that ``--config.model.attention`` gives.
- ``time``: ``forward_ms`` and ``training_ms`` (forward and backward), medians over windows in which all implementations
  take turns, and their ``…_ratio``: how many times as long dense attention took, null where it was left out because it
  would need more than 8 GiB.
- ``memory``: ``temporary_mib`` of the compiled forward and backward pass, and ``growth`` since the length before, which
  is ``length_growth`` times shorter. It is compiled and not run, so it has long lengths and dense attention too.
"""

import json
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from benchmarks.sides import Answer, say, use_threads
from benchmarks.structures import (
    BLOCKS,
    IN_USE,
    STRUCTURES,
    Structure,
    computed_by_kernels,
    computed_in_blocks,
    look,
    make_structure,
)
from rmjax.model_config import AttentionKind
from rmjax.models.attention import Attention, ScoreRule
from rmjax.models.attention_choice import choose_attention, has_kernels
from rmjax.models.gpu_attention import default_tiles
from rmjax.models.kernels import BlockSizes
from rmjax.models.tpu_attention import default_sizes

_LENGTHS = flags.DEFINE_list("lengths", ["1024", "2048", "4096", "8192"], "Of the rows that are timed and counted.")
_MEMORY_LENGTHS = flags.DEFINE_list("memory_lengths", ["2048", "8192", "32768"], "Of the rows compiled for.")
_STRUCTURES = flags.DEFINE_list("structures", list(STRUCTURES), "Which structures.")
_KINDS = flags.DEFINE_list("implementations", None, "Which; by default all that run on this device.")
_HEADS = flags.DEFINE_integer("heads", 4, "Query heads.")
_GROUPS = flags.DEFINE_integer("groups", 2, "Key-value heads.")
_SIZE = flags.DEFINE_integer("head_size", 64, "Numbers in a head.")
_DTYPE = flags.DEFINE_enum("dtype", "float32", ["float32", "bfloat16"], "Of queries, keys and values.")
_WINDOWS = flags.DEFINE_integer("windows", 3, "Windows of each implementation.")
_SECONDS = flags.DEFINE_float("seconds", 0.3, "Of a window at least; it has one call at least.")
_THREADS = flags.DEFINE_integer("threads", 2, "Processors.")
_LARGEST = 8 * 2**30  # bytes of temporaries with which dense attention is still run


@dataclass(frozen=True, kw_only=True)
class Compiled:
    """An implementation, compiled for a length."""

    forward: Any
    training: Any

    @property
    def temporary_bytes(self) -> int:
        return self.training.memory_analysis().temp_size_in_bytes


def inputs(row: Structure) -> tuple[jax.Array, ...]:
    """Query, key, value, the places of the tokens, and what is pulled back."""
    random = np.random.default_rng(0)

    def normal(heads: int) -> jax.Array:
        return jnp.asarray(random.standard_normal((1, row.length, heads, _SIZE.value), np.float32), _DTYPE.value)

    places = (jnp.asarray(array[None], jnp.int32) for array in (row.visible_until, row.positions))
    return normal(_HEADS.value), normal(_GROUPS.value), normal(_GROUPS.value), *places, normal(_HEADS.value)


def compile_for(attention: Attention, row: Structure) -> Compiled:
    """Both passes; places are arguments, so nothing is known of them when it is compiled."""
    rule = ScoreRule(window=row.window)

    def forward(query, key, value, visible_until, positions, _):
        return attention(query, key, value, visible_until, positions, rule)

    def pulled_back(query, key, value, visible_until, positions, pulled):
        mixed = attention(query, key, value, visible_until, positions, rule)
        return jnp.vdot(mixed.astype(jnp.float32), pulled.astype(jnp.float32))

    shapes = jax.eval_shape(lambda: inputs(row))
    return Compiled(
        forward=jax.jit(forward, keep_unused=True).lower(*shapes).compile(),
        training=jax.jit(jax.grad(pulled_back, argnums=(0, 1, 2))).lower(*shapes).compile(),
    )


def seconds_of(call: Callable[[], Any]) -> float:
    """Of one call, over as many as fill a window."""
    began, count = time.perf_counter(), 0
    while count == 0 or time.perf_counter() - began < _SECONDS.value:
        jax.block_until_ready(call())
        count += 1
    return (time.perf_counter() - began) / count


def times(name: str, row: Structure, attentions: dict[AttentionKind, Attention]) -> Iterator[Answer]:
    """The lines of a structure and length."""
    compiled = {kind: compile_for(attention, row) for kind, attention in attentions.items()}
    if AttentionKind.DENSE in compiled and compiled[AttentionKind.DENSE].temporary_bytes > _LARGEST:
        say(f"{name} {row.length}: dense would take {compiled[AttentionKind.DENSE].temporary_bytes / 2**30:.1f} GiB")
        del compiled[AttentionKind.DENSE]
    arrays = inputs(row)
    calls = {
        (kind, measure): lambda run=run: run(*arrays)
        for kind, passes in compiled.items()
        for measure, run in (("forward", passes.forward), ("training", passes.training))
    }
    found: dict[tuple[AttentionKind, str], list[float]] = {case: [] for case in calls}
    for call in calls.values():
        jax.block_until_ready(call())
    for _ in range(_WINDOWS.value):
        for case, call in calls.items():
            found[case].append(seconds_of(call))
    for kind in compiled:
        line: Answer = {"measure": "time", "structure": name, "length": row.length, "implementation": kind.value}
        for measure in ("forward", "training"):
            own, dense = found[kind, measure], found.get((AttentionKind.DENSE, measure))
            line[f"{measure}_ms"] = 1000 * statistics.median(own)
            line[f"{measure}_ratio"] = None if dense is None else statistics.median(dense) / statistics.median(own)
        yield line


def arithmetic(name: str, row: Structure) -> Iterator[Answer]:
    """The lines of a structure and length; they need no implementation to be run."""
    visible = look(row)

    def line(kind: AttentionKind, query: int, key: int, computed: int, *, in_use: bool) -> Answer:
        return {
            "measure": "arithmetic",
            "structure": name,
            "length": row.length,
            "implementation": kind.value,
            "query_block": query,
            "key_block": key,
            "in_use": in_use,
            "visible_pairs": visible.pairs,
            "computed_pairs": computed,
            "over_visible": computed / visible.pairs,
            "over_blocks": computed / visible.pairs_in_blocks(query, key),
        }

    yield line(AttentionKind.DENSE, row.length, row.length, row.length**2, in_use=True)
    for kind, used in IN_USE.items():
        for block in BLOCKS:
            yield line(kind, block, block, computed_in_blocks(row, kind, block), in_use=block == used)
    for platform, sizes in kernel_blocks(row.length).items():
        computed = computed_by_kernels(row, sizes)
        yield line(AttentionKind.PALLAS, sizes.query, sizes.key, computed, in_use=True) | {"kernels": platform}


def kernel_blocks(length: int) -> dict[str, BlockSizes]:
    """In which the kernels of each platform take a row of that length."""
    per_group = _HEADS.value // _GROUPS.value
    return {
        "tpu": default_sizes(length, per_group),
        "gpu": default_tiles(length, per_group, _SIZE.value, _DTYPE.value).sizes,
    }


def memory(kind: AttentionKind, attention: Attention, lengths: list[int]) -> Iterator[Answer]:
    """The lines of an implementation; what is compiled depends on the length alone."""
    before: tuple[int, int] | None = None
    for length in lengths:
        size = compile_for(attention, make_structure("causal", length)).temporary_bytes
        line: Answer = {"measure": "memory", "length": length, "implementation": kind.value}
        line |= {"temporary_mib": size / 2**20, "growth": None, "length_growth": None}
        if before is not None:
            line |= {"growth": size / before[1], "length_growth": length / before[0]}
        before = length, size
        yield line


def main(_: list[str]) -> None:
    use_threads(_THREADS.value)
    device = jax.local_devices()[0]
    kinds = [kind for kind in AttentionKind if kind is not AttentionKind.AUTO]
    if _KINDS.value is not None:
        kinds = [AttentionKind(name) for name in _KINDS.value]
    elif not has_kernels(device):
        kinds.remove(AttentionKind.PALLAS)
    attentions = {kind: choose_attention(kind, device) for kind in kinds}
    about = {"platform": device.platform, "heads": _HEADS.value, "groups": _GROUPS.value, "head_size": _SIZE.value}
    about |= {"dtype": _DTYPE.value, "threads": _THREADS.value}

    def show(lines: Iterator[Answer]) -> None:
        for line in lines:
            print(json.dumps(line | about), flush=True)

    for name in _STRUCTURES.value:
        for length in map(int, _LENGTHS.value):
            row = make_structure(name, length)
            show(arithmetic(name, row))
            show(times(name, row, attentions))
    for kind, attention in attentions.items():
        show(memory(kind, attention, sorted(map(int, _MEMORY_LENGTHS.value))))


if __name__ == "__main__":
    app.run(main)
