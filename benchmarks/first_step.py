"""How long a run takes to its first step, with an empty compilation cache and with a full one.

    python -m benchmarks.first_step --config=experiments/helpfulness.py [--repeats=3]

Each start is ``rmjax.train`` as a user types it, ended once it has told its first step; one before them all, which
doesn't count, prepares the data. One JSON line for each kind of start, ``empty`` and ``full``: the medians of
``seconds`` to the first step, and on the way of ``import_seconds`` (a process that only imports the command),
``tokenized_seconds`` (until all text is read and tokenized) and ``state_seconds`` (until the parameters are made, which
is compiled too); ``starts`` (all of them) and ``compiled_mib``, the size of the cache.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from absl import app, flags

from benchmarks.sides import CPU, ROOT, say
from benchmarks.starts import follow

_CONFIG = flags.DEFINE_string("config", "experiments/helpfulness.py", "The experiment.")
_REPEATS = flags.DEFINE_integer("repeats", 3, "Starts of each kind.", lower_bound=1)


def start(config: str, cache: Path) -> dict[str, float]:
    """The seconds of one start, and of its imports alone."""
    environment = {**os.environ, **CPU, "JAX_COMPILATION_CACHE_DIR": str(cache)}
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import rmjax.train"], cwd=ROOT, env=environment, check=True)
    imports = {"import_seconds": time.perf_counter() - began}
    with tempfile.TemporaryDirectory() as workdir:
        command = [sys.executable, "-m", "rmjax.train", f"--config={config}", f"--workdir={workdir}/run"]
        return imports | follow(command, environment)


def size_mib(folder: Path) -> float:
    """Of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20


def main(_: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        start(_CONFIG.value, Path(folder) / "first")
        found = {"empty": [], "full": []}
        for repeat in range(_REPEATS.value):
            cache = Path(folder) / str(repeat)
            for kind, starts in found.items():
                starts.append({**start(_CONFIG.value, cache), "compiled_mib": size_mib(cache)})
                say(f"{kind}: {starts[-1]}")
    for kind, starts in found.items():
        medians = {name: statistics.median(run[name] for run in starts) for name in starts[0]}
        line = {"cache": kind, "config": _CONFIG.value, **medians, "starts": [run["seconds"] for run in starts]}
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    app.run(main)
