r"""What do wrong labels cost, in accuracy and in calibration, and do soft labels or label smoothing help?

    python -m studies.noise --workdir=runs/noise

Hardware: two CPU cores. Measured: with one vote for each of 3000 pairs, accuracy against the true utility falls from
0.879 (95 % interval 0.863 to 0.893) to 0.626 (0.603 to 0.649) at an error rate of 0.4; with true probabilities it stays
at 0.914 to 0.922; five votes for a fifth of the pairs and smoothing by the error rate win nothing back. 6
minutes in one go.
"""

from experiments import base
from rmjax.config import ExperimentConfig


def get_config() -> ExperimentConfig:
    config = base.get_config()
    config.dimension = "harmlessness"
    config.data.train = ("synthetic/harmlessness:train",)
    config.steps = 300
    config.evaluate_every = 100
    config.data.validation_fraction = 0.1  # of few pairs, which must still tell one checkpoint from another
    return config
