r"""What do adapters of the shape of Qwen3 8B take, and how fast could they be trained?

    python -m rmjax.dryrun --config=experiments/qwen3_8b.py --topology=v5e:2x4
    python -m rmjax.train --config=experiments/qwen3_8b.py --workdir=gs://BUCKET/runs/qwen3_8b

Hardware: a v5litepod-8. The dimensions are the published ones; the weights are new.
It was compiled for that slice (BUILD.md has the figures), not run on one.
"""

from experiments import lora_base
from rmjax.config import ExperimentConfig


def get_config() -> ExperimentConfig:
    config = lora_base.get_config()
    config.text.vocabulary_size = 151_936
    config.model.width = 4096
    config.model.layers = 36
    config.model.attention_heads = 32
    config.model.key_value_heads = 8
    config.model.head_size = 128
    config.model.mlp_width = 12_288
    config.model.rope_theta = 1_000_000.0
    config.model.query_key_norm = True
    config.parallel.fsdp = 8
    config.batch.rows = 8
    return config
