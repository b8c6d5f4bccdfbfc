r"""Does a reward model learn from pairs alone what helps: facts that are true and were asked for?

    python -m rmjax.train --config=experiments/helpfulness.py --workdir=runs/helpfulness
    python -m rmjax.evaluate --workdir=runs/helpfulness --data=synthetic/helpfulness:test \
      --report=runs/helpfulness/report

Hardware: two CPU cores. Measured: RESULT_helpfulness
"""

from experiments import base
from rmjax.config import ExperimentConfig


def get_config() -> ExperimentConfig:
    config = base.get_config()
    config.dimension = "helpfulness"
    config.data.train = ("synthetic/helpfulness:train",)
    return config
