"""SIGTERM, as a Cloud TPU sends it 30 seconds or more before it is taken away: save, then leave."""

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
    """

    def __init__(self):
        self._distributed = jax.distributed.is_initialized()
        self._noticed = False
        self._old_handler = None

    def __enter__(self) -> "PreemptionNotice":
        if not self._distributed:
            self._old_handler = signal.signal(signal.SIGTERM, self._notice)
        return self

    def __exit__(self, *_: object) -> None:
        if not self._distributed:
            signal.signal(signal.SIGTERM, self._old_handler)

    def reached(self, step: int) -> bool:
        """Whether the run is to save after this step and leave; to be asked once after every step."""
        return multihost_utils.reached_preemption_sync_point(step) if self._distributed else self._noticed

    def _notice(self, number: int, frame: FrameType | None) -> None:
        self._noticed = True
        logging.info("SIGTERM: saving after this step, then leaving with code %d", EXIT_CODE)
