"""How far a start of ``rmjax.train`` has come, by what it says."""

import subprocess
import time

from benchmarks.sides import ROOT

# How lines of rmjax.train begin, in their order.
MARKS = {"tokenized_seconds": "validation: ", "state_seconds": "the model has ", "seconds": "step 1 of "}


def follow(command: list[str], environment: dict[str, str]) -> dict[str, float]:
    """Seconds from the start of a process until it says each of the marks on stderr, when it is killed.

    Raises:
      SystemExit: with all that it said, where it ends without one of them.
    """
    began, found, said = time.perf_counter(), {}, []
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            said.append(line)
            found |= {name: time.perf_counter() - began for name, mark in MARKS.items() if line.startswith(mark)}
            if len(found) == len(MARKS):
                process.kill()
                return {name: found[name] for name in MARKS}
    missing = ", ".join(repr(mark) for name, mark in MARKS.items() if name not in found)
    raise SystemExit(f"{' '.join(command)} ended without a line that begins with {missing}:\n{''.join(said)}")
