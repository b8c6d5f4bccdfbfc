r"""What does a reward model of the shape of Llama 3.1 70B take, and how fast could it be?

    python -m rmjax.dryrun --config=experiments/llama31_70b.py --topology=v5p:4x4x4
    python -m rmjax.train --config=experiments/llama31_70b.py --workdir=gs://BUCKET/runs/llama31_70b

Hardware: a v5p-128. The dimensions are the published ones; the weights are new.
It was compiled for that slice (BUILD.md has the figures), not run on one.
"""

from experiments import llama_base
from rmjax.config import ExperimentConfig


def get_config() -> ExperimentConfig:
    config = llama_base.get_config()
    config.model.width = 8192
    config.model.layers = 80
    config.model.attention_heads = 64
    config.model.key_value_heads = 8
    config.model.head_size = 128
    config.model.mlp_width = 28_672
    config.parallel.fsdp = 16
    config.parallel.tensor = 4  # over 64 chips in one axis the compiler sends 4.5 times as much (BUILD.md)
    config.batch.rows = 64
    return config
