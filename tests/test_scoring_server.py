"""The application in-process: protocols by their documented shapes, bad input, load, key, limits and stopping."""

import concurrent.futures
import dataclasses
import time

import numpy as np
import pytest
from served import Stuck, alone, close, posted, random_row, reward, scorer_of, served
from starlette.testclient import TestClient

from rmjax.config import ConfigError
from rmjax.errors import UserError
from rmjax.scoring import serving
from rmjax.scoring.server import make_app
from rmjax.scoring.serving import ServerSettings
from rmjax.scoring.serving_rewards import Normalization, normalization_of
from rmjax.training.scoring_record import ScoringRecord

ROW = {"prompt": "why", "response": "it rains"}


@pytest.fixture(scope="module")
def client():
    with served(raises=False) as client:
        yield client


def test_rewards_of_every_row_form_with_their_tokens(client):
    messages = [{"role": "user", "content": "why"}, {"role": "assistant", "content": "it rains"}]
    (of_messages,) = scorer_of().score(messages[:1], ["it rains"])
    several = posted(client, "/v1/rewards", {"prompt": "why", "responses": ["it rains", "never"]})
    assert several["model"] == "tiny"
    assert close([entry["reward"] for entry in several["rewards"]], [reward("why", "it rains"), reward("why", "never")])
    group = scorer_of().contract.encode("why", ["it rains", "never"])
    tokens = [len(conversation) for conversation in group.conversations]
    assert [entry["tokens"] for entry in several["rewards"]] == tokens
    assert several["usage"]["total_tokens"] == sum(tokens) > several["usage"]["computed_tokens"]
    assert {entry["head"] for entry in several["rewards"]} == {None}
    assert {entry["normalized_reward"] for entry in several["rewards"]} == {None}
    assert {entry["spread"] for entry in several["rewards"]} == {None}
    for row in ({"messages": messages}, {"prompt": messages[:1], "response": "it rains"},
                {"prompt": messages[:1], "responses": [messages[1:]]}):  # fmt: skip
        (entry,) = posted(client, "/v1/rewards", row)["rewards"]
        assert close(entry["reward"], of_messages)
    cut = posted(client, "/v1/rewards", {"prompt": "rains " * 100, "response": "never"})
    assert cut["usage"]["cut_tokens"] == scorer_of().contract.encode("rains " * 100, ["never"]).cut > 0
    assert (several["usage"]["cut_tokens"], several["usage"]["cut_prompts"]) == (0, 0)
    assert (cut["usage"]["cut_prompts"], cut["usage"]["max_prompt_tokens"]) == (1, 60)
    many = posted(client, "/v1/rewards/batch", {"requests": [ROW, {"prompt": "why", "responses": ["a", "b"]}]})
    assert [len(found) for found in many["results"]] == [1, 2]
    assert close([entry["reward"] for found in many["results"] for entry in found],
                 [reward("why", "it rains"), reward("why", "a"), reward("why", "b")])  # fmt: skip


def test_several_heads_answer_by_name_and_protocols_of_one_number_need_one():
    heads, row = ("helpfulness", "brevity"), {"prompt": "why", "response": "it rains"}
    (expected,) = scorer_of(heads).score("why", ["it rains"])
    with served(heads) as client:
        (both,) = posted(client, "/v1/rewards", row)["rewards"]
        assert both["reward"] == pytest.approx(expected)
        (one,) = posted(client, "/v1/rewards", {**row, "head": "brevity"})["rewards"]
        assert (one["reward"], one["head"]) == (pytest.approx(expected["brevity"]), "brevity")
        wrong = client.post("/v1/rewards", json={**row, "head": "speed"})
        assert wrong.status_code == 422
        assert "'helpfulness', 'brevity'" in wrong.json()["error"]
        assert client.post("/classify", json={"input": "why"}).status_code == 422
        (model,) = client.get("/v1/models").json()["data"]
        assert model["heads"] == list(heads)
    with served(heads, head="brevity") as client:
        found = posted(client, "/get_reward", {"prompts": ["why"], "responses": ["it rains"]})
        assert close(found["rewards"], [expected["brevity"]])
    with pytest.raises(
        ConfigError, match="the model has no reward head 'speed'; --head must be one of helpfulness, brevity"
    ):
        make_app(scorer_of(heads), ServerSettings(model="tiny", head="speed"))


