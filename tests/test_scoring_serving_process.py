"""The server as its users have it: who may listen where, stopping, and clients that outlive it."""

import concurrent.futures
import http.client
import json
import pathlib
import re
import signal
import socket
import threading
import time

import numpy as np
import pytest
from forked import Forked, Server
from served import random_row
from untrained import untrained_config, write_run

from rmjax.config import BatchConfig, ConfigError
from rmjax.listening import AddressError, bound
from rmjax.scoring import rows
from rmjax.scoring.scorer import RewardScorer
from rmjax.scoring.serving_process import check_host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.3.2.1", "::1", "localhost"])
def test_this_machine_alone_needs_no_key(host):
    check_host(host, None, allow_anonymous=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.org", ""])
def test_other_machines_need_a_key_or_to_be_let_in(host):
    with pytest.raises(ConfigError, match="RMJAX_API_KEY"):
        check_host(host, None, allow_anonymous=False)
    check_host(host, "key", allow_anonymous=False)
    check_host(host, None, allow_anonymous=True)


def test_an_address_that_cannot_be_is_told_with_host_and_port():
    with bound("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        first.listen()
        expected = (
            rf"--host is '127\.0\.0\.1' and --port {port}, where .*: Address already in use; right would be an address"
        )
        with pytest.raises(AddressError, match=expected), bound("127.0.0.1", port):
            pass
    with bound("127.0.0.1", port):  # it is free again
        pass
    for host in ("192.0.2.1", "no such host", "::2"):
        with pytest.raises(AddressError, match=f"--host is '{host}' and --port 8000"), bound(host, 8000):
            pass


def test_the_command_says_so_before_it_loads_a_model(server, workdir, tmp_path):
    with bound("127.0.0.1", 0) as taken:
        taken.listen()
        port, log = taken.getsockname()[1], tmp_path / "log"
        # The workdir doesn't exist: that would be told if it were looked for first.
        process = server.start(["-m", "rmjax.serve", f"--workdir={tmp_path}/none", f"--port={port}"], out=log)
        assert process.wait(60) == 1
    assert log.read_text().splitlines()[-1].startswith(f"error: --host is '127.0.0.1' and --port {port}, where")


@pytest.fixture(scope="module")
def workdir(tmp_path_factory) -> str:
    config = untrained_config(batch=BatchConfig(row_length=256, rows=1))
    return write_run(tmp_path_factory.mktemp("served") / "tiny", config)


def started(
    server: Server, workdir: str, log: pathlib.Path, port: int, variables: dict[str, str]
) -> tuple[Forked, int]:
    """A server that is ready, and its port."""
    process = server.start(["-m", "rmjax.serve", f"--workdir={workdir}", f"--port={port}"], out=log, **variables)
    end = time.monotonic() + 120
    while time.monotonic() < end:
        found = re.search(r"serving tiny@5 at http://127.0.0.1:(\d+)", log.read_text())
        assert process.poll() is None, log.read_text()
        if found and posted(int(found[1]), {"prompt": "why", "response": "it"}) is not None:
            return process, int(found[1])
        time.sleep(0.05)
    raise AssertionError(log.read_text())


def posted(port: int, row: dict) -> list[float] | None:
    """The rewards, or None where the server can't answer now."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("POST", "/v1/rewards", json.dumps(row), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    assert answer.status in (200, 429, 503), body
    return [entry["reward"] for entry in json.loads(body)["rewards"]] if answer.status == 200 else None


def test_a_server_killed_and_restarted_under_load_costs_clients_that_retry_nothing(server, workdir, tmp_path, cached):
    rng = np.random.default_rng(0)
    asked = [random_row(rng) for _ in range(240)]
    answered = threading.Semaphore(0)
    process, port = started(server, workdir, tmp_path / "first.log", 0, cached)

    def until_answered(row: dict) -> list[float]:
        while (found := posted(port, row)) is None:
            time.sleep(0.05)
        answered.release()
        return found

    with concurrent.futures.ThreadPoolExecutor(16) as clients:
        futures = [clients.submit(until_answered, row) for row in asked]
        for _ in range(40):
            assert answered.acquire(timeout=120)
        process.kill()
        process, again = started(server, workdir, tmp_path / "second.log", port, cached)
        assert again == port
        assert answered.acquire(timeout=120)
        process.send_signal(signal.SIGTERM)  # with requests on their way, which it answers
        assert process.wait(60) == 0, (tmp_path / "second.log").read_text()
        assert "stopped" in (tmp_path / "second.log").read_text()
        process, _ = started(server, workdir, tmp_path / "third.log", port, cached)
        found = [future.result(120) for future in futures]
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    scorer = RewardScorer.from_workdir(workdir)
    expected = scorer.score_many([rows.parse_request(row, origin="test") for row in asked])
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)
    for log in ("second.log", "third.log"):
        assert "Traceback" not in (tmp_path / log).read_text()
        assert "POST /v1/rewards from 127.0.0.1: 200" in (tmp_path / log).read_text()


def test_what_can_t_be_served_is_one_message_and_an_exit_code(server, workdir):
    done = server.run("-m", "rmjax.serve", f"--workdir={workdir}", "--host=0.0.0.0")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "--host is '0.0.0.0', which other machines reach" in done.stderr
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = server.run("-m", "rmjax.serve", f"--workdir={workdir}", f"--port={port}")
    assert done.returncode == 1
    assert "Address already in use" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
