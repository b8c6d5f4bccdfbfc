"""The client of a reward server: whatever happens on the way, each reward arrives once and in its place."""

import json
import socket
import threading
import time

import numpy as np
import pytest
import requests
from reward_server import RefusalError, serving

from rmjax.batches.limits import LimitError, ResponseTooLongError, SystemTurnTooLongError
from rmjax.errors import UserError
from rmjax.scoring import client as clients
from rmjax.scoring.client import RequestRefusedError, RewardClient, ServerFailedError
from rmjax.scoring.source import PromptGroup, TooLong

LONG = "long " * 20


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(clients, "FIRST_WAIT_S", 0.01)
    monkeypatch.delenv(clients.API_KEY, raising=False)


def score(prompt, responses):
    """A reward that tells every pair from the others."""
    text = json.dumps(prompt)
    return [sum(map(ord, text)) + 0.001 * sum(place * ord(c) for place, c in enumerate(reply)) for reply in responses]


def limited(prompt, responses):
    if LONG in responses:
        name = f"responses[{responses.index(LONG)}]"
        raise RefusalError.of(ResponseTooLongError(origin="the request", field=name, tokens=9, limit=8))
    if prompt == "":
        raise RefusalError(422, "the request: field 'prompt': empty field")
    return score(prompt, responses)


def groups_of(seed, count):
    rng = np.random.default_rng(seed)
    return [
        PromptGroup(
            prompt=f"prompt {number}" if number % 2 else [{"role": "user", "content": f"ü {number}"}],
            responses=tuple(f"response {place}" * int(rng.integers(1, 4)) for place in range(rng.integers(1, 6))),
            origin=f"prompts[{number}]",
        )
        for number in range(count)
    ]


def expected(groups):
    return [score(group.prompt, group.responses) for group in groups]


@pytest.mark.parametrize(
    "faults", [(), ("429",) * 7, ("503", "502", "504"), ("reset",) * 5, ("cut", "half") * 3,
               ("429", "reset", "503", "cut", "half") * 4], ids=lambda faults: "-".join(faults[:5])
)  # fmt: skip
def test_a_flaky_server_loses_nothing_and_doubles_nothing(faults):
    groups = groups_of(len(faults), 12)
    with serving(score, faults) as server:
        assert RewardClient(url=server.url, concurrency=4).rewards(groups) == expected(groups)
    asked = sorted((json.dumps(body["prompt"]), body["responses"]) for body in server.asked)
    assert asked == sorted((json.dumps(group.prompt), list(group.responses)) for group in groups)


def test_a_server_that_is_started_later_on_the_same_port_is_waited_for():
    groups = groups_of(3, 4)
    with serving(score) as server:
        pass  # the port is known, and nobody listens there any more
    client = RewardClient(url=server.url, patience_s=30.0)
    port = int(server.url.rpartition(":")[2])
    late = []

    def start():
        time.sleep(0.3)
        late.append(serving(score, port=port))
        late[0].__enter__()

    thread = threading.Thread(target=start)
    thread.start()
    try:
        assert client.rewards(groups) == expected(groups)
    finally:
        thread.join()
        late[0].__exit__(None, None, None)


@pytest.mark.parametrize("concurrency", [1, 3])
def test_no_more_requests_are_under_way_than_asked_for(concurrency):
    groups, together = groups_of(5, 9), threading.Barrier(concurrency, timeout=60)

    def score_together(prompt, responses):
        together.wait()
        return score(prompt, responses)

    with serving(score_together) as server:
        RewardClient(url=server.url + "/", concurrency=concurrency).rewards(groups)
    assert server.most == concurrency
    assert RewardClient(url=server.url).rewards([]) == []


def test_a_response_that_is_too_long_is_told_from_its_siblings():
    group = PromptGroup(prompt="p", responses=("a", LONG, "b"), origin="prompts[0]")
    with serving(limited) as server:
        first, second, third = RewardClient(url=server.url).rewards([group])[0]
    assert [first, third] == score("p", ["a", "b"])
    assert isinstance(second, TooLong)
    assert str(second).startswith(
        "response too long: found 9 tokens, the model's limit text.max_response_tokens is 8; "
    )


def test_what_is_too_long_is_told_by_the_kind_of_the_refusal_not_by_its_words():
    response = ResponseTooLongError(origin="the request", field="responses[0]", tokens=1, limit=0)
    system = SystemTurnTooLongError(origin="the request", tokens=1, limit=0, prompt=1)
    assert {type(fault) for fault in (response, system)} == set(LimitError.__subclasses__())
    group = PromptGroup(prompt="p", responses=("a", "b", "c"), origin="prompts[0]")
    for fault, requests_sent in ((response, 4), (system, 1)):  # a prompt's fault is that of all of its responses
        sent = []
        with serving(
            lambda *asked, fault=fault, sent=sent: sent.append(asked) or fail(RefusalError.of(fault))
        ) as server:
            found = RewardClient(url=server.url).rewards([group])
        assert found == [[TooLong(kind=fault.kind, found=fault.found, right=fault.right)] * 3]
        assert len(sent) == requests_sent
    other = RefusalError(422, str(response), kind="unknown role", response=0)
    with serving(lambda *_: fail(other)) as server, pytest.raises(RequestRefusedError, match="response too long"):
        RewardClient(url=server.url).rewards([group])


REFUSALS = {
    "bytes": lambda most: RefusalError(413, "too large", kind="texts too large", limit=10**6),
    "a proxy's": lambda most: RefusalError(413, "too large"),
    "responses": lambda most: RefusalError(422, "too many", kind="too many responses", limit=most),
    "no limit named": lambda most: RefusalError(422, "too many", kind="too many responses"),
}


