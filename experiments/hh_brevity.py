r"""The prompts and responses of hh_helpful, judged by a rule instead of people: does the model learn the rule?

    python -m rmjax.train --config=experiments/hh_brevity.py --workdir=runs/hh_brevity
    python -m rmjax.evaluate --workdir=runs/hh_brevity --data=hh_rlhf/helpful-base:test@brevity \
      --report=runs/hh_brevity/report

Hardware: two CPU cores. Measured: over seeds 0 to 2 (README.md has the intervals) 0.808 on its own test pairs, in
about 2.5 minutes a run. To know a length, attention has to count, so even this rule takes learning.
"""

from experiments import hh_base
from rmjax.config import ExperimentConfig


def get_config() -> ExperimentConfig:
    config = hh_base.get_config()
    config.dimension = "brevity"
    config.data.train = ("hh_rlhf/helpful-base:train@brevity",)
    return config
