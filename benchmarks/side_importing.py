"""The start of a run on somebody else's weights as a side: ``python -m benchmarks.side_importing FOLDER STRATEGY``.

Any question is answered with what the first state took: ``parameters_gib`` of all devices, ``peak_gib`` of resident
memory above that before, ``seconds``.
"""

import sys
import tempfile
import time
from pathlib import Path

import jax

from benchmarks.sides import questions
from rmjax.config import ExperimentConfig, ParallelConfig, Strategy, TuningConfig
from rmjax.model_config import ComputeDtype
from rmjax.training.begin import begin
from rmjax.training.checkpoint import Checkpoints
from rmjax.training.optimizer import make_optimizer
from rmjax.training.parallel import make_model, make_parallel
from rmjax.training.pretrained import with_architecture
from rmjax.training.tuning import adapters_of


def config_of(folder: Path, strategy: Strategy) -> ExperimentConfig:
    """Of a run with LoRA on those weights, over all devices."""
    fsdp = jax.device_count() if strategy is Strategy.MESH else 1
    return ExperimentConfig(
        pretrained=str(folder),
        parallel=ParallelConfig(strategy=strategy, fsdp=fsdp),
        tuning=TuningConfig(lora_rank=8, frozen_dtype=ComputeDtype.BFLOAT16),
    )


def resident(field: str) -> int:
    """Bytes of this process, by a line of its status: ``VmRSS`` those now, ``VmHWM`` the most so far."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[field].split()[0]) * 1024


def main(folder: Path, strategy: Strategy) -> None:
    asked, answer = questions()
    for _ in asked:
        config = config_of(folder, strategy)
        parallel = make_parallel(config)
        with tempfile.TemporaryDirectory() as home, Checkpoints(Path(home) / "checkpoints") as checkpoints:
            before, began = resident("VmRSS"), time.perf_counter()
            config = with_architecture(config, home)
            model = make_model(config.model, config.model.vocabulary_size or 0, adapters_of(config))
            optimizer = make_optimizer(config.optimizer, config.steps)
            state, _ = begin(config, model, optimizer, checkpoints, parallel)
            jax.block_until_ready(state)
            seconds, peak = time.perf_counter() - began, resident("VmHWM") - before
        parts = [part.data.nbytes for leaf in jax.tree.leaves(state.params) for part in leaf.addressable_shards]
        answer({"parameters_gib": sum(parts) / 2**30, "peak_gib": peak / 2**30, "seconds": seconds})


if __name__ == "__main__":
    main(Path(sys.argv[1]), Strategy(sys.argv[2]))
