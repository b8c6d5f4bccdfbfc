"""One process of a run over several: ``python -m rmjax.train``, but that it can send itself a SIGTERM.

``TERMINATE=PROCESS:VALIDATION`` in the environment: that process gets the signal in the first, second, … validation,
which then lasts long enough on every process for the notice (jax looks for it once a second) to go round.
"""

import itertools
import os
import signal
import sys
import time
from typing import Any

import jax
from absl import flags

import rmjax.train
from rmjax.command import run
from rmjax.evaluation.validation import make_evaluator

NOTICE_SECONDS = 2.5


def make_terminating(*arguments: Any):
    evaluate = make_evaluator(*arguments)
    process, last = map(int, os.environ.get("TERMINATE", "-1:-1").split(":"))
    calls = itertools.count(1)

    def terminate(params: Any) -> dict[str, float]:
        result = evaluate(params)
        if next(calls) == last:
            if process == jax.process_index():
                os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(NOTICE_SECONDS)
        return result

    return terminate


if __name__ == "__main__":
    sys.argv[0] = "rmjax.train"
    rmjax.train.make_evaluator = make_terminating
    flags.mark_flag_as_required("config")
    run(rmjax.train.main)
