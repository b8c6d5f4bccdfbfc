"""What the shapes of Gemma 2 share beyond those of fine-tuning: soft-caps, windows in every other layer, more norms.

Not an experiment itself.
"""

from experiments import lora_base
from rmjax.config import ExperimentConfig
from rmjax.model_config import Activation


def get_config(layers: int = 26) -> ExperimentConfig:
    """Of so many layers, every second of which sees all."""
    config = lora_base.get_config()
    config.text.vocabulary_size = 256_000
    config.model.layers = layers
    config.model.rope_theta = 10_000.0
    config.model.activation = Activation.GELU_TANH
    config.model.scaled_embedding = True
    config.model.norm_offset = True
    config.model.post_norms = True
    config.model.attention_softcap = 50.0
    config.model.attention_window = 4096
    config.model.global_layers = tuple(range(1, layers, 2))
    return config
