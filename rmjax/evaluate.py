"""Evaluates reward models on preferences: one JSON line on stdout for every model and data set, and a report.

python -m rmjax.evaluate --workdir=runs/helpfulness,runs/brevity --data=synthetic/helpfulness:test --report=report
"""

import contextlib
import itertools
import sys

from absl import flags

from rmjax.command import run
from rmjax.config import OnError
from rmjax.errors import remedied
from rmjax.evaluation.evaluate import evaluate
from rmjax.evaluation.measure import Evaluation
from rmjax.preferences.record import RowError
from rmjax.training.machine import use_machine

_LISTS = (flags.ListParser(), flags.ListSerializer(","))  # one flag with commas, or a flag for each
WORKDIRS = flags.DEFINE_multi(*_LISTS, "workdir", None, "The workdirs of the runs.", required=True)
DATA = flags.DEFINE_multi(*_LISTS, "data", None, "Data specs: name/config:split, a file, a glob.", required=True)
REPORT = flags.DEFINE_string("report", None, "A folder for report.html, its pictures and results.jsonl.")
STEP = flags.DEFINE_integer("step", None, "The checkpoint to evaluate; the best by config.best_by if not given.")
DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "Where prepared data sets lie; where the first run has them if not given."
)
MANUAL_DIR = flags.DEFINE_string(
    "manual_dir", None, "A folder of published files that are read instead of downloaded; the first run's if not given."
)
ON_ERROR = flags.DEFINE_enum_class(
    "on_error", None, OnError,
    "What happens to rows that can't be used: error stops at the first, skip counts them; default skips in published "
    "files that are known to hold a few, and stops in all others. If not given, what each run did with its own rows.",
)  # fmt: skip


def main() -> None:
    use_machine()
    lines = sys.stdout

    def write(evaluation: Evaluation) -> None:
        print(evaluation.to_json(), file=lines, flush=True)

    remedy = remedied(RowError, lambda _: "--on_error=skip skips and counts such comparisons and rows")
    with contextlib.redirect_stdout(sys.stderr), remedy:  # stdout is for results alone, whatever a library prints
        evaluate(
            list(itertools.chain(*WORKDIRS.value)),
            list(itertools.chain(*DATA.value)),
            step=STEP.value,
            data_dir=DATA_DIR.value,
            manual_dir=MANUAL_DIR.value,
            on_error=ON_ERROR.value,
            report=REPORT.value,
            each=write,
        )


if __name__ == "__main__":
    run(main)
