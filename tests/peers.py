"""What runs in the peers' Python, in the environment that ``make test-peers`` makes."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
ENVIRONMENT = ROOT / ".venv-peers"
PYTHON = ENVIRONMENT / "bin" / "python"


def needs(*packages: str) -> pytest.MarkDecorator:
    """Skips what needs the environment, with these folders of packages that setup_peers.sh puts beside the others."""
    there = all((ENVIRONMENT / name).exists() for name in ("bin/python", *packages))
    return pytest.mark.skipif(not there, reason="no .venv-peers: `make test-peers` makes it and runs this")


def run_peer(script: str, *arguments: str, path: tuple[Path, ...] = ()) -> Any:
    """Runs a script of this folder there, and returns the JSON of the last line that it prints."""
    variables = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(map(str, path)), "HF_HUB_OFFLINE": "1"}
    command = [str(PYTHON), str(ROOT / "tests" / script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=variables)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
