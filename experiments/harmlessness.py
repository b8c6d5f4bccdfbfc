r"""Does a reward model learn from pairs alone what does harm, when the same words help one asker to guard a thing and
another to wreck it?

    python -m rmjax.train --config=experiments/harmlessness.py --workdir=runs/harmlessness
    python -m rmjax.evaluate --workdir=runs/harmlessness --data=synthetic/harmlessness:test \
      --report=runs/harmlessness/report

Hardware: two CPU cores. Measured: accuracy 0.882 (95 % interval 0.876 to 0.888), 99.7 % of the Bayes-optimal
0.885, ECE 0.013, Spearman 0.991, in 7 minutes on cores shared with other work.
"""

from experiments import base
from rmjax.config import ExperimentConfig


def get_config() -> ExperimentConfig:
    config = base.get_config()
    config.dimension = "harmlessness"
    config.data.train = ("synthetic/harmlessness:train",)
    return config
