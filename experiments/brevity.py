r"""Does a reward model learn from pairs alone that less is more?

    python -m rmjax.train --config=experiments/brevity.py --workdir=runs/brevity
    python -m rmjax.evaluate --workdir=runs/brevity --data=synthetic/brevity:test \
      --report=runs/brevity/report

Hardware: two CPU cores. Measured: RESULT_brevity
"""

from experiments import base
from rmjax.config import ExperimentConfig


def get_config() -> ExperimentConfig:
    config = base.get_config()
    config.dimension = "brevity"
    config.data.train = ("synthetic/brevity:train",)
    return config
