"""SIGTERM, as a Cloud TPU sends it 30 seconds or more before it is taken away: save, then leave."""

import itertools
import signal
from types import FrameType

import jax
from absl import logging
from jax.experimental import multihost_utils

EXIT_CODE = 128 + signal.SIGTERM  # 143


class Preempted(SystemExit):
    """Ends the process after a SIGTERM, its state saved.

    The exit code is 143, as of a process that SIGTERM ended. Not 0: to the supervisors that restart a job where it
    failed (Kubernetes Jobs and JobSets, systemd's ``Restart=on-failure`` with 143 not made a success, a shell loop) 0
    would mean that the training is complete.
    """

    def __init__(self, step: int):
        super().__init__(EXIT_CODE)
        self.step = step


class PreemptionNotice:
    """Tells the loop of a SIGTERM; a context manager that gives the signal its old handler back.

    With ``jax.distributed`` initialised, JAX's preemption service catches the signal on any process and all processes
    are told at one and the same step. Else a handler sets a flag.

    JAX's service lets the processes agree on the number after the highest that any of them has asked with, 0 before
    the first, and answers yes to that number alone. So the questions are numbered here, from 1 in every start. The
    numbers of the steps would not do: a signal before the first step of a resumed run would be for step 1.
    """

    def __init__(self):
        self._distributed = jax.distributed.is_initialized()
        self._noticed = False
        self._old_handler = None
        self._questions = itertools.count(1)

    def __enter__(self) -> "PreemptionNotice":
        if not self._distributed:
            self._old_handler = signal.signal(signal.SIGTERM, self._notice)
        return self

    def __exit__(self, *_: object) -> None:
        if not self._distributed:
            signal.signal(signal.SIGTERM, self._old_handler)

    def reached(self) -> bool:
        """Whether the run is to save and leave; to be asked once after every step, by all processes alike."""
        if self._distributed:
            return multihost_utils.reached_preemption_sync_point(next(self._questions))
        return self._noticed

    def _notice(self, number: int, frame: FrameType | None) -> None:
        self._noticed = True
        logging.info("SIGTERM: saving after this step, then leaving with code %d", EXIT_CODE)
