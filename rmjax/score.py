"""Scores responses with a trained reward model: JSON lines in, the same lines with their rewards out.

    python -m rmjax.score --workdir=runs/helpfulness --input=rows.jsonl --output=rewards.jsonl

``rmjax.scoring.rows`` documents the forms of a row. ``-`` is stdin or stdout, ``.gz`` is unpacked and packed.
"""

from absl import flags

from rmjax.command import run
from rmjax.config import OnError
from rmjax.files import check_bucket
from rmjax.model_config import DTYPE_READ_IN, LESS_SPREAD, ComputeDtype
from rmjax.scoring.replaced import check_output
from rmjax.scoring.scored_files import SCORING, score_file
from rmjax.scoring.scorer import RewardScorer
from rmjax.scoring.uncertain import UNCERTAIN, UncertainScorer
from rmjax.training.machine import use_machine

WORKDIR = flags.DEFINE_string("workdir", None, "The workdir of the run.", required=True)
INPUT = flags.DEFINE_string("input", None, "The rows: a .jsonl or .jsonl.gz file, or - for stdin.", required=True)
OUTPUT = flags.DEFINE_string(
    "output", None, "Where they go with their rewards: a file, or - for stdout.", required=True
)
STEP = flags.DEFINE_integer("step", None, "The checkpoint to score with; the best by config.best_by if not given.")
HEAD = flags.DEFINE_string("head", None, "The reward head, of a model that has several; all of them if not given.")
ON_ERROR = flags.DEFINE_enum_class(
    "on_error",
    OnError.DEFAULT,
    OnError,
    "What happens to a row that can't be scored: default and error stop there, skip gives it back with an error and no "
    "reward.",
)
COMPUTE_DTYPE = flags.DEFINE_enum_class("compute_dtype", ComputeDtype.FLOAT32, ComputeDtype, DTYPE_READ_IN)
NORMALIZE = flags.DEFINE_bool(
    "normalize", False, "Rewards in standard deviations from the mean of those of the validation data."
)
UNCERTAINTY = flags.DEFINE_bool(
    "uncertainty", False, "Adds spread: the standard deviation over the members of an ensemble of reward heads."
)
PESSIMISM = flags.DEFINE_float("pessimism", 0.0, LESS_SPREAD)


def main() -> None:
    for path in (INPUT.value, OUTPUT.value):
        check_bucket(path)
    check_output(INPUT.value, OUTPUT.value, SCORING.written)
    use_machine()
    scorer = RewardScorer.from_workdir(
        WORKDIR.value, STEP.value, normalized=NORMALIZE.value, head=HEAD.value, pessimism=PESSIMISM.value,
        compute_dtype=COMPUTE_DTYPE.value,
    )  # fmt: skip
    scorer, task = (UncertainScorer(scorer), UNCERTAIN) if UNCERTAINTY.value else (scorer, SCORING)
    with scorer.remedied("--on_error=skip gives such rows back without a reward"):
        score_file(scorer, INPUT.value, OUTPUT.value, on_error=ON_ERROR.value, task=task)


if __name__ == "__main__":
    run(main)
