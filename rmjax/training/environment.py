"""What a run needs to be repeated, beside its config: one entry in ``environment.json`` for each start."""

import datetime
import importlib.metadata
import json
import os
import pathlib
import platform
import subprocess
import sys
from typing import Any

import jax
from etils import epath

from rmjax.files import write_text
from rmjax.training.parallel import describe_devices

ENVIRONMENT = "environment.json"
PACKAGES = (
    "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "grain", "tokenizers", "tensorflow-datasets",
    "ml_collections", "libtpu",
)  # fmt: skip
VARIABLES = ("XLA_FLAGS", "JAX_DEFAULT_MATMUL_PRECISION", "LIBTPU_INIT_ARGS")  # they can change a result's last bits


def record_start(workdir: epath.PathLike) -> None:
    """Appends this start to ``environment.json``, by one process alone."""
    if jax.process_index() != 0:
        return
    path = epath.Path(workdir) / ENVIRONMENT
    starts = json.loads(path.read_text())["starts"] if path.exists() else []
    write_text(path, json.dumps({"starts": [*starts, describe()]}, indent=2) + "\n")


def describe() -> dict[str, Any]:
    """Time, command, versions, revision of the source, devices and the variables that matter."""
    return {
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": [sys.executable, *sys.argv],
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: version for name in PACKAGES if (version := _version(name)) is not None},
        "revision": revision(pathlib.Path(__file__).parent),
        "devices": describe_devices(),
        "variables": {name: os.environ[name] for name in VARIABLES if name in os.environ},
    }


def revision(folder: pathlib.Path) -> dict[str, Any] | None:
    """The git commit of the source in ``folder`` and whether tracked files differ from it; None outside of git."""
    try:
        if not _git(folder, "ls-files"):  # installed into the environment of some other repository
            return None
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no", "--", ":/")
        return {"commit": _git(folder, "rev-parse", "HEAD"), "dirty": bool(changed)}
    except (OSError, subprocess.SubprocessError):  # no git, no repository, or one that git won't read
        return None


def _git(folder: pathlib.Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
