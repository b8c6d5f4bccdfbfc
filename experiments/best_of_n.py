"""Where does the true utility of the best of n stop growing, by size of the model and of its data?

    python -m studies.best_of_n --workdir=runs/best_of_n

Hardware: two CPU cores. Measured, with three seeds (docs/studies/best_of_n.md): not up to n = 256 among candidates like
the compared responses. Among candidates that repeat themselves one of six settings loses from n = 16 to 256, width 64
with 1000 pairs, by 0.13 (0.01 to 0.25); the pessimistic score loses no less there. 5 minutes.
"""

from experiments import harmlessness
from rmjax.config import ExperimentConfig


def get_config() -> ExperimentConfig:
    config = harmlessness.get_config()
    config.steps = 200
    config.evaluate_every = 50
    config.model.ensemble = 8
    config.loss.centering = 0.1  # so that the spread of a reward isn't that of each member's own constant
    return config
