"""A server that speaks the protocol of chat completions, and answers as a judge with a known taste and a known bias.

It serves on a free port of this machine, in threads of this process, and fails where it is told to. A response says
what it is worth in its text, as in ``worth=1.5``; P(A) = sigmoid(worth of A - worth of B + bias).
"""

import hashlib
import json
import math
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SLOW = "slow"  # a byte from time to time, for longer than anybody waits
THINKING = "thinking"  # a thought that is cut off where fewer than THOUGHTS tokens are allowed
THOUGHTS = 16
FAULTS = ("429", "500", "503", "timeout", "nonsense", "truncated", "cut off", "not a completion")
_WORTH = re.compile(r"<response-([AB])-\w+>\n.*?worth=(-?[\d.]+)", re.DOTALL)
Fault = Callable[[str, int], str | None]


def preferring_first(messages: list[dict[str, str]], bias: float) -> float:
    """P(A) that the judge has of a question."""
    worth = {letter: float(value) for letter, value in _WORTH.findall(messages[1]["content"])}
    return 1 / (1 + math.exp(-(worth["A"] - worth["B"] + bias)))


def name_of(messages: list[dict[str, str]]) -> str:
    return hashlib.sha256(json.dumps(messages).encode()).hexdigest()


class LocalJudge:
    """The server, as a context.

    Attributes:
      bias: the logit that the judge adds for the response shown first.
      logprobs: whether it gives them when it is asked to.
      fault: (question, number of its tries so far) -> a name of FAULTS or "STATUS", or None for a good answer.
      timeout_s: how long it sleeps for a time-out.
      asked, answered: how often each question was asked, and was given a good answer.
      times: when each request came, by question.
      requests: the bodies, and the headers by their names in lower case.
      most_running: how many requests there were at a time, at most.
    """

    def __init__(self, *, bias: float = 0.0, logprobs: bool = True, fault: Fault = lambda name, tries: None):
        self.bias, self.logprobs, self.fault = bias, logprobs, fault
        self.timeout_s, self.retry_after = 0.6, "1"
        self.asked: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.times: list[tuple[str, float]] = []
        self.requests: list[tuple[dict[str, Any], dict[str, str]]] = []
        self.running, self.most_running = 0, 0
        self._lock = threading.Lock()

    def __enter__(self) -> "LocalJudge":
        judge = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                judge.handle(self)

            def log_message(self, *_):
                pass

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *_):
                """Clients that were killed, or waited no longer, are what is tested."""

        self._server = Quiet(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def handle(self, request: BaseHTTPRequestHandler) -> None:
        body = json.loads(request.rfile.read(int(request.headers["Content-Length"])))
        name = name_of(body["messages"])
        with self._lock:
            tries = self.asked[name]
            self.asked[name] += 1
            self.times.append((name, time.monotonic()))
            self.requests.append((body, {key.lower(): value for key, value in request.headers.items()}))
            self.running += 1
            self.most_running = max(self.most_running, self.running)
        fault = "404" if request.path != "/v1/chat/completions" else self.fault(name, tries)
        if fault == THINKING and body["max_tokens"] >= THOUGHTS:
            fault = None
        try:
            if fault is None:
                self._answer(request, body, name)
            else:
                self._fail(request, body, fault)
        finally:
            with self._lock:
                self.running -= 1

    def _answer(self, request: BaseHTTPRequestHandler, body: dict[str, Any], name: str) -> None:
        with self._lock:
            vote = self.answered[name]
            self.answered[name] += 1
        first = preferring_first(body["messages"], self.bias)
        drawn = random.Random(f"{name} {vote}").random() < first
        text = "A" if drawn else "B"
        asks = bool(body.get("logprobs"))
        _send(request, 200, completion(text, first if self.logprobs and asks else None))

    def _fail(self, request: BaseHTTPRequestHandler, body: dict[str, Any], fault: str) -> None:
        if fault == "timeout":
            time.sleep(self.timeout_s)
            _send(request, 200, completion("A", None))
        elif fault == SLOW:
            data = json.dumps(completion("A", None)).encode()
            request.send_response(200)
            request.send_header("Content-Length", str(len(data)))
            request.end_headers()
            for place in range(20):
                request.wfile.write(data[place : place + 1])
                request.wfile.flush()
                time.sleep(self.timeout_s / 10)
        elif fault == "nonsense":
            _send(request, 200, completion("Both responses are lovely.", None))
        elif fault == THINKING:
            thought = completion("<think>Which of the two", None)
            thought["choices"][0]["finish_reason"] = "length"
            thought["usage"]["completion_tokens"] = body["max_tokens"]
            _send(request, 200, thought)
        elif fault == "truncated":
            _send_text(request, 200, json.dumps(completion("A", 0.5))[:60])
        elif fault == "cut off":
            request.close_connection = True
            request.send_response(200)
            request.send_header("Content-Length", "1000")
            request.end_headers()
            request.wfile.write(b'{"choices": [')
        elif fault == "not a completion":
            _send(request, 200, {"choices": []})
        else:
            headers = {"Retry-After": self.retry_after} if fault == "429" else {}
            key = request.headers.get("Authorization", "")
            part = f"{key[7:15]}***{key[-4:]}"  # as endpoints show a key, after "Bearer "
            error = {"message": f"no, said of {body['model']} with {key}, {part}", "code": None}
            _send(request, int(fault), {"error": error}, headers)


def completion(text: str, first: float | None) -> dict[str, Any]:
    """A chat completion; with ``first``, P(A), in the logprobs of the answer's token, spread over spellings."""
    logprobs = None
    if first is not None:
        masses = {
            "A": 0.6 * first,
            " A": 0.3 * first,
            "a": 0.1 * first,
            "B": 0.9 * (1 - first),
            " B": 0.1 * (1 - first),
        }
        rest = {"The": 0.02}
        top = [
            {"token": token, "logprob": math.log(0.98 * mass if token in masses else mass), "bytes": None}
            for token, mass in (masses | rest).items()
            if mass > 0
        ]
        token = {"token": text, "logprob": top[0]["logprob"], "bytes": None, "top_logprobs": top}
        logprobs = {"content": [token], "refusal": None}
    message = {"role": "assistant", "content": text, "refusal": None}
    return {
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "local",
        "choices": [{"index": 0, "message": message, "logprobs": logprobs, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 1, "total_tokens": 101},
    }  # fmt: skip


def _send(
    request: BaseHTTPRequestHandler, status: int, body: dict[str, Any], headers: dict[str, str] | None = None
) -> None:
    _send_text(request, status, json.dumps(body), headers)


def _send_text(request: BaseHTTPRequestHandler, status: int, text: str, headers: dict[str, str] | None = None) -> None:
    data = text.encode()
    request.send_response(status)
    for name, value in {
        "Content-Type": "application/json",
        "Content-Length": str(len(data)),
        **(headers or {}),
    }.items():
        request.send_header(name, value)
    request.end_headers()
    request.wfile.write(data)
