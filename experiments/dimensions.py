r"""Does a reward model learn more than the dimension that its labelers judged? And can one model serve several?

    python -m studies.dimensions --workdir=runs/dimensions --config.data.manual_dir=FOLDER

Without the folder HH is downloaded; with ``--nohh`` the testbed's half runs alone. Hardware: two CPU cores. Measured
(docs/studies/dimensions.md): a model each has 0.83 to 0.88 on its own dimension of the testbed and 0.38 to 0.53 on
others; with a head each and thrice the rows of a step it is about as good, with thrice the steps harmlessness falls
from 0.830 to 0.647; halves of helpfulness and harmlessness give 0.681 and 0.640. Time: 12 minutes of CPU, in one go on
cores shared with other work.
"""

from experiments import base
from rmjax.config import ExperimentConfig


def get_config() -> ExperimentConfig:
    config = base.get_config()
    config.steps = 400
    config.evaluate_every = 100
    return config
