"""The flags of ``python -m rmjax.label`` that ask what judgments say."""

import itertools

from absl import flags

from rmjax.config import ExperimentConfig
from rmjax.labeling.job_flags import DIMENSION, GOLD, given

FOLDER = flags.DEFINE_string("report", None, "Nobody judges: a folder for what --data says, as a page and as JSON.")
_DATA = flags.DEFINE_multi(
    flags.ListParser(), flags.ListSerializer(","), "data", [], "What is reported on: data specs, files, globs."
)


def specs() -> tuple[list[str], list[str]]:
    """The data specs of what is reported on and of pairs whose answers are known; UserError where the first miss."""
    return [*itertools.chain(*given(_DATA))], list(GOLD.value)


def dimension() -> str:
    """Of rows that don't say what they were judged on."""
    return DIMENSION.value or ExperimentConfig().dimension
