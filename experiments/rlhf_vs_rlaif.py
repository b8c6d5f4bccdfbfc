r"""What does a reward model inherit from a judge that prefers what it reads first, and what is longer?

    python -m studies.rlhf_vs_rlaif --workdir=runs/rlhf_vs_rlaif --alpaca_eval=FOLDER

Without ``--alpaca_eval`` the testbed's half runs alone; AlpacaEval's models have hh_study_base's settings, whatever
is changed here. Hardware: two CPU cores. Measured (docs/studies/rlhf_vs_rlaif.md; two seeds): a position bias is
noise in random order (0.904 and 0.912 right; people: 0.910 and 0.895) and a preference for length where the longer is
shown first (0.870 and 0.880). Both orders have 0.922 and 0.915, asking twice in random order 0.917 and 0.912. A
length bias stays in both. AlpacaEval's judge teaches mostly length: 0.599 and 0.604, and 0.547 and 0.543 where length
is controlled. 3 minutes.
"""

from experiments import harmlessness
from rmjax.config import ExperimentConfig


def get_config() -> ExperimentConfig:
    config = harmlessness.get_config()  # of the testbed's dimensions, the one that length says least of
    config.steps = 300
    config.evaluate_every = 100
    config.model.layers = 1  # half the time of two, which seeds are for
    return config
