r"""What do wrong labels cost, in accuracy and in calibration, and do soft labels or label smoothing help?

    python -m studies.noise --workdir=runs/noise

Hardware: two CPU cores. Measured (docs/studies/noise.md; two seeds): with one vote for each of 2000 pairs, accuracy
against the true utility falls from 0.870 and 0.883 to 0.573 and 0.520 at an error rate of 0.4; with true
probabilities it stays at 0.893 to 0.919. Five votes for a fifth of the pairs lose up to an error rate of 0.2, by
0.054 to 0.086; smoothing by the error rate gains 0.013 to 0.104. 4 minutes.
"""

from experiments import harmlessness
from rmjax.config import ExperimentConfig


def get_config() -> ExperimentConfig:
    config = harmlessness.get_config()
    config.steps = 250
    config.evaluate_every = 50
    config.model.layers = 1  # half the time of two, which seeds are for
    return config
