r"""Does a reward model learn more than the dimension that its labelers judged? And can one model serve several?

    python -m studies.dimensions --workdir=runs/dimensions --config.data.manual_dir=FOLDER

Without the folder HH is downloaded; with ``--nohh`` the testbed's half runs alone. Hardware: two CPU cores. Measured,
with one seed (docs/studies/dimensions.md): a model each has 0.82 to 0.88 on its own dimension of the testbed and 0.41
to 0.53 on others; one with a head each, and thrice the rows of a step, is as good within the intervals; halves of
helpfulness and harmlessness give 0.661 and 0.636. 4 minutes.
"""

from experiments import base
from rmjax.config import ExperimentConfig


def get_config() -> ExperimentConfig:
    config = base.get_config()
    config.steps = 250
    config.evaluate_every = 50
    return config
