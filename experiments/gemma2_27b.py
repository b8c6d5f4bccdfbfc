r"""What do adapters of the shape of Gemma 2 27B take, and how fast could they be trained?

    python -m rmjax.dryrun --config=experiments/gemma2_27b.py --topology=v5e:4x4
    python -m rmjax.train --config=experiments/gemma2_27b.py --workdir=gs://BUCKET/runs/gemma2_27b

Hardware: a v5litepod-16. The dimensions are the published ones; the weights are new.
It was compiled for that slice (BUILD.md has the figures), not run on one.
"""

from experiments import gemma2_base
from rmjax.config import ExperimentConfig


def get_config() -> ExperimentConfig:
    config = gemma2_base.get_config(layers=46)
    config.model.width = 4608
    config.model.attention_heads = 32
    config.model.key_value_heads = 16
    config.model.head_size = 128
    config.model.mlp_width = 36_864
    config.model.attention_scale = 144**-0.5
    config.parallel.fsdp = 16
    config.batch.rows = 16
    return config
