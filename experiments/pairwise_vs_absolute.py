r"""What does a reward model learn from ratings, 1 to 7, and what from comparisons, of raters with scales of their own?

    python -m studies.pairwise_vs_absolute --workdir=runs/pairwise_vs_absolute

Hardware: two CPU cores. Measured: accuracy against the true utility is 0.904 (95 % interval 0.890 to 0.917) of 4000
comparisons. In the same time ratings of a pair by two raters give 0.890 where all have one scale and 0.844 where scales
differ much, by one rater 0.888 to 0.895, and by one rater of four responses to a prompt 0.912 to 0.925. About 8 minutes
of CPU time for the 18 models, over three starts of the command, on cores shared with other work.
"""

from experiments import base
from rmjax.config import ExperimentConfig


def get_config() -> ExperimentConfig:
    config = base.get_config()
    config.dimension = "harmlessness"
    config.data.train = ("synthetic/harmlessness:train",)
    config.steps = 300
    config.evaluate_every = 100
    config.data.validation_fraction = 0.1  # of few pairs, which must still tell one checkpoint from another
    return config
