"""Requests a second that rmjax.serve answers, with continuous batching and without.

    python -m benchmarks.serving [--model=4x256] [--requests=2000] [--clients=64] [--windows=4]

Needs neither data nor peers: texts are random words, of log-normal lengths much like HH's (a median of 80 tokens a
prompt and 50 a response) within the limits of the model, and a request has 1 to 16 responses. Two real servers are
started, one with ``--batching=false``, and asked in turn, a window of the requests each, by as many clients as
``--clients``, each of which sends its next request when it has the answer to the last.

One JSON line: ``batched`` and ``alone`` in requests a second (of all windows), their ``ratio``, for each the
latencies' ``p50``, ``p95`` and ``p99`` in seconds, how many requests were ``lost``, and ``largest_difference``: of the
rewards that the two servers gave, and of ``--checked`` of them and the scorer's for that response alone.
"""

import http.client
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optax
from absl import app, flags, logging

from benchmarks import workload
from benchmarks.sides import CPU, ROOT, say, use_threads
from rmjax.batches.template import RoleTemplate
from rmjax.batches.tokenizer import train_tokenizer
from rmjax.config import ExperimentConfig, TextConfig
from rmjax.models.reward import RewardModel
from rmjax.scoring.scorer import RewardScorer
from rmjax.training.checkpoint import Checkpoints
from rmjax.training.processors import use_processors
from rmjax.training.state import new_state
from rmjax.training.workdir import CHECKPOINTS, open_workdir, write_contract

_MODEL = flags.DEFINE_enum("model", "4x256", list(workload.MODELS), "Which model.")
_REQUESTS = flags.DEFINE_integer("requests", 2000, "That each server is sent.")
_CLIENTS = flags.DEFINE_integer("clients", 64, "That ask at once.")
_WINDOWS = flags.DEFINE_integer("windows", 4, "Turns of each server.")
_LIMIT = flags.DEFINE_integer("limit", 1024, "Tokens that a prompt may have, and a response.")
_CHECKED = flags.DEFINE_integer("checked", 200, "Responses that the scorer computes alone, too.")
_THREADS = flags.DEFINE_integer("threads", 2, "Processors of servers and clients together.")
_SEED = flags.DEFINE_integer("seed", 0, "Of the weights and the texts.")
_RESPONSES = 16
_PROMPT, _RESPONSE, _SPREAD = 80, 50, 0.9  # medians of tokens, and the spread of their logarithms

Row = dict[str, Any]


