r"""What do adapters of the shape of Gemma 2 9B take, and how fast could they be trained?

    python -m rmjax.dryrun --config=experiments/gemma2_9b.py --topology=v5e:2x4
    python -m rmjax.train --config=experiments/gemma2_9b.py --workdir=gs://BUCKET/runs/gemma2_9b

Hardware: a v5litepod-8. The dimensions are the published ones; the weights are new.
It was neither compiled for that slice nor run on one.
"""

from experiments import gemma2_base
from rmjax.config import ExperimentConfig


def get_config() -> ExperimentConfig:
    config = gemma2_base.get_config(layers=42)
    config.model.width = 3584
    config.model.attention_heads = 16
    config.model.key_value_heads = 8
    config.model.head_size = 256
    config.model.mlp_width = 14_336
    config.parallel.fsdp = 8
    config.batch.rows = 8
    return config
