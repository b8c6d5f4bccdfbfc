"""Where does the true utility of the best of n stop growing, by size of the model and of its data?

    python -m studies.best_of_n --workdir=runs/best_of_n

Hardware: two CPU cores. Measured: not up to n = 256 among candidates like the compared responses; at n = 32 (400 and
1600 pairs) and 64 (6400) for width 64, among candidates that repeat themselves. The pessimistic score may lessen
the loss (0.09 rather than 0.20 with 1600 pairs; the intervals overlap). Roughly 11 minutes of CPU
time, in several starts.
"""

from experiments import base
from rmjax.config import ExperimentConfig


def get_config() -> ExperimentConfig:
    config = base.get_config()
    config.dimension = "harmlessness"
    config.data.train = ("synthetic/harmlessness:train",)
    config.steps = 300
    config.evaluate_every = 50
    config.text.max_response_tokens = 192  # candidates that repeat themselves are longer than any that were compared
    config.batch.row_length = 512  # as many tokens as base's
    config.batch.rows = 4
    config.model.ensemble = 8
    config.loss.centering = 0.1  # so that the spread of a reward isn't that of each member's own constant
    return config
