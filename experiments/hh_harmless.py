r"""What do 1,625 pairs, judged by people on harmlessness, teach a model from scratch?

    python -m rmjax.train --config=experiments/hh_harmless.py --workdir=runs/hh_harmless
    python -m rmjax.evaluate --workdir=runs/hh_harmless --data=hh_rlhf/harmless-base:test \
      --report=runs/hh_harmless/report

Hardware: two CPU cores. Measured: over seeds 0 to 2 (README.md has the intervals) 0.586 on its own test pairs, 0.413 on
the helpful ones, in about 2 minutes a run; a logistic regression on word counts reaches 0.616.
"""

from experiments import hh_base
from rmjax.config import ExperimentConfig


def get_config() -> ExperimentConfig:
    config = hh_base.get_config()
    config.dimension = "harmlessness"
    config.data.train = ("hh_rlhf/harmless-base:train",)
    return config
