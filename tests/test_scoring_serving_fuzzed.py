"""Requests that schemathesis makes of the OpenAPI document: none of them is answered by what isn't documented."""

from collections.abc import Iterator

import hypothesis
import pytest
import requests
import schemathesis
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks
from served import listening, scorer_of

EXAMPLES = 12  # of each route, with data that fits the document and with data that doesn't


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with listening(scorer_of()) as url:
        yield url


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
