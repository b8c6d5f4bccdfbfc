"""Clients that go away."""

import concurrent.futures
import functools
import json

import anyio
import pytest
from served import Stuck, served

ROW = {"prompt": "why", "response": "it rains"}


async def ask_and_go(app, waiting, sent: list) -> None:
    """A request whose client is gone once so many responses wait."""
    body = iter([{"type": "http.request", "body": json.dumps(ROW).encode(), "more_body": False}])

    async def receive():
        if (message := next(body, None)) is not None:
            return message
        while app.state.serving.batcher.waiting < waiting:
            await anyio.sleep(0.001)
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "path": "/v1/rewards",
        "raw_path": b"/v1/rewards", "root_path": "", "scheme": "http", "query_string": b"", "client": None,
        "headers": [(b"content-type", b"application/json")], "server": ("test", 80),
    }  # fmt: skip
    await app(scope, receive, send)


@pytest.mark.parametrize("computing", [False, True])
def test_what_a_client_that_has_gone_asked_for_is_dropped(monkeypatch, computing):
    """Before it is computed; what the device computes already is thrown away when it is done."""
    with served() as client, concurrent.futures.ThreadPoolExecutor(2) as pool:
        stuck, batcher, sent = Stuck(monkeypatch, client), client.app.state.serving.batcher, []
        first = None if computing else pool.submit(client.post, "/v1/rewards", json=ROW)
        assert computing or stuck.entered.wait(30)
        client.portal.call(functools.partial(ask_and_go, client.app, 1 if computing else 2, sent))
        assert sent[0]["status"] == 499
        assert batcher.waiting == (0 if computing else 1)
        stuck.released.set()
        assert first is None or first.result().status_code == 200
        assert client.post("/v1/rewards", json=ROW).status_code == 200
        assert stuck.groups <= 2
        assert 'status="499"' in client.get("/metrics").text
