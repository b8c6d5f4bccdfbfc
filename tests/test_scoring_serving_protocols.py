"""Other programs' protocols by their documented shapes, each reward that of its prompt and response alone."""

import numpy as np
import pytest
from served import close, posted, reward, served

from rmjax.batches.tokenizer import END_TOKEN


@pytest.fixture(scope="module")
def client():
    with served(raises=False) as client:
        yield client


LONG = "rains " * 200
IN_PAIRS = {"prompts": ["why", "when", "why", "when"], "responses": ["a", "b", "c", LONG]}
TOO_LONG = [  # of these protocols, with the field that is at fault and its index
    (
        "/",
        {"query": ["why a", "when b", "why c", "when " + LONG], "prompts": ["why", "when", "why", "when"]},
        "query[3]",
        3,
    ),
    ("/get_reward", {"query": ["why " + LONG, "why a"], "prompts": ["why", "why"]}, "query[0]", 0),
    ("/get_reward", IN_PAIRS, "responses[3]", 3),
    ("/score", {"text_1": IN_PAIRS["prompts"], "text_2": IN_PAIRS["responses"]}, "text_2[3]", 3),
    ("/v1/score", {"text_1": "why", "text_2": ["a", LONG]}, "text_2[1]", 1),
    ("/v1/score", {"text_1": ["why"], "text_2": LONG}, "text_2", 0),
]


@pytest.mark.parametrize(("path", "body", "field", "index"), TOO_LONG)
def test_a_text_that_is_too_long_is_named_by_its_place_in_the_request(client, path, body, field, index):
    """Not by its place among the requests that are made of those that share a prompt."""
    answer = client.post(path, json=body)
    assert answer.status_code == 422
    found = answer.json()
    assert found["error"].startswith(f"the request: field '{field}': response too long: found 40")
    assert (found["kind"], found["field"], found["response"]) == ("response too long", field, index)
    assert "request" not in found


@pytest.mark.parametrize("path", ["/", "/get_reward"])
def test_queries_are_divided_at_their_prompts_and_else_read_whole(client, path):
    prompts = ["why ", "why ", "other", "rains " * 100]
    query = ["why it rains", "why never" + END_TOKEN, "green", "rains " * 100 + "slowly"]
    found = posted(client, path, {"query": query, "prompts": prompts, "labels": ["a", 1, None, {"b": [2]}]})
    expected = [reward("why ", "it rains"), reward("why ", "never"), reward("g", "reen"), reward(prompts[3], "slowly")]
    assert close(found["rewards"], expected)
    assert found["scores"] == found["rewards"] == found["extra_logs"]["reward"]
    without = posted(client, path, {"query": query[:3]})
    assert close(without["rewards"], expected[:3])


def test_pairs_as_align_anything_sends_them(client):
    found = posted(
        client, "/get_reward", {"prompts": ["why", "when", "why"], "responses": ["a", "b", "it" + END_TOKEN]}
    )
    assert list(found) == ["rewards"]
    assert close(found["rewards"], [reward("why", "a"), reward("when", "b"), reward("why", "it")])


@pytest.mark.parametrize("text", ["why it rains", ["why it rains"], ["never", "why it rains" + END_TOKEN]])
def test_classification_and_embeddings_as_verl_reads_them(client, text):
    expected = reward("why", " it rains")
    found = posted(client, "/classify", {"model": "/models/rm", "input": text, "activation": False})
    assert close(found["data"][-1]["probs"][-1], expected)
    assert found["object"] == "list"
    assert found["data"][-1]["num_classes"] == len(found["data"][-1]["probs"]) == 1
    assert [entry["index"] for entry in found["data"]] == list(range(len(found["data"])))
    assert found["usage"]["prompt_tokens"] == found["usage"]["total_tokens"] > 0
    logistic = posted(client, "/classify", {"input": text, "activation": True})["data"][-1]["probs"][-1]
    assert close(logistic, 1 / (1 + np.exp(-expected)))
    found = posted(client, "/v1/embeddings", {"model": "/models/rm", "input": text})
    assert close(found["data"][-1]["embedding"][-1], expected)
    assert found["data"][-1]["object"] == "embedding"


@pytest.mark.parametrize("path", ["/score", "/v1/score"])
def test_scores_of_one_prompt_or_of_as_many_as_responses(client, path):
    one = posted(client, path, {"text_1": "why", "text_2": ["it rains", "never"]})
    assert close([entry["score"] for entry in one["data"]], [reward("why", "it rains"), reward("why", "never")])
    pairs = posted(client, path, {"model": "m", "text_1": ["why", "when"], "text_2": ["it rains", "never"]})
    assert close([entry["score"] for entry in pairs["data"]], [reward("why", "it rains"), reward("when", "never")])


def test_evaluation_as_llama_factory_asks_and_long_texts_keep_their_end(client):
    body = {"model": "model", "messages": ["why it rains", "walks " * 300 + "never"], "max_length": 4096}
    found = posted(client, "/v1/score/evaluation", body)
    assert (found["object"], found["model"], len(found["scores"])) == ("score.evaluation", "tiny", 2)
    assert close(found["scores"][0], reward("why", " it rains"))
    assert np.isfinite(found["scores"][1])
