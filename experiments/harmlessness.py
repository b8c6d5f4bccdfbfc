r"""Does a reward model learn from pairs alone what does harm, when the same words help one asker to guard a thing and
another to wreck it?

    python -m rmjax.train --config=experiments/harmlessness.py --workdir=runs/harmlessness
    python -m rmjax.evaluate --workdir=runs/harmlessness --data=synthetic/harmlessness:test \
      --report=runs/harmlessness/report

Hardware: two CPU cores. Measured: RESULT_harmlessness
"""

from experiments import base
from rmjax.config import ExperimentConfig


def get_config() -> ExperimentConfig:
    config = base.get_config()
    config.dimension = "harmlessness"
    config.data.train = ("synthetic/harmlessness:train",)
    return config