def test_normalized_rewards_are_in_deviations_from_the_mean():
    app = make_app(scorer_of(), ServerSettings(model="m"), {"": Normalization(mean=0.5, deviation=2.0)})
    with TestClient(app) as client:
        (entry,) = posted(client, "/v1/rewards", ROW)["rewards"]
        assert entry["normalized_reward"] == pytest.approx((entry["reward"] - 0.5) / 2)
    known = {name: Normalization(mean=1.0, deviation=4.0) for name in ("helpfulness", "brevity")}
    for normalization, normalized in ((known, True), ({"brevity": known["brevity"]}, False)):
        with TestClient(make_app(scorer_of(tuple(known)), ServerSettings(model="m"), normalization)) as client:
            (entry,) = posted(client, "/v1/rewards", ROW)["rewards"]
            expected = {name: (value - 1) / 4 for name, value in entry["reward"].items()}
            assert entry["normalized_reward"] == (pytest.approx(expected) if normalized else None)


def test_the_normalization_is_that_of_the_models_record():
    trained = scorer_of(("helpfulness", "brevity")).trained
    assert normalization_of(trained) == {}
    record = ScoringRecord(golden=(), mean=(1.0, 2.0), deviation=(0.5, 0.0), responses=9, device="cpu")
    known = normalization_of(dataclasses.replace(trained, record=record))
    assert known == {"helpfulness": Normalization(mean=1.0, deviation=0.5)}  # rewards that are all equal have no scale
    (alone,) = normalization_of(dataclasses.replace(scorer_of().trained, record=record.of_head(0))).items()
    assert alone == ("", Normalization(mean=1.0, deviation=0.5))


def test_wrong_methods_and_paths_are_refused_in_the_same_form(client):
    assert client.get("/v1/rewards").status_code == 405
    assert client.get("/v1/rewards").headers["allow"] == "POST"
    assert "error" in client.get("/v1/rewards").json()
    assert client.post("/nowhere", json={}).status_code == 404


@pytest.mark.parametrize("batching", [True, False])
def test_many_clients_at_once_lose_nothing_and_get_what_each_would_alone(batching):
    rng = np.random.default_rng(int(batching))
    rows = [random_row(rng) for _ in range(300 if batching else 24)]
    with served(batching=batching) as client, concurrent.futures.ThreadPoolExecutor(64) as pool:
        answers = list(pool.map(lambda row: client.post("/v1/rewards", json=row), rows))
        batches = client.get("/metrics").text.split("rmjax_batch_seconds_count ")[1].split()[0]
    assert {answer.status_code for answer in answers} == {200}
    assert (float(batches) < len(rows) / 4) == batching
    found = [[entry["reward"] for entry in answer.json()["rewards"]] for answer in answers]
    for number in range(0, len(rows), 12):
        np.testing.assert_allclose(found[number], alone(rows[number]), rtol=0, atol=1e-5)
    together = scorer_of().score_many([serving.rows.parse_request(row, origin="test") for row in rows])
    for one, other in zip(found, together, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)


def test_a_full_queue_answers_429_and_says_when_to_come_again(monkeypatch):
    with served(max_waiting=4, max_responses=4) as client, concurrent.futures.ThreadPoolExecutor(4) as pool:
        stuck = Stuck(monkeypatch, client)
        first = pool.submit(client.post, "/v1/rewards", json={"prompt": "why", "responses": ["a", "b", "c"]})
        assert stuck.entered.wait(30)
        refused = client.post("/v1/rewards", json={"prompt": "why", "responses": ["a", "b"]})
        assert refused.status_code == 429
        assert "3 responses wait already, of at most 4" in refused.json()["error"]
        assert int(refused.headers["retry-after"]) >= 1
        assert "rmjax_waiting_responses 3.0" in client.get("/metrics").text
        stuck.released.set()
        assert first.result().status_code == 200
        assert client.post("/v1/rewards", json={"prompt": "why", "responses": ["a", "b"]}).status_code == 200


