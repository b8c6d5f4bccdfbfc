"""The cross-dimension matrix over seeds: train on each dimension, test on each, with paired bootstrap intervals.

    python -m benchmarks.matrix --workdirs='runs/hh_helpful_*' --workdirs='runs/hh_harmless_*' \
      --data=hh_rlhf/helpful-base:test,hh_rlhf/harmless-base:test --manual_dir=FOLDER

Each ``--workdirs`` is one row of the matrix: a glob (or names between commas) of runs that differ in their seed. Prints
a Markdown table of mean accuracies with 95 % intervals over redrawn prompts, the length baseline below, and one JSON
line for each cell: ``row, data, seeds, accuracies, accuracy, accuracy_low, accuracy_high, length_baseline_accuracy``.
"""

import glob
import itertools
import json

import numpy as np
from absl import app, flags, logging

from rmjax.config import OnError
from rmjax.evaluation.evaluate import evaluate
from rmjax.evaluation.measure import Evaluation
from rmjax.intervals import Estimate, paired_bootstrap

_WORKDIRS = flags.DEFINE_multi_string("workdirs", None, "The runs of one row; once for each row.", required=True)
_DATA = flags.DEFINE_multi(
    flags.ListParser(), flags.ListSerializer(","), "data", None, "The data specs of the columns.", required=True
)
_MANUAL_DIR = flags.DEFINE_string("manual_dir", None, "Published files to read instead of downloading them.")
_ON_ERROR = flags.DEFINE_enum_class(
    "on_error", None, OnError, "What happens to rows that can't be used; as each run did if not given."
)


def find_runs(pattern: str) -> list[str]:
    """The workdirs that a pattern names, in order."""
    found = [path for part in pattern.split(",") for path in sorted(glob.glob(part))]
    if not found:
        raise ValueError(
            f"--workdirs={pattern}: no such folder; it must be a glob, or names between commas, of workdirs"
        )
    return found


def mean_over_seeds(evaluations: list[Evaluation]) -> Estimate:
    """The mean accuracy of several models on the same comparisons."""
    for evaluation in evaluations:
        if evaluation.kept != evaluations[0].kept:
            raise ValueError(f"{evaluation.model} was evaluated on other comparisons than {evaluations[0].model}")
    correct = np.stack([evaluation.measurement.correct for evaluation in evaluations])
    return paired_bootstrap(correct, evaluations[0].measurement.prompts)


def main(_: list[str]) -> None:
    logging.set_verbosity(logging.WARNING)
    specs, table, baselines = [*itertools.chain(*_DATA.value)], [], {}
    for pattern in _WORKDIRS.value:
        runs = find_runs(pattern)
        found = evaluate(runs, specs, manual_dir=_MANUAL_DIR.value, on_error=_ON_ERROR.value)
        cells = []
        for spec in specs:
            evaluations = [entry for entry in found if entry.data == spec]
            estimate = mean_over_seeds(evaluations)
            baselines[spec] = evaluations[0].measurement.numbers["length_baseline_accuracy"]
            cells.append(f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})")
            line = {
                "row": pattern,
                "data": spec,
                "seeds": len(runs),
                "accuracies": [entry.measurement.numbers["accuracy"] for entry in evaluations],
                "accuracy": estimate.value,
                "accuracy_low": estimate.low,
                "accuracy_high": estimate.high,
                "length_baseline_accuracy": baselines[spec],
            }
            print(json.dumps(line))
        table.append((pattern, cells))
    print(f"\n| trained as | {' | '.join(specs)} |\n|---|{'---|' * len(specs)}")
    for pattern, cells in [*table, ("the longer response wins", [f"{baselines[spec]:.3f}" for spec in specs])]:
        print(f"| {pattern} | {' | '.join(cells)} |")


if __name__ == "__main__":
    app.run(main)
