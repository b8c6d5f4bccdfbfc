r"""What does a reward model inherit from a judge that prefers what it reads first, and what is longer?

python -m studies.rlhf_vs_rlaif --workdir=runs/rlhf_vs_rlaif --alpaca_eval=FOLDER

Without ``--alpaca_eval`` the testbed's half runs alone. Hardware: two CPU cores. Measured
(docs/studies/rlhf_vs_rlaif.md): a position bias is noise in random order (0.895 right; people: 0.910), a preference for
length where the longer is shown first, and gone in both orders (0.920); a length bias stays in both. AlpacaEval's judge
teaches mostly length: 0.638, and 0.567 where length is controlled. Time: 4 minutes of CPU, 6 in one go on cores shared
with other work.
"""

from experiments import base
from rmjax.config import ExperimentConfig


def get_config() -> ExperimentConfig:
    config = base.get_config()
    config.steps = 400
    config.evaluate_every = 100
    config.dimension = "harmlessness"  # of the testbed's, the one that length says least of
    config.data.train = ("synthetic/harmlessness:train",)
    return config
