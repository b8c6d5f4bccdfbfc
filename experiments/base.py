"""What the experiments share: a small model from scratch, float32, for two CPU cores, on generated preferences.

Not an experiment itself; each of the others is a few changes to this one. The limits are those of the synthetic
testbed, whose prompts and responses are short; a row of 256 tokens then holds two or three pairs, and short rows waste
little attention.
"""

from rmjax.config import BestBy, ExperimentConfig


def get_config() -> ExperimentConfig:
    config = ExperimentConfig(steps=3000, evaluate_every=500)
    config.best_by = BestBy.NLL  # accuracies of a few thousand pairs differ by less than their noise, and can't tell a
    # reward that is too sure of itself from a calibrated one
    config.text.vocabulary_size = 2048
    config.text.max_prompt_tokens = 64
    config.text.max_response_tokens = 96
    config.batch.row_length = 256
    config.batch.rows = 8
    config.model.width = 64
    config.model.layers = 2
    config.model.unroll = 2
    config.model.attention_heads = 2
    config.model.key_value_heads = 2
    config.model.mlp_width = 192
    config.optimizer.learning_rate = 3e-3
    return config
