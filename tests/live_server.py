"""A real ``python -m rmjax.serve`` in a process of its own."""

import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]


@contextlib.contextmanager
def live(workdir: str, *options: str, port: int = 0, **variables: str) -> Iterator[str]:
    """Serves the run, and yields the URL, at which it may not answer yet; in the end the server is killed."""
    command = [sys.executable, "-m", "rmjax.serve", f"--workdir={workdir}", f"--port={port}", *options]
    with tempfile.NamedTemporaryFile() as log:
        process = subprocess.Popen(command, stderr=log, cwd=ROOT, env=os.environ | variables)
        try:
            while not (found := re.search(r" at (http://\S+)", said := Path(log.name).read_text())):
                assert process.poll() is None, said
                time.sleep(0.05)
            yield found[1]
        finally:
            process.kill()
            process.wait()
