"""rmjax's training on one device as a side: ``python -m benchmarks.side_gpu FOLDER ATTENTION``.

ATTENTION is a kind of ``config.model.attention``, or ``cudnn`` or ``xla`` for ``benchmarks.fused_attention``. Weights
are new. Answers ``{"steps": n}`` as ``benchmarks.side_training`` does, with the device and, of a GPU, the peak of its
memory; ``{"matmul": size}`` with what a bfloat16 product reaches.
"""

import json
import sys
from pathlib import Path

import jax

from benchmarks.fused_attention import fused_attention
from benchmarks.side_training import answer_all, prepare_new
from benchmarks.sides import Answer, questions, reporting
from benchmarks.workload import read_shared, with_queries
from rmjax.model_config import AttentionKind
from rmjax.models.attention import Attention
from rmjax.models.attention_choice import choose_attention
from rmjax.models.reward import RewardModel


def choose(name: str) -> Attention:
    """The implementation of that name."""
    if name == "cudnn" or name == "xla":
        return fused_attention(name)
    return choose_attention(AttentionKind(name), jax.local_devices()[0])


def about_device() -> Answer:
    """Its kind, and the peak of its memory where it has one of its own (on a CPU that of the process stands)."""
    device = jax.local_devices()[0]
    found: Answer = {"device": device.device_kind}
    if device.platform != "cpu":
        found["peak_gib"] = device.memory_stats()["peak_bytes_in_use"] / 2**30
    return found


def main(folder: Path, attention: str) -> None:
    asked, answer = questions()
    with reporting(answer):
        config, pairs = read_shared(folder)
        vocabulary = json.loads((folder / "llama.json").read_text())["vocab_size"]
        model = RewardModel(config.model, vocabulary, choose(attention))
        parallel, take_step, state = prepare_new(config, model)
        state = state.replace(params=with_queries(state.params, seed=0))
        answer_all(asked, answer, (parallel, take_step, state), config, pairs, dtype="bfloat16", about=about_device)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
