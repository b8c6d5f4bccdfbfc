r"""What does a reward model learn from ratings, 1 to 7, and what from comparisons, of raters with scales of their own?

    python -m studies.pairwise_vs_absolute --workdir=runs/pairwise_vs_absolute

Hardware: two CPU cores. Measured: RESULT
"""

from experiments import base
from rmjax.config import ExperimentConfig


def get_config() -> ExperimentConfig:
    config = base.get_config()
    config.dimension = "harmlessness"
    config.steps = 300
    config.evaluate_every = 100
    config.data.validation_fraction = 0.1  # of few pairs, which must still tell one checkpoint from another
    return config
