"""Trains a reward model: ``python -m rmjax.train --config=experiments/helpfulness.py --workdir=runs/helpfulness``.

Every field of the config is a flag (``--config.steps=100``). The same command resumes a run that was cut short. A run
that a SIGTERM ended, everything saved, exits with code 143, one that Ctrl-C ended with 130: run it again.

Over several hosts, run it on each of them, with a workdir that all of them see: on Cloud TPU as it is, elsewhere with
``--coordinator_address=HOST:PORT --process_count=N --process_id=0`` (1, 2, …), where the host is that of process 0.
"""

import shlex

import jax
from absl import flags
from ml_collections import config_flags

from rmjax.batches.limits import remedied_in_training
from rmjax.command import run
from rmjax.evaluation.validation import make_evaluator
from rmjax.training.loop import TrainResult, train
from rmjax.training.machine import use_machine
from rmjax.training.processes import connect
from rmjax.training.progress import in_words

_CONFIG = config_flags.DEFINE_config_file(
    "config",
    None,
    "The experiment: a Python file with get_config(), such as experiments/helpfulness.py. --config.FIELD=VALUE "
    "changes a field; experiments/from_json.py:WORKDIR/config.json is the config of an earlier run.",
)
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "The folder (or bucket) that the run is written to, and resumed from.", required=True
)
_COORDINATOR = flags.DEFINE_string("coordinator_address", None, "Of several processes: HOST:PORT of process 0.")
_COUNT = flags.DEFINE_integer("process_count", None, "Of several processes: how many there are.")
_ID = flags.DEFINE_integer("process_id", None, "Of several processes: which one this is, from 0.")


def main() -> None:
    use_machine(_CONFIG.value, processes=_COUNT.value or 1)
    connect(coordinator_address=_COORDINATOR.value, process_count=_COUNT.value, process_id=_ID.value)
    with remedied_in_training(_CONFIG.value):
        result = train(_CONFIG.value, _WORKDIR.value, make_evaluator=make_evaluator)
    if jax.process_index() == 0:
        print(summary(result))


def summary(result: TrainResult) -> str:
    """What the command prints at the end."""
    workdir = shlex.quote(str(result.workdir))
    return (
        f"checkpoints: {result.workdir / 'checkpoints'}\n"
        f"best checkpoint: step {result.best_step} of {result.step}, validation {in_words(result.best_validation)}\n"
        f"evaluate: python -m rmjax.evaluate --workdir={workdir} --data=SPEC --report={workdir}/report"
    )


if __name__ == "__main__":
    flags.mark_flag_as_required("config")
    run(main)
