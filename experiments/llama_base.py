"""What the Llama-shaped experiments share: bfloat16, a mesh that splits the state, both sides of HH.

Not an experiment itself. Row and limits take every HH conversation but the longest few. ``python -m rmjax.dryrun`` says
what each needs on a slice of TPUs.
"""

from rmjax.config import ExperimentConfig, OnError, Strategy
from rmjax.model_config import ComputeDtype, Remat


def get_config() -> ExperimentConfig:
    config = ExperimentConfig(steps=2000, evaluate_every=200)
    config.data.train = ("hh_rlhf/helpful-base:train", "hh_rlhf/harmless-base:train")
    config.data.on_error = OnError.SKIP
    config.text.vocabulary_size = 128_256
    config.text.max_prompt_tokens = 1024
    config.text.max_response_tokens = 512
    config.batch.row_length = 2048
    config.batch.rows = 16
    config.model.compute_dtype = ComputeDtype.BFLOAT16
    config.model.rope_theta = 500_000.0
    config.model.norm_epsilon = 1e-5
    config.model.remat = Remat.FULL
    config.optimizer.learning_rate = 1e-5
    config.optimizer.b2 = 0.95
    config.parallel.strategy = Strategy.MESH
    return config
