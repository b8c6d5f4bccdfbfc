"""SIGTERM, as a Cloud TPU sends it 30 seconds or more before it is taken away, and Ctrl-C: save, then leave."""

import itertools
import os
import signal
from types import FrameType
from typing import Any

import jax
from absl import logging
from jax.experimental import multihost_utils


class Preempted(SystemExit):
    """Ends the process after a signal, its state saved.

    The exit code is 143, as of a process that SIGTERM ended, and 130 after a SIGINT (Ctrl-C). Not 0: to the supervisors
    that restart a job where it failed (Kubernetes Jobs and JobSets, systemd's ``Restart=on-failure`` with 143 not made
    a success, a shell loop) 0 would mean that the training is complete.
    """

    def __init__(self, step: int, number: signal.Signals = signal.SIGTERM):
        super().__init__(128 + number)
        self.step = step


class PreemptionNotice:
    """Tells the loop of a SIGTERM or a SIGINT; a context manager that gives the signals their old handlers back.

    A second SIGINT is the old handler's, which ends the process at once. Where SIGINT is ignored (as of a job in a
    shell's background) it stays so. With ``jax.distributed`` initialised, JAX's preemption service catches the signal
    on any process and all processes are told at one and the same step; a SIGINT is sent on to this process as a
    SIGTERM. Else a handler sets a flag.

    JAX's service lets the processes agree on the number after the highest that any of them has asked with, 0 before
    the first, and answers yes to that number alone. So the questions are numbered here, from 1 in every start. The
    numbers of the steps would not do: a signal before the first step of a resumed run would be for step 1.

    Attributes:
      number: of the signal that came to this process; SIGTERM where none did.
    """

    def __init__(self):
        self._distributed = jax.distributed.is_initialized()
        self._noticed = False
        self._old_handlers: dict[signal.Signals, Any] = {}
        self._questions = itertools.count(1)
        self.number = signal.SIGTERM

    def __enter__(self) -> "PreemptionNotice":
        numbers = [] if self._distributed else [signal.SIGTERM]
        numbers += [signal.SIGINT] if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN else []
        self._old_handlers = {number: signal.signal(number, self._notice) for number in numbers}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._old_handlers.items():
            signal.signal(number, handler)

    @property
    def cause(self) -> str:
        """The signal in words."""
        return "Ctrl-C" if self.number == signal.SIGINT else "SIGTERM"

    def reached(self) -> bool:
        """Whether the run is to save and leave; to be asked once after every step, by all processes alike."""
        if self._distributed:
            return multihost_utils.reached_preemption_sync_point(next(self._questions))
        return self._noticed

    def _notice(self, number: int, frame: FrameType | None) -> None:
        self._noticed = True
        self.number = signal.Signals(number)
        again = ""
        if number == signal.SIGINT:
            signal.signal(number, self._old_handlers[self.number])
            again = "; once more leaves at once, and saves nothing"
            if self._distributed:
                os.kill(os.getpid(), signal.SIGTERM)
        logging.info("%s: saving after this step, then leaving with code %d%s", self.cause, 128 + self.number, again)
