"""Requests that schemathesis makes of the OpenAPI document: none of them is answered by what isn't documented."""

import threading
import time
from collections.abc import Iterator

import hypothesis
import pytest
import requests
import schemathesis
import uvicorn
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks
from served import scorer_of

from rmjax.scoring.server import make_app
from rmjax.scoring.serving import ServerSettings

EXAMPLES = 12  # of each route, with data that fits the document and with data that doesn't


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Of a real server, in a thread."""
    app = make_app(scorer_of(), ServerSettings(model="tiny"))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(30)


@pytest.mark.parametrize(("mode", "expected"), [(GenerationMode.POSITIVE, 13), (GenerationMode.NEGATIVE, 9)])
def test_no_request_is_answered_by_what_is_not_documented(url, mode, expected):
    """That data which fits the document may be refused is left out: no schema says what a tokenizer counts."""
    load_all_checks()
    checks = [check for check in CHECKS.get_all() if check.__name__ != "positive_data_acceptance"]
    schema = schemathesis.openapi.from_dict(requests.get(f"{url}/openapi.json", timeout=30).json())
    routes = 0
    session = requests.Session()
    for result in schema.get_all_operations():
        operation = result.ok()
        if mode is GenerationMode.NEGATIVE and operation.method == "get":
            continue  # which has nothing that could be wrong

        @hypothesis.settings(
            max_examples=EXAMPLES, deadline=None, derandomize=True, database=None, phases=[hypothesis.Phase.generate],
            suppress_health_check=list(hypothesis.HealthCheck),
        )  # fmt: skip
        @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
        def answers(case):
            case.call_and_validate(url, session, checks=checks)

        answers()
        routes += 1
    session.close()
    assert routes == expected
