"""Scores responses with a trained reward model: JSON lines in, the same lines with their rewards out.

    python -m rmjax.score --workdir=runs/helpfulness --input=rows.jsonl --output=rewards.jsonl

``rmjax.scoring.rows`` documents the forms of a row. ``-`` is stdin or stdout, ``.gz`` is unpacked and packed.
"""

from absl import app, flags, logging

from rmjax.config import OnError
from rmjax.scoring.scorer import RewardScorer, score_file

WORKDIR = flags.DEFINE_string("workdir", None, "The workdir of the run.", required=True)
INPUT = flags.DEFINE_string("input", None, "The rows: a .jsonl or .jsonl.gz file, or - for stdin.", required=True)
OUTPUT = flags.DEFINE_string(
    "output", None, "Where they go with their rewards: a file, or - for stdout.", required=True
)
STEP = flags.DEFINE_integer("step", None, "The checkpoint to score with; the best by validation accuracy if not given.")
ON_ERROR = flags.DEFINE_enum_class(
    "on_error", OnError.DEFAULT, OnError, "skip: a row that can't be scored comes back with an error and no reward."
)


def main(arguments: list[str]) -> None:
    if len(arguments) > 1:
        raise app.UsageError(f"unexpected arguments: {' '.join(arguments[1:])}; every option begins with --")
    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.INFO)
    scorer = RewardScorer.from_workdir(WORKDIR.value, STEP.value)
    score_file(scorer, INPUT.value, OUTPUT.value, on_error=ON_ERROR.value)


if __name__ == "__main__":
    app.run(main)
