"""What the experiments on Anthropic's HH share: a model small enough for 1,600 pairs, and much dropout.

Not an experiment itself. ``--config.data.manual_dir=FOLDER`` reads the published files from a folder instead of
downloading them.
"""

from experiments import base
from rmjax.config import BestBy, ExperimentConfig, OnError


def get_config() -> ExperimentConfig:
    config = base.get_config()
    config.steps = 120
    config.evaluate_every = 20
    config.best_by = BestBy.ACCURACY  # of so few pairs a model becomes too sure before it is at its most accurate
    config.data.on_error = OnError.SKIP  # four training responses are beyond the limit: skipped and counted
    config.data.validation_fraction = 0.1
    config.text.max_prompt_tokens = 64
    config.text.max_response_tokens = 608
    config.batch.row_length = 1280
    config.batch.rows = 5
    config.model.width = 64
    config.model.layers = 1
    config.model.attention_heads = 2
    config.model.key_value_heads = 2
    config.model.mlp_width = 128
    config.model.dropout = 0.5
    config.optimizer.learning_rate = 1e-3
    config.optimizer.weight_decay = 0.1
    return config
