r"""What do wrong labels cost, in accuracy and in calibration, and do soft labels or label smoothing help?

    python -m studies.noise --workdir=runs/noise

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
