r"""What do adapters of the shape of Mistral 7B v0.1 take, and how fast could they be trained?

    python -m rmjax.dryrun --config=experiments/mistral_7b.py --topology=v5e:2x4
    python -m rmjax.train --config=experiments/mistral_7b.py --workdir=gs://BUCKET/runs/mistral_7b

Hardware: a v5litepod-8. The dimensions are the published ones; the weights are new.
It was neither compiled for that slice nor run on one.
"""

from experiments import lora_base
from rmjax.config import ExperimentConfig


def get_config() -> ExperimentConfig:
    config = lora_base.get_config()
    config.text.vocabulary_size = 32_000
    config.model.width = 4096
    config.model.layers = 32
    config.model.attention_heads = 32
    config.model.key_value_heads = 8
    config.model.head_size = 128
    config.model.mlp_width = 14_336
    config.model.rope_theta = 10_000.0
    config.model.norm_epsilon = 1e-5
    config.model.attention_window = 4096
    config.parallel.fsdp = 8
    config.batch.rows = 8
    return config
