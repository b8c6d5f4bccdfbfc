"""What the fine-tuning experiments share: adapters beside a base in bfloat16, a mesh that splits it, both sides of HH.

Not an experiment itself. Alone such an experiment begins with new weights: it is a shape, for ``python -m
rmjax.dryrun`` and for a base that is read into it.
"""

from experiments import llama_base
from rmjax.config import ExperimentConfig
from rmjax.model_config import ComputeDtype


def get_config() -> ExperimentConfig:
    config = llama_base.get_config()
    config.tuning.lora_rank = 16
    config.tuning.lora_alpha = 32.0
    config.tuning.frozen_dtype = ComputeDtype.BFLOAT16
    config.optimizer.learning_rate = 2e-4
    config.optimizer.weight_decay = 0.0
    config.model.norm_epsilon = 1e-6
    return config
