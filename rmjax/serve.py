"""Serves a trained reward model by HTTP: ``python -m rmjax.serve --workdir=DIR --port=8000``.

It listens on this machine alone unless ``--host`` says otherwise. With a key in the environment variable
``RMJAX_API_KEY``, requests must bring it (``Authorization: Bearer KEY``), those for ``/docs`` too, which documents the
protocols; BUILD.md shows them.
"""

from pathlib import PurePath

from absl import flags

from rmjax.command import run
from rmjax.listening import bound
from rmjax.model_config import DTYPE_READ_IN, LESS_SPREAD, ComputeDtype
from rmjax.scoring.scorer import RewardScorer
from rmjax.scoring.serving import ServerSettings
from rmjax.scoring.serving_process import api_key, check_host, serve
from rmjax.training.machine import use_machine

_WORKDIR = flags.DEFINE_string("workdir", None, "The workdir of the run.", required=True)
_STEP = flags.DEFINE_integer("step", None, "The checkpoint; the best by config.best_by if not given.")
_HOST = flags.DEFINE_string("host", "127.0.0.1", "The address to listen on; 0.0.0.0 for all of this machine's.")
_PORT = flags.DEFINE_integer("port", 8000, "The port; 0 for any that is free.", lower_bound=0, upper_bound=65535)
_MODEL = flags.DEFINE_string(
    "model_id", None, "The id that answers name; the workdir's name and the step if not given."
)
_HEAD = flags.DEFINE_string("head", None, "The head that other programs' protocols give, of a model with several.")
_PESSIMISM = flags.DEFINE_float("pessimism", 0.0, LESS_SPREAD)
_COMPUTE_DTYPE = flags.DEFINE_enum_class("compute_dtype", ComputeDtype.FLOAT32, ComputeDtype, DTYPE_READ_IN)
_ANONYMOUS = flags.DEFINE_bool("allow_anonymous", False, "Lets other machines in without an API key.")
_BATCH_TOKENS = flags.DEFINE_integer("max_batch_tokens", None, "Tokens of a batch; what the model computes at once.")
_BATCHING = flags.DEFINE_bool("batching", True, "False computes one request at a time, for comparison.")
_WAITING = flags.DEFINE_integer("max_waiting", 8192, "Responses that may wait; a request for more gets a 429.")
_WAITING_BYTES = flags.DEFINE_integer(
    "max_waiting_bytes", 64 << 20, "Bytes of text that may wait, the prompt counted for each response; as well a 429."
)
_RESPONSES = flags.DEFINE_integer("max_responses", 1024, "Of a request; one with more gets a 422.")
_BYTES = flags.DEFINE_integer("max_request_bytes", 4 << 20, "Of a request's body; a larger one gets a 413.")
_DRAIN = flags.DEFINE_float("drain_seconds", 30, "How long a stop may wait for answers.", lower_bound=0)


def main() -> None:
    key = api_key()
    check_host(_HOST.value, key, allow_anonymous=_ANONYMOUS.value)
    with bound(_HOST.value, _PORT.value) as listening:
        use_machine()
        scorer = RewardScorer.from_workdir(
            _WORKDIR.value, _STEP.value, pessimism=_PESSIMISM.value, compute_dtype=_COMPUTE_DTYPE.value
        )
        name = _MODEL.value or f"{PurePath(_WORKDIR.value).name}@{scorer.trained.step}"
        settings = ServerSettings(
            model=name, head=_HEAD.value, api_key=key, batch_tokens=_BATCH_TOKENS.value, batching=_BATCHING.value,
            max_waiting=_WAITING.value, max_waiting_bytes=_WAITING_BYTES.value, max_responses=_RESPONSES.value,
            max_request_bytes=_BYTES.value,
        )  # fmt: skip
        serve(scorer, settings, listening=listening, drain_seconds=_DRAIN.value)


if __name__ == "__main__":
    run(main)
