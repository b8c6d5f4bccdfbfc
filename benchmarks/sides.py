"""The sides of a benchmark as processes that work in turn: each computes only while it is asked, and is measured alone.

The benchmark holds a ``Side`` for each; the side's own script (``python -m benchmarks.NAME FOLDER``, in its own
environment) answers what ``questions`` gives it. Questions and answers are JSON lines. Needs the standard
library alone, because the peers' environment has no rmjax. Linux: processor affinity and the unit of ``ru_maxrss``.
"""

import contextlib
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PEERS = ROOT / ".venv-peers" / "bin" / "python"

Answer = dict[str, Any]
# glibc asks for huge pages: memory that is taken and given back at each step then costs few page faults (BUILD.md).
CPU = {"JAX_PLATFORMS": "cpu", "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}


class SideError(SystemExit):
    """A side that has died, or says that it can't go on; uncaught it ends the benchmark with its message."""


def use_threads(count: int) -> None:
    """Keeps this process and those it starts to so many processors, which is what XLA and torch then see."""
    available = sorted(os.sched_getaffinity(0))
    if len(available) < count:
        raise SystemExit(f"--threads={count}: there are {len(available)} processors")
    os.sched_setaffinity(0, available[:count])
    os.environ |= {"OMP_NUM_THREADS": str(count), "MKL_NUM_THREADS": str(count)}


def say(text: str) -> None:
    """Progress, on stderr."""
    print(text, file=sys.stderr, flush=True)


class Side:
    """A process that answers one question at a time; it starts at once and is ready when it answers the first."""

    def __init__(
        self,
        module: str,
        *arguments: str,
        python: Path = Path(sys.executable),
        environment: Mapping[str, str] = CPU,
    ):
        if not python.exists():
            raise SystemExit(f"{python} is missing: benchmarks/setup_peers.sh makes it")
        offline = {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
        self.name = " ".join([module, *arguments])
        self._process = subprocess.Popen(
            [str(python), "-m", module, *arguments],
            cwd=ROOT,
            env={**os.environ, **offline, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, **question: Any) -> Answer:
        """The answer to a question; SideError from a side that has died or answers with an error."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise SideError(f"{self.name} ended with code {self._process.wait()}; what it said is above")
        answer = json.loads(line)
        if "error" in answer:
            raise SideError(f"{self.name}: {answer['error']}")
        return answer

    def kill(self) -> None:
        """From any thread: what is asked then, or is being asked, is a SideError."""
        self._process.kill()

    def close(self) -> None:
        """Ends the process, whatever it is doing."""
        self._process.kill()
        self._process.communicate()

    def __enter__(self) -> "Side":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def questions() -> tuple[Iterator[dict[str, Any]], Callable[[Answer], None]]:
    """In a side's process: the questions as they come, and how they are answered.

    Whatever else is printed to stdout from now on goes to stderr, so that a library can't write between the answers.
    """
    stream = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def answer(found: Answer) -> None:
        stream.write(json.dumps(found) + "\n")

    return (json.loads(line) for line in sys.stdin), answer


@contextlib.contextmanager
def reporting(answer: Callable[[Answer], None]) -> Iterator[None]:
    """In a side's process: an exception is also the answer, so that a benchmark can print why a case has no figure."""
    try:
        yield
    except Exception as error:
        said = str(error).strip().partition("\n")[0]
        answer({"error": f"{type(error).__name__}: {said}"})
        raise


def pace(windows: Sequence[Answer]) -> float:
    """Pairs a second that a side keeps up over an epoch.

    A window answers how much ``work`` it did, in a unit of its side's of which each takes as long as any other (a step
    of rows, a padded token), and how many pairs an epoch has for each unit, ``pairs_per_work``. How many pairs a window
    happens to have doesn't count: that varies more than the speed. The median over the windows.
    """
    return statistics.median(window["work"] * window["pairs_per_work"] / window["seconds"] for window in windows)


class Clock:
    """The time since it was made."""

    def __init__(self):
        self._began, self._processors = time.perf_counter(), time.process_time()

    def read(self) -> Answer:
        """``seconds``, ``busy`` (how many processors this process had of them) and its ``peak_gib`` of memory so far.

        A side that is busy with less than its threads was disturbed, by another process or by a wait of its own.
        """
        seconds = time.perf_counter() - self._began
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        return {"seconds": seconds, "busy": (time.process_time() - self._processors) / seconds, "peak_gib": peak}
