"""Do rankings of more responses teach more than pairs, and what do they cost?

    python -m studies.kwise --workdir=runs/kwise

Hardware: two CPU cores. Measured, accuracy against the true utility (two seeds): 0.896 and 0.877 from 2800 pairs, 0.923
and 0.932 from rankings of eight that are assumed to take as much labeling time, 0.809 and 0.836 from as many
comparisons. 87 tokens laid down for a comparison of a pair, 9 for one of eight. 4 minutes.
"""

from experiments import harmlessness
from rmjax.config import ExperimentConfig


def get_config() -> ExperimentConfig:
    config = harmlessness.get_config()
    config.steps = 500  # past the best checkpoint of every arm, so that labels are what there is too little of
    config.evaluate_every = 50
    config.batch.row_length = 512  # as many tokens as base's; eight responses and their prompt fit
    config.batch.rows = 4
    return config
