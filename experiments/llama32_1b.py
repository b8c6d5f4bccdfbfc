r"""What does a reward model of the shape of Llama 3.2 1B take, and how fast could it be?

    python -m rmjax.dryrun --config=experiments/llama32_1b.py --topology=v5e:2x4
    python -m rmjax.train --config=experiments/llama32_1b.py --workdir=gs://BUCKET/runs/llama32_1b

Hardware: a v5litepod-8. The dimensions are the published ones; the weights are new.
It was compiled for that slice, not run on one.
"""

from experiments import llama_base
from rmjax.config import ExperimentConfig


def get_config() -> ExperimentConfig:
    config = llama_base.get_config()
    config.model.width = 2048
    config.model.layers = 16
    config.model.attention_heads = 32
    config.model.key_value_heads = 8
    config.model.head_size = 64
    config.model.mlp_width = 8192
    config.parallel.fsdp = 8
    config.batch.rows = 8
    return config
