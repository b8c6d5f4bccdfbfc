"""How much memory a run takes to begin with somebody else's weights.

    python -m benchmarks.importing [--gib=2] [--shards=5]

Writes random weights in Llama's shape as Hugging Face does, bfloat16 in shards with an index, and lets a process for
each strategy make the first state of a run with LoRA on them, frozen matrices in bfloat16, as ``rmjax.train`` does. One
JSON line each: ``peak_gib`` (the most resident memory above that before it began), ``parameters_gib`` (of all devices,
in their own dtypes), ``largest_shard_gib``, and ``holds``: whether the peak is at most the sum of these two.
"""

import dataclasses
import json
import tempfile
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import app, flags
from flax.traverse_util import unflatten_dict

from benchmarks.sides import CPU, Side, say
from rmjax.config import Strategy
from rmjax.model_config import ModelConfig
from rmjax.models.huggingface_export import theirs_of, write_weights
from rmjax.models.huggingface_names import LAYERS
from rmjax.models.lora import Names, leaves_of
from rmjax.models.reward import RewardModel, init

_GIB = flags.DEFINE_float("gib", 2.0, "Of weights, about: layers are added until there are as many.", lower_bound=0.01)
_SHARDS = flags.DEFINE_integer("shards", 5, "Files of weights.", lower_bound=1)
_STRATEGIES = flags.DEFINE_multi_enum_class("strategy", list(Strategy), Strategy, "Those that are measured.")
_DEVICES = {Strategy.JIT: 1}  # of a CPU; the others have two

VOCABULARY = 32_000
DTYPE = "bfloat16"
SHAPE = ModelConfig(  # Llama 3.2 1B's, but for the words and the layers
    width=2048, layers=1, attention_heads=32, key_value_heads=8, head_size=64, mlp_width=8192
)


def layers_of(shape: ModelConfig, vocabulary_size: int, size: float) -> int:
    """How many layers make up so many bytes of weights, at least one."""
    leaves = leaves_of(abstract(shape, vocabulary_size))
    a_layer = sum(leaf.size for names, leaf in leaves.items() if names[: len(LAYERS)] == LAYERS) / shape.layers
    rest = sum(leaf.size for names, leaf in leaves.items() if names[: len(LAYERS)] != LAYERS)
    return max(1, round((size / np.dtype(jax.numpy.bfloat16).itemsize - rest) / a_layer))


def abstract(shape: ModelConfig, vocabulary_size: int) -> Any:
    return jax.eval_shape(lambda: init(RewardModel(shape, vocabulary_size), jax.random.PRNGKey(0)))


def write_checkpoint(folder: Path, shape: ModelConfig, vocabulary_size: int, shards: int) -> None:
    """Random weights; all layers have the same, so that no more than one of them and a shard is ever in memory."""
    rng = np.random.default_rng(0)

    def fill(names: Names, leaf: Any) -> np.ndarray:
        layered = names[: len(LAYERS)] == LAYERS
        drawn = 0.02 * rng.standard_normal(leaf.shape[1:] if layered else leaf.shape, np.float32)
        return np.broadcast_to(drawn, leaf.shape)

    leaves = leaves_of(abstract(shape, vocabulary_size))
    size = sum(leaf.size for leaf in leaves.values()) * np.dtype(jax.numpy.bfloat16).itemsize
    params = unflatten_dict({names: fill(names, leaf) for names, leaf in leaves.items()})
    theirs = theirs_of(shape, vocabulary_size, longest=2048)
    (folder / "config.json").write_text(json.dumps(theirs))
    write_weights(folder, theirs["model_type"], shape, params, head=0, dtype=DTYPE, shard_bytes=-(-size // shards))


def measured(folder: Path, strategy: Strategy) -> dict[str, Any]:
    """What the process says that begins a run so, beside the largest file of weights."""
    environment = {**CPU, "JAX_NUM_CPU_DEVICES": str(_DEVICES.get(strategy, 2))}
    with Side("benchmarks.side_importing", str(folder), strategy.value, environment=environment) as side:
        found = side.ask()
    shard = max(path.stat().st_size for path in folder.glob("*.safetensors")) / 2**30
    return {
        "strategy": strategy.value,
        **found,
        "largest_shard_gib": shard,
        "holds": found["peak_gib"] <= found["parameters_gib"] + shard,
    }


def main(_: list[str]) -> None:
    layers = layers_of(SHAPE, VOCABULARY, _GIB.value * 2**30)
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home)
        say(f"writing {layers} layers in {_SHARDS.value} shards")
        write_checkpoint(folder, dataclasses.replace(SHAPE, layers=layers), VOCABULARY, _SHARDS.value)
        for strategy in _STRATEGIES.value:
            print(json.dumps(measured(folder, strategy)), flush=True)


if __name__ == "__main__":
    app.run(main)
