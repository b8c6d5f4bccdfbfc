r"""What does a reward model of the shape of Llama 3.1 8B take, and how fast could it be?

    python -m rmjax.dryrun --config=experiments/llama31_8b.py --topology=v5e:4x4
    python -m rmjax.train --config=experiments/llama31_8b.py --workdir=gs://BUCKET/runs/llama31_8b

Hardware: a v5litepod-16. The dimensions are the published ones; the weights are new.
It was compiled for that slice (BUILD.md has the figures), not run on one.
"""

from experiments import llama_base
from rmjax.config import ExperimentConfig


def get_config() -> ExperimentConfig:
    config = llama_base.get_config()
    config.model.width = 4096
    config.model.layers = 32
    config.model.attention_heads = 32
    config.model.key_value_heads = 8
    config.model.head_size = 128
    config.model.mlp_width = 14_336
    config.parallel.fsdp = 16
    config.batch.rows = 16
    return config
