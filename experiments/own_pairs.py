r"""What do your own pairs teach a small model from scratch?

    python -m rmjax.train --config=experiments/own_pairs.py --workdir=runs/mine --config.data.train=pairs.jsonl \
      --config.dimension=NAME
    python -m rmjax.evaluate --workdir=runs/mine --data=test.jsonl --report=runs/mine/report

NAME is what the labelers were asked to judge, as helpfulness. ``rmjax/preferences/row_forms.py`` has the forms of rows.
Hardware: two CPU cores, or one accelerator.
"""

from experiments import base
from rmjax.config import ExperimentConfig
from rmjax.preferences.record import UNNAMED_DIMENSION


def get_config() -> ExperimentConfig:
    config = base.get_config()
    config.steps = 1000
    config.evaluate_every = 100
    config.dimension = UNNAMED_DIMENSION  # of rows that name none, where the command names none either
    config.data.train = ()  # to be given
    config.data.validation_fraction = 0.1
    config.text.vocabulary_size = 8192
    config.text.max_prompt_tokens = 512
    config.text.max_response_tokens = 512
    config.batch.row_length = None  # chosen from the lengths of the pairs
    config.model.dropout = 0.1
    config.optimizer.learning_rate = 1e-3
    return config