class Writer:
    """Random words of an invented language, the first of them the most frequent."""

    def __init__(self, seed: int):
        self._random = np.random.default_rng(seed)
        letters = list("abcdefghijklmnopqrstuvwxyz")
        self._words = [
            "".join(self._random.choice(letters, size=length)) for length in self._random.integers(2, 9, 4000)
        ]

    def words(self, count: int) -> str:
        ranks = np.minimum(self._random.zipf(1.3, size=count), len(self._words)) - 1
        return " ".join(self._words[rank] for rank in ranks)

    def rows(self, count: int, limit: int) -> list[Row]:
        """Requests of a prompt and 1 to 16 responses."""
        most = limit - 16  # words are tokens but for the rare ones
        found = []
        for _ in range(count):
            sizes = self._random.lognormal(0, _SPREAD, size=1 + self._random.integers(1, _RESPONSES + 1))
            prompt, *responses = (int(size * median) for size, median in zip(
                sizes, [_PROMPT, *[_RESPONSE] * _RESPONSES], strict=False))  # fmt: skip
            texts = [" " + self.words(min(max(length, 1), most // 2)) for length in responses]
            found.append({"prompt": self.words(min(max(prompt, 4), most // 2)), "responses": texts})
        return found


def write_run(folder: Path, name: str, writer: Writer) -> None:
    """A run that was never trained, with queries that aren't zero."""
    limits = TextConfig(
        vocabulary_size=workload.VOCABULARY, max_prompt_tokens=_LIMIT.value, max_response_tokens=_LIMIT.value
    )
    config = ExperimentConfig(model=workload.MODELS[name], text=limits, seed=_SEED.value)
    workdir = open_workdir(folder, config)
    tokenizer = train_tokenizer((writer.words(1000) for _ in range(200)), workload.VOCABULARY)
    write_contract(workdir, tokenizer, RoleTemplate())
    state = new_state(RewardModel(config.model, tokenizer.get_vocab_size()), optax.sgd(1.0), seed=_SEED.value)
    state = state.replace(params=workload.with_queries(state.params, _SEED.value))
    with Checkpoints(folder / CHECKPOINTS) as saved:
        saved.save(1, state, data={"epoch": 0, "step": 1}, validation={"accuracy": 0.5})


class Server:
    """``python -m rmjax.serve``, and the clients that ask it."""

    def __init__(self, workdir: Path, *, batching: bool):
        command = [sys.executable, "-m", "rmjax.serve", f"--workdir={workdir}", "--port=0", f"--batching={batching}"]
        self._process = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, **CPU}, stderr=subprocess.PIPE, text=True
        )
        assert self._process.stderr is not None
        said = []
        for line in self._process.stderr:
            said.append(line)
            if line.startswith("serving "):
                self.port = int(line.rsplit(":", 1)[1])
                break
        else:
            raise SystemExit(f"the server ended:\n{''.join(said)}")
        threading.Thread(target=self._process.stderr.read, daemon=True).start()
        self.seconds, self.latencies = 0.0, []

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        if code := self._process.wait(timeout=60):
            raise SystemExit(f"the server ended with code {code}")

    def wait(self) -> None:
        """Until it is ready."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)
        connection.request("GET", "/ready")
        answer = connection.getresponse()
        if answer.status != http.client.OK:
            raise SystemExit(f"the server isn't ready: {answer.read().decode()}")
        connection.close()

    def drive(self, rows: Sequence[Row], clients: int) -> list[list[float] | None]:
        """The rewards of each row, None of one that was lost; adds to ``seconds`` and ``latencies``."""
        bodies = [json.dumps(row) for row in rows]
        found: list[list[float] | None] = [None] * len(rows)
        left: queue.SimpleQueue[int] = queue.SimpleQueue()
        for number in range(len(rows)):
            left.put(number)

        def client() -> None:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)
            while True:
                try:
                    number = left.get_nowait()
                except queue.Empty:
                    return connection.close()
                began = time.perf_counter()
                connection.request("POST", "/v1/rewards", bodies[number], {"Content-Type": "application/json"})
                answer = connection.getresponse()
                text = answer.read()
                self.latencies.append(time.perf_counter() - began)
                if answer.status == http.client.OK:
                    found[number] = [entry["reward"] for entry in json.loads(text)["rewards"]]

        began = time.perf_counter()
        threads = [threading.Thread(target=client) for _ in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.seconds += time.perf_counter() - began
        return found


def largest_difference(
    rows: Sequence[Row], answers: dict[str, list[list[float] | None]], workdir: Path, checked: int
) -> float:
    """Of the two servers' rewards, and of some of them and those that are computed alone."""
    pairs = zip(answers["batched"], answers["alone"], strict=True)
    differences = [
        abs(one - other) for both in pairs if both[0] and both[1] for one, other in zip(both[0], both[1], strict=True)
    ]
    scorer, random = RewardScorer.from_workdir(workdir), np.random.default_rng(_SEED.value)
    for number in random.integers(0, len(rows), size=checked).tolist():
        answer, row = answers["batched"][number], rows[number]
        if answer is not None:
            place = int(random.integers(0, len(answer)))
            (alone,) = scorer.score(row["prompt"], [row["responses"][place]])
            assert isinstance(alone, float)
            differences.append(abs(alone - answer[place]))
    return max(differences)


def in_turn(rows: Sequence[Row], servers: dict[str, Server]) -> dict[str, list[list[float] | None]]:
    """The answers of each server to all rows, asked in windows."""
    answers: dict[str, list[list[float] | None]] = {name: [] for name in servers}
    for server in servers.values():
        server.wait()
    for window in np.array_split(np.arange(len(rows)), _WINDOWS.value):
        for name, server in servers.items():
            before = server.seconds
            answers[name] += server.drive([rows[number] for number in window.tolist()], _CLIENTS.value)
            say(f"{name}: {len(window) / (server.seconds - before):.2f} requests a second")
    return answers


def main(_: list[str]) -> None:
    logging.set_verbosity(logging.WARNING)
    use_threads(_THREADS.value)
    use_processors()
    writer = Writer(_SEED.value)
    rows = writer.rows(_REQUESTS.value, _LIMIT.value)
    with tempfile.TemporaryDirectory() as folder:
        workdir = Path(folder) / "run"
        write_run(workdir, _MODEL.value, writer)
        with Server(workdir, batching=True) as batched, Server(workdir, batching=False) as alone:
            servers = {"batched": batched, "alone": alone}
            answers = in_turn(rows, servers)
        pace = {name: len(rows) / server.seconds for name, server in servers.items()}
        line: dict[str, Any] = {"model": _MODEL.value, **pace, "ratio": pace["batched"] / pace["alone"]}
        for name, server in servers.items():
            line |= {f"{name}_p{part}": float(np.percentile(server.latencies, part)) for part in (50, 95, 99)}
        line["lost"] = {name: found.count(None) for name, found in answers.items()}
        line["largest_difference"] = largest_difference(rows, answers, workdir, _CHECKED.value)
    line |= {"requests": len(rows), "responses": sum(len(row["responses"]) for row in rows), "clients": _CLIENTS.value,
             "limit": _LIMIT.value, "threads": _THREADS.value}  # fmt: skip
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    app.run(main)
