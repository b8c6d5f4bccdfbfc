"""One process of a run over several: ``python -m rmjax.train``, but that it can send itself a signal.

``TERMINATE=PROCESS:VALIDATION`` in the environment: that process gets a SIGTERM (or the signal of the number
``SIGNAL``) in the first, second, … validation, which then lasts long enough on every process for the notice (jax looks
for it once a second) to go round.
``KILL=PROCESS:VALIDATION``: it gets a SIGKILL, and the others, with ``ASLEEP`` seconds, do nothing for so long.
``HEARTBEAT=SECONDS``: a process that hasn't been heard of for so long is taken for dead.
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
import rmjax.training.processes
from rmjax.command import run
from rmjax.evaluation.validation import make_evaluator

NOTICE_SECONDS = 2.5


def when(variable: str) -> tuple[int, int]:
    process, validation = map(int, os.environ.get(variable, "-1:-1").split(":"))
    return process, validation


def make_terminating(*arguments: Any):
    evaluate = make_evaluator(*arguments)
    (terminated, last), (killed, final) = when("TERMINATE"), when("KILL")
    calls = itertools.count(1)

    def terminate(params: Any) -> Any:
        result, call = evaluate(params), next(calls)
        if call == last:
            if terminated == jax.process_index():
                os.kill(os.getpid(), int(os.environ.get("SIGNAL", signal.SIGTERM)))
            time.sleep(NOTICE_SECONDS)
        if call == final:
            if killed == jax.process_index():
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(float(os.environ.get("ASLEEP", "0")))
        return result

    return terminate


if __name__ == "__main__":
    sys.argv[0] = "rmjax.train"
    rmjax.train.make_evaluator = make_terminating
    rmjax.training.processes.HEARTBEAT_SECONDS = int(os.environ.get("HEARTBEAT", "60"))
    flags.mark_flag_as_required("config")
    run(rmjax.train.main)
