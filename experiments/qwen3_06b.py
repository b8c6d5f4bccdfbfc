r"""What do adapters of the shape of Qwen3 0.6B take, and how fast could they be trained?

    python -m rmjax.dryrun --config=experiments/qwen3_06b.py --topology=v5e:2x2
    python -m rmjax.train --config=experiments/qwen3_06b.py --workdir=gs://BUCKET/runs/qwen3_06b

Hardware: a v5litepod-4. The dimensions are the published ones; the weights are new.
It was neither compiled for that slice nor run on one.
"""

from experiments import lora_base
from rmjax.config import ExperimentConfig


def get_config() -> ExperimentConfig:
    config = lora_base.get_config()
    config.text.vocabulary_size = 151_936
    config.model.width = 1024
    config.model.layers = 28
    config.model.attention_heads = 16
    config.model.key_value_heads = 8
    config.model.head_size = 128
    config.model.mlp_width = 3072
    config.model.rope_theta = 1_000_000.0
    config.model.query_key_norm = True
    config.parallel.fsdp = 4
    config.batch.rows = 4
    return config