def test_what_waits_is_bounded_in_bytes_too_and_a_request_that_would_never_fit_is_to_be_divided(monkeypatch):
    """A prompt counts for each of its responses, with which it is tokenized: a small body can be much text."""
    settings = {"max_waiting_bytes": 2000, "max_request_bytes": 1000}
    with served(**settings) as client, concurrent.futures.ThreadPoolExecutor(4) as pool:
        row = {"prompt": "rains " * 100, "responses": ["never", "asked", "again"]}
        assert client.post("/v1/rewards", json=row).status_code == 200
        answer = client.post("/v1/rewards", json={**row, "responses": ["never"] * 4})
        assert (answer.status_code, answer.json()["kind"], answer.json()["limit"]) == (413, "texts too large", 2000)
        assert "2420 bytes, with the prompt counted for each response" in answer.json()["error"]
        stuck = Stuck(monkeypatch, client)
        first = pool.submit(client.post, "/v1/rewards", json=row)
        assert stuck.entered.wait(30)
        assert "rmjax_waiting_bytes 1815.0" in client.get("/metrics").text
        refused = client.post("/v1/rewards", json={**row, "responses": ["a"]})
        assert (refused.status_code, refused.json()["kind"]) == (429, "queue full")
        assert "1815 bytes of text wait already, of at most 2000" in refused.json()["error"]
        assert int(refused.headers["retry-after"]) >= 1
        stuck.released.set()
        assert first.result().status_code == 200
        assert client.post("/v1/rewards", json={**row, "responses": ["a"]}).status_code == 200
        assert "rmjax_waiting_bytes 0.0" in client.get("/metrics").text


def test_a_server_that_stops_says_so_and_finishes_what_it_has_taken(monkeypatch):
    with served() as client, concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert client.get("/ready").json() == {"status": "ready", "model": "tiny"}
        stuck = Stuck(monkeypatch, client)
        first = pool.submit(client.post, "/v1/rewards", json=ROW)
        assert stuck.entered.wait(30)
        client.app.state.serving.batcher.refuse()
        for answer in (client.get("/ready"), client.post("/v1/rewards", json=ROW)):
            assert answer.status_code == 503
            assert answer.headers["retry-after"] == "1"
            assert "stopping" in answer.json()["error"]
        assert client.get("/health").json() == {"status": "alive"}
        stuck.released.set()
        assert first.result().status_code == 200


def test_a_failure_of_the_model_is_a_500_with_a_message(monkeypatch):
    with served(raises=False) as client:

        def fail(groups):
            raise MemoryError("no room")

        monkeypatch.setattr(client.app.state.serving.batcher, "_score", fail)
        answer = client.post("/v1/rewards", json=ROW)
        assert (answer.status_code, answer.json()) == (
            500,
            {"error": "the server failed; its log says how", "kind": "server failed"},
        )
        assert "no room" not in answer.text


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_responses": 0}, "--max_responses is 0"),
        ({"max_request_bytes": 0}, "--max_request_bytes is 0"),
        ({"batch_tokens": 0}, "--max_batch_tokens is 0"),
        ({"max_waiting": 10, "max_responses": 11}, "--max_waiting is 10; it must be at least --max_responses=11"),
        (
            {"max_waiting_bytes": 10, "max_request_bytes": 11},
            "--max_waiting_bytes is 10; it must be at least --max_req",
        ),
        ({"api_key": "ü"}, "RMJAX_API_KEY"),
        ({"api_key": ""}, "RMJAX_API_KEY"),
    ],
)
def test_settings_that_can_t_be_right_are_errors(settings, message):
    with pytest.raises(UserError, match=message):
        ServerSettings(model="m", **settings)


def test_metrics_count_requests_by_route_and_rewards(client):
    def count(name: str) -> float:
        line = next((line for line in client.get("/metrics").text.splitlines() if line.startswith(name + " ")), "x 0")
        return float(line.split()[-1])

    good = 'rmjax_requests_total{route="/v1/rewards",status="200"}'
    before, rewards = count(good), count("rmjax_rewards_total")
    client.post("/v1/rewards", json={"prompt": "why", "responses": ["a", "b"]})
    client.post("/v1/rewards", json={})
    client.post("/made/up", json={})
    time.sleep(0.05)  # a batch is counted after it was answered
    assert count(good) == before + 1
    assert count("rmjax_rewards_total") == rewards + 2
    assert count('rmjax_requests_total{route="/v1/rewards",status="422"}') >= 1
    assert count('rmjax_requests_total{route="none",status="404"}') >= 1
    assert "/made/up" not in client.get("/metrics").text
    assert count("rmjax_ready") == 1
