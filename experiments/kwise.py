"""Do rankings of more responses teach more than pairs, and what do they cost?

    python -m studies.kwise --workdir=runs/kwise

Hardware: two CPU cores. Measured, accuracy against the true utility (two seeds): 0.896 and 0.877 from 2800 pairs, 0.940
and 0.950 from rankings of eight that are assumed to take as much labeling time, 0.808 and 0.837 from as many
comparisons. 87 tokens laid down for a comparison of a pair, 9 for one of eight. About 8 minutes of CPU time,
in several starts.
"""

from experiments import base
from rmjax.config import ExperimentConfig


def get_config() -> ExperimentConfig:
    config = base.get_config()
    config.dimension = "harmlessness"
    config.data.train = ("synthetic/harmlessness:train",)
    config.steps = 500  # past the best checkpoint of every arm, so that labels are what there is too little of
    config.evaluate_every = 50
    config.batch.row_length = 512  # as many tokens as base's; eight responses and their prompt fit
    config.batch.rows = 4
    return config
