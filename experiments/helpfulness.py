r"""Does a reward model learn from pairs alone what helps: facts that are true and were asked for?

    python -m rmjax.train --config=experiments/helpfulness.py --workdir=runs/helpfulness
    python -m rmjax.evaluate --workdir=runs/helpfulness --data=synthetic/helpfulness:test \
      --report=runs/helpfulness/report

Hardware: two CPU cores. Measured: accuracy 0.861 (95 % interval 0.854 to 0.867), 96.8 % of the Bayes-optimal
0.889, ECE 0.013, Spearman 0.956, in 15 minutes on cores shared with other work. Short of the 97 % aimed at.
"""

from experiments import base
from rmjax.config import ExperimentConfig


def get_config() -> ExperimentConfig:
    config = base.get_config()
    config.dimension = "helpfulness"
    config.data.train = ("synthetic/helpfulness:train",)
    return config
