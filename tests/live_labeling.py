"""A real ``python -m rmjax.label`` in a process of its own, and clients of it."""

import contextlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]


def write_tasks(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def command(*options: str) -> list[str]:
    return [sys.executable, "-m", "rmjax.label", *options]


class Page:
    """A page that is served: its URL, and the process."""

    def __init__(self, url: str, process: subprocess.Popen, log: Path):
        self.url, self.process, self._log = url, process, log

    def log(self) -> str:
        return self._log.read_text()


@contextlib.contextmanager
def live_page(folder: Path, *options: str, port: int = 0) -> Iterator[Page]:
    """Serves ``folder/tasks.jsonl`` into ``folder/out.jsonl``; killed in the end where it still runs."""
    log = folder / "log.txt"
    arguments = command(f"--tasks={folder}/tasks.jsonl", f"--output={folder}/out.jsonl", f"--port={port}", *options)
    with log.open("wb") as file:
        process = subprocess.Popen(arguments, stderr=file, cwd=ROOT, env=os.environ)
    try:
        while not (found := re.search(r"the page is at (http://\S+)", log.read_text())):
            assert process.poll() is None, log.read_text()
            time.sleep(0.02)
        yield Page(found[1], process, log)
    finally:
        process.kill()
        process.wait()
