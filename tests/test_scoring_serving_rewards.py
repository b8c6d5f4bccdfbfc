"""The spread of an ensemble in what ``/v1/rewards`` answers, and in that alone."""

import concurrent.futures

import numpy as np
import pytest
import requests
from served import close, listening, posted, random_row, scorer_of, served
from starlette.testclient import TestClient

from rmjax.scoring.rows import parse_request
from rmjax.scoring.server import make_app
from rmjax.scoring.serving import ServerSettings
from rmjax.scoring.serving_rewards import Normalization

HEADS = ("honesty", "brevity")
ROW = {"prompt": "why", "response": "it rains"}
PAIRS = {"prompts": ["why "], "responses": ["it rains"]}
NEIGHBOURS = [
    ("/", {"query": ["why it rains"], "prompts": ["why "]}),
    ("/get_reward", {"query": ["why it rains"]}),
    ("/get_reward", PAIRS),
    ("/classify", {"input": ["why it rains"]}),
    ("/v1/embeddings", {"input": ["why it rains"]}),
    ("/score", {"text_1": "why ", "text_2": "it rains"}),
    ("/v1/score", {"text_1": "why ", "text_2": "it rains"}),
    ("/v1/score/evaluation", {"messages": ["why it rains"]}),
]


def of_scorer(scorer, rows):
    """(the rewards, the spreads) that a scorer in this process gives."""
    asked = [parse_request(row, origin="test") for row in rows]
    found, _ = scorer.score_with_spread(asked)
    return scorer.score_many(asked), [[entry.spread for entry in entries] for entries in found]


def flat(answer):
    """All that is in an answer of dicts and lists, by name and in its order."""
    if isinstance(answer, dict):
        answer = [answer[name] for name in sorted(answer)]
    return [found for value in answer for found in flat(value)] if isinstance(answer, list) else [answer]


@pytest.mark.parametrize("heads", [(), HEADS])
def test_rewards_and_spreads_of_an_ensemble_are_those_of_a_scorer_in_whatever_company(heads):
    scorer = scorer_of(heads, members=4, pessimism=2.0)
    rows = [random_row(np.random.default_rng(seed)) for seed in range(40)]
    rewards, spreads = of_scorer(scorer, rows)
    with listening(scorer) as url, concurrent.futures.ThreadPoolExecutor(16) as clients:
        answers = list(clients.map(lambda row: requests.post(f"{url}/v1/rewards", json=row, timeout=60).json(), rows))
        metrics = requests.get(f"{url}/metrics", timeout=60).text
        batch = requests.post(f"{url}/v1/rewards/batch", json={"requests": rows}, timeout=60).json()["results"]
        (model,) = requests.get(f"{url}/v1/models", timeout=60).json()["data"]
    batches = float(metrics.split("\nrmjax_batch_tokens_count ")[1].split()[0])
    assert batches < len(rows)  # some were computed beside others
    for found in ([answer["rewards"] for answer in answers], batch):
        assert close(flat([[entry["reward"] for entry in entries] for entries in found]), flat(rewards))
        assert close(flat([[entry["spread"] for entry in entries] for entries in found]), flat(spreads))
        assert {entry["normalized_spread"] for entries in found for entry in entries} == {None}
    assert model["pessimism"] == 2.0
    members = np.concatenate(scorer.members([parse_request(row, origin="test") for row in rows]))
    worth = members.mean(-1) - 2.0 * members.std(-1, ddof=1)
    np.testing.assert_allclose(sorted(flat(rewards)), np.sort(worth, axis=None), rtol=0, atol=1e-5)
    assert min(flat(spreads)) > 0.001


def test_the_spread_of_a_head_that_is_named():
    scorer = scorer_of(HEADS, members=4, pessimism=2.0)
    ((both,),) = of_scorer(scorer, [ROW])[1]
    with served(HEADS, members=4, pessimism=2.0) as client:
        for head in HEADS:
            (entry,) = posted(client, "/v1/rewards", {**ROW, "head": head})["rewards"]
            assert close(entry["spread"], both[head])


@pytest.mark.parametrize("heads", [(), HEADS])
def test_normalized_spreads_are_those_of_a_scorer_that_normalizes(heads):
    names = heads or ("",)
    known = {name: Normalization(mean=0.5, deviation=2.0 + place) for place, name in enumerate(names)}
    scorer = scorer_of(heads, members=4, pessimism=2.0)
    ((spread,),) = of_scorer(scorer, [ROW])[1]
    with TestClient(make_app(scorer, ServerSettings(model="tiny"), known)) as client:
        (entry,) = posted(client, "/v1/rewards", ROW)["rewards"]
    expected = {head: spread[head] / known[head].deviation for head in heads} if heads else spread / 2.0
    assert entry["normalized_spread"] == pytest.approx(expected, abs=1e-5)


def test_a_model_without_an_ensemble_has_no_spread():
    known = dict.fromkeys(HEADS, Normalization(mean=0.5, deviation=2.0))
    with TestClient(make_app(scorer_of(HEADS), ServerSettings(model="tiny"), known)) as client:
        for row in (ROW, {**ROW, "head": "brevity"}):
            (entry,) = posted(client, "/v1/rewards", row)["rewards"]
            assert (entry["spread"], entry["normalized_spread"]) == (None, None)
        (model,) = client.get("/v1/models").json()["data"]
        assert model["pessimism"] == 0.0


@pytest.mark.parametrize(("path", "body"), NEIGHBOURS)
def test_other_programs_get_the_pessimistic_reward_in_the_form_that_they_know(path, body):
    """Which is that of a model without an ensemble."""
    (reward,) = scorer_of(HEADS, members=4, pessimism=2.0).score("why ", ["it rains"])
    with served(HEADS, head="brevity", members=4, pessimism=2.0) as ensemble, served(HEADS, head="brevity") as single:
        found, plain = posted(ensemble, path, body), posted(single, path, body)
    assert form(found) == form(plain)
    assert any(close(value, reward["brevity"]) for value in flat(found) if isinstance(value, float))
    assert "spread" not in str(form(found))


def form(answer):
    """The names and types of an answer, in their order."""
    if isinstance(answer, dict):
        return {name: form(value) for name, value in answer.items()}
    return [form(value) for value in answer] if isinstance(answer, list) else type(answer).__name__
