"""What labels say: agreement, biases, cycles and the ceiling of judgments, as one JSON line, a page and pictures.

python -m rmjax.label --report=labels --data=people.jsonl,judge.jsonl
"""

import itertools

from absl import flags

from rmjax.command import results_alone, run
from rmjax.config import DataConfig, ExperimentConfig, OnError
from rmjax.datasets.open import open_many
from rmjax.errors import remedied
from rmjax.labeling.label_report import report_labels
from rmjax.preferences.record import RowError

_LISTS = (flags.ListParser(), flags.ListSerializer(","))  # one flag with commas, or a flag for each
REPORT = flags.DEFINE_string("report", None, "A folder for report.html, its pictures and labels.json.", required=True)
DATA = flags.DEFINE_multi(*_LISTS, "data", None, "Data specs: name/config:split, a file, a glob.", required=True)
GOLD = flags.DEFINE_multi(*_LISTS, "gold", [], "Data specs of pairs of which the answer is known, with that answer.")
DIMENSION = flags.DEFINE_string("dimension", ExperimentConfig().dimension, "What rows were judged on that don't say.")
DATA_DIR = flags.DEFINE_string("data_dir", None, "Where prepared data sets lie; TFDS's folder if not given.")
MANUAL_DIR = flags.DEFINE_string("manual_dir", None, "A folder of files that are read, not downloaded.")
ON_ERROR = flags.DEFINE_enum_class(
    "on_error", OnError.DEFAULT, OnError,
    "What happens to rows that can't be used: error stops at the first, skip counts them; default skips in published "
    "files that are known to hold a few, and stops in all others.",
)  # fmt: skip


def _report() -> None:
    data = DataConfig(data_dir=DATA_DIR.value, manual_dir=MANUAL_DIR.value, on_error=ON_ERROR.value)
    with results_alone() as write, remedied(RowError, lambda _: "--on_error=skip skips and counts such rows"):
        specs, gold = ([*itertools.chain(*flag.value)] for flag in (DATA, GOLD))
        sets, answers = (open_many(given, data, dimension=DIMENSION.value) for given in (specs, gold))
        write(report_labels(sets, gold=answers, folder=REPORT.value))


def main() -> None:
    _report()


if __name__ == "__main__":
    run(main)
