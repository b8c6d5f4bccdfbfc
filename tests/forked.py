"""Python commands in processes of their own, forked from one that has already imported what they need.

A third of the time of a short ``python -m rmjax.train`` goes to imports. So one process imports, once, and is then
forked for each command: no device has been touched by then, and a fork ends as any other process does, of itself or by
a signal.
"""

import gc
import importlib
import json
import os
import pathlib
import runpy
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Mapping, Sequence

ROOT = pathlib.Path(__file__).parents[1]
MODULES = ("ml_collections.config_flags", "rmjax.command", "rmjax.evaluation.validation", "rmjax.training.loop")


def collect_less() -> None:
    """What has been imported stays: looking through it for garbage again and again took a tenth of the tests' time."""
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)


class Forked:
    """One command; the part of ``subprocess.Popen`` that tests use."""

    def __init__(self, server: "Server", pid: int):
        self._server, self.pid = server, pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self._server.ask({"pid": self.pid})
        return self.returncode

    def wait(self, timeout: float) -> int:
        end = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
            time.sleep(0.01)
        return code

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Server:
    """Starts commands, in the environment of the tests but for variables of each (of which Python reads none)."""

    def __init__(self):
        path = {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
        self._process = subprocess.Popen(
            [sys.executable, __file__], env=os.environ | path, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def ask(self, request: Mapping[str, object]) -> int | None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the process that commands are forked from has ended"
        return json.loads(answer)

    def start(
        self, arguments: Sequence[str], *, out: pathlib.Path, err: pathlib.Path | None = None,
        given: pathlib.Path = pathlib.Path(os.devnull), folder: pathlib.Path = ROOT, **variables: str,
    ) -> Forked:  # fmt: skip
        """Starts ``python ARGUMENTS``, of the form ``-m MODULE …`` or ``-c CODE …``; it reads and writes files."""
        for path in (out, err):
            if path is not None:
                path.write_bytes(b"")
        pid = self.ask({"arguments": arguments, "given": str(given), "out": str(out), "err": str(err or out),
                        "folder": str(folder), "variables": variables})  # fmt: skip
        assert pid is not None
        return Forked(self, pid)

    def run(
        self, *arguments: str, given: str = "", folder: pathlib.Path = ROOT, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Runs it to its end, with its input and outputs as text."""
        with tempfile.TemporaryDirectory() as temporary:
            source, out, err = (pathlib.Path(temporary, name) for name in ("in", "out", "err"))
            source.write_text(given)
            process = self.start(arguments, out=out, err=err, given=source, folder=folder, **variables)
            try:
                code = process.wait(timeout=300)
            finally:
                process.kill()
            return subprocess.CompletedProcess(arguments, code, out.read_text(), err.read_text())


def serve() -> dict | None:
    """Answers requests until there are no more, and then kills what still runs; in a process that was forked, returns
    the request for it."""
    running = set()
    for line in sys.stdin:
        request = json.loads(line)
        if "pid" in request:
            pid, status = os.waitpid(request["pid"], os.WNOHANG)
            running -= {pid}
            print(json.dumps(None if pid == 0 else os.waitstatus_to_exitcode(status)), flush=True)
            continue
        with warnings.catch_warnings(action="ignore"):  # of threads: those of numpy, which is prepared for forks
            pid = os.fork()
        if pid == 0:
            return request
        running.add(pid)
        print(pid, flush=True)
    for pid in running:
        os.kill(pid, signal.SIGKILL)
    return None


def become(request: Mapping) -> None:
    """What ``python ARGUMENTS`` does, in the folder and with the outputs of the request."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in a shell's background
    os.environ.update(request["variables"])
    for name, value in request["variables"].items():
        if name.startswith("JAX_"):  # which jax read when it was imported
            sys.modules["jax"].config.update(name.lower(), {"true": True, "false": False}.get(value, value))
    os.chdir(request["folder"])
    sys.path[0] = request["folder"]
    os.dup2(os.open(request["given"], os.O_RDONLY), 0)
    for output, path in ((1, request["out"]), (2, request["err"])):
        os.dup2(os.open(path, os.O_WRONLY | os.O_APPEND), output)
    option, what, *rest = request["arguments"]
    sys.argv = [option, *rest]
    if option == "-m":
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        exec(compile(what, "<string>", "exec"), {"__name__": "__main__"})


if __name__ == "__main__":
    for module in MODULES:
        importlib.import_module(module)
    collect_less()
    if (request := serve()) is not None:
        become(request)
