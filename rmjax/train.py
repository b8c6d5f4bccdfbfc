"""Trains a reward model: ``python -m rmjax.train --config=experiments/helpfulness.py --workdir=runs/helpfulness``.

Every field of the config is a flag (``--config.steps=100``). The same command resumes a run that was cut short. A run
that a SIGTERM ended, everything saved, exits with code 143: run it again.
"""

import shlex

from absl import flags
from ml_collections import config_flags

from rmjax.command import run
from rmjax.evaluation.validation import make_evaluator
from rmjax.training.loop import TrainResult, train

_CONFIG = config_flags.DEFINE_config_file(
    "config",
    None,
    "The experiment: a Python file with get_config(), such as experiments/helpfulness.py. --config.FIELD=VALUE "
    "changes a field; experiments/from_json.py:WORKDIR/config.json is the config of an earlier run.",
)
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "The folder (or bucket) that the run is written to, and resumed from.", required=True
)


def main() -> None:
    print(summary(train(_CONFIG.value, _WORKDIR.value, make_evaluator=make_evaluator)))


def summary(result: TrainResult) -> str:
    """What the command prints at the end."""
    workdir = shlex.quote(str(result.workdir))
    return (
        f"checkpoints: {result.workdir / 'checkpoints'}\n"
        f"best validation accuracy: {result.best_validation['accuracy']:.4f} "
        f"at step {result.best_step} of {result.step}\n"
        f"evaluate: python -m rmjax.evaluate --workdir={workdir} --data=SPEC --report={workdir}/report"
    )


if __name__ == "__main__":
    flags.mark_flag_as_required("config")
    run(main)
