"""Which packages a Python has: ``python -m benchmarks.installed NAME…`` prints their versions, null for one that it
cannot import. Needs the standard library alone, so that any interpreter can be asked."""

import importlib.metadata
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

from benchmarks.sides import ROOT

Versions = dict[str, str | None]


def here(*names: str) -> Versions:
    """Of this interpreter."""
    return {
        name: importlib.metadata.version(name) if importlib.util.find_spec(name.replace("-", "_")) else None
        for name in names
    }


def in_python(python: Path, *names: str) -> Versions:
    """Of another interpreter."""
    command = [str(python), "-m", "benchmarks.installed", *names]
    return json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout)


if __name__ == "__main__":
    print(json.dumps(here(*sys.argv[1:])))
