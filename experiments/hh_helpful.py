r"""What do 1,671 pairs, judged by people on helpfulness, teach a model from scratch?

    python -m rmjax.train --config=experiments/hh_helpful.py --workdir=runs/hh_helpful
    python -m rmjax.evaluate --workdir=runs/hh_helpful --data=hh_rlhf/helpful-base:test \
      --report=runs/hh_helpful/report

Hardware: two CPU cores. Measured: RESULT_hh_helpful
"""

from experiments import hh_base
from rmjax.config import ExperimentConfig


def get_config() -> ExperimentConfig:
    config = hh_base.get_config()
    config.dimension = "helpfulness"
    config.data.train = ("hh_rlhf/helpful-base:train",)
    return config
