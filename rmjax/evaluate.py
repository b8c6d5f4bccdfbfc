"""Evaluates reward models: one JSON line on stdout for every model and data set, and a report.

python -m rmjax.evaluate --workdir=runs/helpfulness,runs/brevity --data=synthetic/helpfulness:test --report=report
python -m rmjax.evaluate --workdir=runs/helpfulness --benchmark=reward_bench --data=reward-bench/data
"""

import itertools
from typing import Any

from absl import flags

from rmjax.command import results_alone, run
from rmjax.config import OnError
from rmjax.errors import remedied
from rmjax.evaluation.benchmark import Benchmark, evaluate_benchmark
from rmjax.evaluation.evaluate import evaluate
from rmjax.model_config import DTYPE_READ_IN, ComputeDtype
from rmjax.preferences.record import RowError
from rmjax.training.machine import use_machine

_LISTS = (flags.ListParser(), flags.ListSerializer(","))  # one flag with commas, or a flag for each
WORKDIRS = flags.DEFINE_multi(*_LISTS, "workdir", None, "The workdirs of the runs.", required=True)
DATA = flags.DEFINE_multi(*_LISTS, "data", None, "Data specs: name/config:split, a file, a glob.", required=True)
REPORT = flags.DEFINE_string("report", None, "A folder for report.html, its pictures and results.jsonl.")
STEP = flags.DEFINE_integer("step", None, "The checkpoint to evaluate; the best by config.best_by if not given.")
DATA_DIR = flags.DEFINE_string("data_dir", None, "Where prepared data sets lie; as the first run has it if not given.")
MANUAL_DIR = flags.DEFINE_string("manual_dir", None, "A folder of files that are read, not downloaded; likewise.")
ON_ERROR = flags.DEFINE_enum_class(
    "on_error", None, OnError,
    "What happens to rows that can't be used: error stops at the first, skip counts them; default skips in published "
    "files that are known to hold a few, and stops in all others. If not given, as each run did; of a benchmark error.",
)  # fmt: skip
COMPUTE_DTYPE = flags.DEFINE_enum_class("compute_dtype", ComputeDtype.FLOAT32, ComputeDtype, DTYPE_READ_IN)
BENCHMARK = flags.DEFINE_enum_class("benchmark", None, Benchmark, "Whose files or folders --data are then.")
HEAD = flags.DEFINE_multi(*_LISTS, "head", None, "Reward heads, all data read on each; or all. With --benchmark one.")


@flags.multi_flags_validator(
    ["benchmark", "report", "data_dir", "manual_dir"], "--report, --data_dir and --manual_dir go without --benchmark"
)
def _go_together(given: dict[str, Any]) -> bool:
    return given["benchmark"] is None or all(given[name] is None for name in ("report", "data_dir", "manual_dir"))


def main() -> None:
    use_machine()
    runs, data = ([*itertools.chain(*flag.value)] for flag in (WORKDIRS, DATA))
    heads = None if HEAD.value is None else [*itertools.chain(*HEAD.value)]
    common: dict[str, Any] = {"step": STEP.value, "on_error": ON_ERROR.value, "compute_dtype": COMPUTE_DTYPE.value}
    places = {"data_dir": DATA_DIR.value, "manual_dir": MANUAL_DIR.value, "report": REPORT.value}
    with results_alone() as write, remedied(RowError, lambda _: "--on_error=skip skips and counts such rows"):
        if BENCHMARK.value is None:
            evaluate(runs, data, heads=heads, **places, **common, each=write)
        else:
            head = None if heads is None else ",".join(heads)  # several are none that a model has
            evaluate_benchmark(runs, data, benchmark=BENCHMARK.value, head=head, **common, each=write)


if __name__ == "__main__":
    run(main)
