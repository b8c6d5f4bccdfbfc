"""rmjax's training on one device as a side: ``python -m benchmarks.side_gpu FOLDER ATTENTION``.

ATTENTION is a kind of ``config.model.attention``, or ``cudnn`` or ``xla`` for ``benchmarks.fused_attention``. Weights
are new. Answers ``{"steps": n}`` as ``benchmarks.side_training`` does, with the device and, of a GPU, the peak of its
memory; ``{"matmul": size}`` with what a bfloat16 product reaches.
"""

import contextlib
import json
import sys
from pathlib import Path

import jax
import jax.numpy as jnp

from benchmarks.fused_attention import fused_attention
from benchmarks.side_training import matmul_flops, prepare_new, stream, train
from benchmarks.sides import Answer, questions, reporting
from benchmarks.workload import read_shared
from rmjax.config import AttentionKind
from rmjax.models.attention import Attention
from rmjax.models.attention_choice import choose_attention
from rmjax.models.reward import RewardModel
from rmjax.training.state import TrainState


def choose(name: str, platform: str) -> Attention:
    """The implementation of that name."""
    if name == "cudnn" or name == "xla":
        return fused_attention(name)
    return choose_attention(AttentionKind(name), platform)


def with_queries(state: TrainState) -> TrainState:
    """Queries start at zero; as these would make products of zeros, which take a GPU less power, they are made new."""
    params = dict(state.params)
    backbone = dict(params["backbone"])
    layers = dict(backbone["layers"])
    branch = dict(layers["attention_branch"])
    kernel = branch["query"]["kernel"]
    scale = kernel.shape[-2] ** -0.5
    new = scale * jax.random.normal(jax.random.PRNGKey(0), kernel.shape, kernel.dtype)
    branch["query"] = {"kernel": jax.device_put(new, kernel.sharding)}
    layers["attention_branch"], backbone["layers"], params["backbone"] = branch, layers, backbone
    return state.replace(params=params)


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
        model = RewardModel(config.model, vocabulary, choose(attention, jax.local_devices()[0].platform))
        parallel, take_step, state = prepare_new(config, model)
        state = with_queries(state)
        with contextlib.closing(stream(config, parallel, pairs)) as batches:  # pyright: ignore[reportArgumentType] it is a generator
            for question in asked:
                if "matmul" in question:
                    answer({"flops": matmul_flops(question["matmul"], dtype=jnp.bfloat16.dtype.name)})
                else:
                    state, found = train(take_step, state, batches, question["steps"])
                    answer(found | about_device())


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