@pytest.mark.parametrize("most", [1, 3, 100])
@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
def test_a_group_that_is_too_large_is_asked_for_in_parts(monkeypatch, most, refusal):
    refused = []

    def small(prompt, responses):
        if len(responses) > most:
            refused.append(len(responses))
            raise refusal(most)
        return score(prompt, responses)

    monkeypatch.setattr(clients, "MOST_RESPONSES", 20)
    group = PromptGroup(prompt="p", responses=tuple(map(str, range(50))), origin="prompts[0]")
    with serving(small) as server:
        assert RewardClient(url=server.url).rewards([group]) == expected([group])
    assert max(len(body["responses"]) for body in server.asked) <= min(most, 20)
    assert sum(len(body["responses"]) for body in server.asked) == 50
    if refusal is REFUSALS["responses"] and most < 20:
        assert refused == [20, 20, 10]  # once each, for the limit is named
    with (
        serving(lambda *_: fail(RefusalError(413, "too large"))) as server,
        pytest.raises(RequestRefusedError, match=r"\(413\): too large"),
    ):
        RewardClient(url=server.url).rewards([group])


def fail(error):
    raise error


def test_what_the_server_refuses_is_said_at_once_with_its_words():
    groups = [*groups_of(1, 3), PromptGroup(prompt="", responses=("r",), origin="prompts[3]")]
    with serving(limited) as server, pytest.raises(RequestRefusedError) as told:
        RewardClient(url=server.url).rewards(groups)
    assert str(told.value) == f"prompts[3]: {server.url} refused it (422): the request: field 'prompt': empty field"
    with serving(score, ("500",)) as server, pytest.raises(ServerFailedError, match=r"failed \(500\): come back"):
        RewardClient(url=server.url).rewards(groups[:1])


def test_patience_ends():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    with pytest.raises(
        ServerFailedError, match=r"doesn't answer: .*refused.*given up after \d+ s \(patience_s is 0.1\)"
    ):
        RewardClient(url=url, patience_s=0.1).rewards(groups_of(0, 3))
    with serving(score, ("503",) * 100) as server, pytest.raises(ServerFailedError, match="503, come back later"):
        RewardClient(url=server.url, patience_s=0.1).rewards(groups_of(0, 1))
    with serving(score, slow_s=0.2) as server, pytest.raises(ServerFailedError, match="timed out"):
        RewardClient(url=server.url, timeout_s=0.05, patience_s=0.0).rewards(groups_of(0, 1))


def test_the_first_failure_stops_all_others():
    with serving(score, ("400",) + ("503",) * 1000) as server, pytest.raises(RequestRefusedError):
        RewardClient(url=server.url, patience_s=600.0).rewards(groups_of(2, 40))
    assert not server.asked
    assert len(server.faults) > 800  # or they would have been tried again for ten minutes


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(None, 0), ("7", 7), (" 12 ", 12), ("soon", 0), ("-3", 0), ("Wed, 21 Oct 2015 07:28:00 GMT", 0)],
)
def test_retry_after_is_seconds_or_a_date(value, seconds):
    assert clients._seconds(value) == seconds


def test_a_date_to_come_is_waited_for():
    later = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 100))
    assert 95 < clients._seconds(later) < 101


def test_retry_after_is_waited_for(monkeypatch):
    waits = []
    monkeypatch.setattr(threading.Event, "wait", lambda self, seconds=None: waits.append(seconds))
    monkeypatch.setattr(RewardClient, "_try", tries([clients._NotNowError("busy", 5.0), clients._NotNowError("busy")]))
    client = RewardClient(url="http://a")
    client._answered(groups_of(0, 1)[0], threading.Event())
    assert 5.0 <= waits[0] <= 6.25
    assert 0.02 <= waits[1] <= 0.025


def tries(errors):
    """A way to try that fails with these, one after the other, and then does not."""
    waiting = list(errors)

    def attempt(self, group):
        if waiting:
            raise waiting.pop(0)
        return requests.Response()

    return attempt


def test_the_key_head_and_normalised_reward(monkeypatch):
    group = PromptGroup(prompt="p", responses=("a",), origin="prompts[0]")
    with serving(score) as server:
        assert RewardClient(url=server.url, normalized=True).rewards([group])[0][0] == score("p", ["a"])[0] / 2
        assert "Authorization" not in server.headers
        monkeypatch.setenv(clients.API_KEY, "open sesame")
        RewardClient(url=server.url, head="b").rewards([group])
        assert server.headers["Authorization"] == "Bearer open sesame"
    assert [body.get("head") for body in server.asked] == [None, "b"]
    with serving(score, ("plain",)) as server, pytest.raises(RequestRefusedError, match="has no mean and deviation"):
        RewardClient(url=server.url, normalized=True).rewards([group])


def test_of_several_heads_one_must_be_named():
    group = PromptGroup(prompt="p", responses=("a",), origin="prompts[0]")
    with (
        serving(lambda _, replies: [{"brevity": 1.0, "honesty": 2.0} for _ in replies], ("plain",)) as server,
        pytest.raises(RequestRefusedError, match="several reward heads; head must be one of brevity, honesty"),
    ):
        RewardClient(url=server.url).rewards([group])


def test_an_answer_of_another_server_is_no_reward():
    group = PromptGroup(prompt="p", responses=("a", "b"), origin="prompts[0]")
    for wrong in ([1.0], ["1", "2"]):
        with serving(lambda _, __, wrong=wrong: wrong, ("plain",)) as server, pytest.raises(ServerFailedError):
            RewardClient(url=server.url).rewards([group])


def test_wrong_options_are_said():
    with pytest.raises(UserError, match="right would be one as http"):
        RewardClient(url="localhost:8000")
    with pytest.raises(UserError, match="at least 1"):
        RewardClient(url="http://localhost:8000", concurrency=0)
