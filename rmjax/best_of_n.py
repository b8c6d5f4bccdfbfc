"""Chooses the best of several responses to each prompt: JSON lines in, the same lines with their best response out.

    python -m rmjax.best_of_n --workdir=runs/helpfulness --input=candidates.jsonl --output=best.jsonl

A row is ``{"prompt": …, "responses": [… , …]}``; it comes back with ``best``, ``best_index``, ``best_reward`` and the
``rewards`` of all. With ``--url=http://127.0.0.1:8000`` in the place of ``--workdir`` a running server scores them.
"""

from absl import flags

from rmjax.command import run
from rmjax.config import OnError
from rmjax.files import check_bucket
from rmjax.model_config import DTYPE_READ_IN, LESS_SPREAD, ComputeDtype
from rmjax.scoring.best import WRITTEN, best_of_n
from rmjax.scoring.remote_scorer import open_scorer
from rmjax.scoring.replaced import check_output

_WORKDIR = flags.DEFINE_string("workdir", None, "The workdir of the run.")
_URL = flags.DEFINE_string("url", None, "A running server in its place, as http://127.0.0.1:8000.")
_INPUT = flags.DEFINE_string("input", None, "The rows: a .jsonl or .jsonl.gz file, or - for stdin.", required=True)
_OUTPUT = flags.DEFINE_string("output", None, "Where they go with their best: a file, or - for stdout.", required=True)
_N = flags.DEFINE_integer("n", None, "How many of a row's responses are compared, the first; all.", lower_bound=1)
_STEP = flags.DEFINE_integer("step", None, "The checkpoint; the best by config.best_by if not given.")
_HEAD = flags.DEFINE_string("head", None, "The reward head, of a model that has several.")
_PESSIMISM = flags.DEFINE_float("pessimism", 0.0, LESS_SPREAD)
_COMPUTE_DTYPE = flags.DEFINE_enum_class("compute_dtype", ComputeDtype.FLOAT32, ComputeDtype, DTYPE_READ_IN)
_ON_ERROR = flags.DEFINE_enum_class(
    "on_error",
    OnError.DEFAULT,
    OnError,
    "What happens to a row that can't be scored: default and error stop there, skip gives it back with an error.",
)


def main() -> None:
    for path in (_INPUT.value, _OUTPUT.value):
        check_bucket(path)
    check_output(_INPUT.value, _OUTPUT.value, WRITTEN)
    if _URL.value is None:
        from rmjax.training.machine import use_machine  # here alone: it imports jax, which takes many seconds

        use_machine()
    scorer = open_scorer(
        _WORKDIR.value, _URL.value, step=_STEP.value, head=_HEAD.value, pessimism=_PESSIMISM.value,
        compute_dtype=_COMPUTE_DTYPE.value,
    )  # fmt: skip
    with scorer.remedied("--on_error=skip gives such rows back without a best response"):
        best_of_n(scorer, _INPUT.value, _OUTPUT.value, n=_N.value, head=_HEAD.value, on_error=_ON_ERROR.value)


if __name__ == "__main__":
    run(main)
