"""A stand-in for ``rmjax.serve``: it speaks the protocol of ``/v1/rewards`` and fails as it is told to."""

import contextlib
import json
import re
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from rmjax.preferences.record import RowError

Score = Callable[[Any, list[Any]], list[float]]


class RefusalError(Exception):
    """What the server refuses, with a status, a message and what else its answer says."""

    def __init__(self, status: int, message: str, **details: Any):
        super().__init__(message)
        self.status, self.details = status, details

    @classmethod
    def of(cls, error: RowError) -> "RefusalError":
        """As the server refuses a row that can't be used."""
        parts = {name: getattr(error, name) for name in ("kind", "field", "found", "right")}
        place = re.fullmatch(r"responses\[(\d+)\]", error.field)
        return cls(422, str(error), **parts, **({"response": int(place[1])} if place else {}))


class StandIn:
    """The server while it runs.

    Attributes:
      asked: the bodies of all requests that were answered well, in the order of their answers.
      faults: those that are still to come, one for each request.
      headers: of the last request.
      most: the most requests that were there at a time.

    Args:
      also: fields that each reward has besides, or in the place of those that it would have.
    """

    def __init__(
        self, score: Score, faults: Iterable[str] = (), *, slow_s: float = 0.0, port: int = 0,
        tls: ssl.SSLContext | None = None, also: Mapping[str, Any] | None = None,
    ):  # fmt: skip
        self.asked: list[dict] = []
        self.headers: dict[str, str] = {}
        self.most = self._now = 0
        self.faults = list(faults)
        self._score, self._also, self._slow_s = score, also or {}, slow_s
        self._lock = threading.Lock()
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                stand_in.answer(self)

            def log_message(self, format: str, *args: object) -> None:
                """Nothing: the tests' output stays theirs."""

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        assert handler.path == "/v1/rewards"
        with self._lock:
            self.headers = dict(handler.headers)
            fault = self.faults.pop(0) if self.faults else ""
            self._now += 1
            self.most = max(self.most, self._now)
        time.sleep(self._slow_s)
        status, data, headers = self._answer(body, fault)
        with self._lock:  # before the client has its answer, and sends the next request
            self._now -= 1
        if fault == "reset":
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            handler.connection.close()
        else:
            send(handler, status, data, headers, sent=len(data) // 2 if fault == "cut" else None)

    def _answer(self, body: dict, fault: str) -> tuple[int, bytes, dict]:
        if fault == "reset":
            return 0, b"", {}
        if fault.isdigit():
            return int(fault), json.dumps({"error": "come back later"}).encode(), {"Retry-After": "0"}
        try:
            rewards = self._score(body["prompt"], body["responses"])
        except RefusalError as refusal:
            return refusal.status, json.dumps({"error": str(refusal), **refusal.details}).encode(), {}
        except Exception as error:  # else the client would see a broken connection, and try again
            return 500, repr(error).encode(), {}
        entries = [{"reward": value, "head": body.get("head", "reward"), "tokens": 1,
                    "normalized_reward": None if fault == "plain" else value / 2, **self._also}
                   for value in rewards]  # fmt: skip
        usage = {"cut_prompts": 0, "max_prompt_tokens": 60}
        data = json.dumps({"model": "stand-in", "rewards": entries, "usage": usage}).encode()
        if fault == "half":
            data = data[: len(data) // 2]
        elif fault != "cut":
            with self._lock:
                self.asked.append(body)
        return 200, data, {}


def send(handler: BaseHTTPRequestHandler, status: int, data: bytes, headers: dict, *, sent: int | None = None) -> None:
    handler.send_response(status)
    for name, value in {"Content-Length": str(len(data)), **headers}.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(data[:sent])


@contextlib.contextmanager
def serving(score: Score, faults: Iterable[str] = (), **options: Any) -> Iterator[StandIn]:
    server = StandIn(score, faults, **options)
    try:
        yield server
    finally:
        server.close()
