r"""What does a reward model learn from ratings, 1 to 7, and what from comparisons, of raters with scales of their own?

    python -m studies.pairwise_vs_absolute --workdir=runs/pairwise_vs_absolute

Hardware: two CPU cores. Measured: accuracy against the true utility is 0.868, 0.869 and 0.860 (three seeds; 95 %
intervals of 0.016 to either side) of 2000 comparisons. In the same time ratings of four responses by one rater give
0.902, 0.930 and 0.914 where all have one scale; where scales differ much 0.891, 0.903 and 0.840, ratings of a pair by
one rater 0.873, 0.845 and 0.835, and by two raters 0.787 (one seed). 7 minutes, beside other work.
"""

from experiments import harmlessness
from rmjax.config import ExperimentConfig


def get_config() -> ExperimentConfig:
    config = harmlessness.get_config()
    config.steps = 400  # past the best checkpoint, so that labels are what there is too little of
    config.evaluate_every = 50
    return config
