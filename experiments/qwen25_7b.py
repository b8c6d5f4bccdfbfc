r"""What do adapters of the shape of Qwen2.5 7B take, and how fast could they be trained?

    python -m rmjax.dryrun --config=experiments/qwen25_7b.py --topology=v5e:2x4
    python -m rmjax.train --config=experiments/qwen25_7b.py --workdir=gs://BUCKET/runs/qwen25_7b

Hardware: a v5litepod-8. The dimensions are the published ones; the weights are new.
It was neither compiled for that slice nor run on one.
"""

from experiments import lora_base
from rmjax.config import ExperimentConfig


def get_config() -> ExperimentConfig:
    config = lora_base.get_config()
    config.text.vocabulary_size = 152_064
    config.model.width = 3584
    config.model.layers = 28
    config.model.attention_heads = 28
    config.model.key_value_heads = 4
    config.model.head_size = 128
    config.model.mlp_width = 18_944
    config.model.rope_theta = 1_000_000.0
    config.model.projection_bias = True
    config.parallel.fsdp = 8
    config.batch.rows = 8
    return config
