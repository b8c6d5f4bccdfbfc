"""What the studies on real preferences share: hh_base's model on rows that two devices can share.

Not an experiment itself. A step has 6 rows rather than 5, and there are as many fewer steps: 100 of them read as many
tokens as hh_base's 120.
"""

from experiments import hh_base
from rmjax.config import ExperimentConfig


def get_config() -> ExperimentConfig:
    config = hh_base.get_config()
    config.steps = 100
    config.batch.rows = 6
    return config
