"""The reward function and the server that it was made for, in one process: what each says, the other understands."""

import numpy as np
import pytest
import requests
from absl import logging
from served import alone, listening, scorer_of
from untrained import random_text

from rmjax import reward_function
from rmjax.config import OnError
from rmjax.scoring import client as clients
from rmjax.scoring.client import RequestRefusedError, RewardClient
from rmjax.scoring.in_process import ScorerRewards
from rmjax.scoring.remote_scorer import RemoteScorer
from rmjax.scoring.rows import parse_request
from rmjax.scoring.serving_rewards import Normalization
from rmjax.scoring.stage_two import grouped

LONG = "rains " * 200
HEADS = ("honesty", "brevity")


def random_calls(seed, count):
    rng = np.random.default_rng(seed)
    texts = [random_text(rng, 9) for _ in range(5)]
    return [texts[place] for place in rng.integers(0, 5, count)], [random_text(rng, 9) for _ in range(count)]


def expected(prompts, completions):
    pairs = zip(prompts, completions, strict=True)
    return [alone({"prompt": prompt, "responses": [text]})[0] for prompt, text in pairs]


def test_rewards_are_those_alone_though_the_server_is_often_full(monkeypatch):
    """Sixteen prompts ask at a time, and the server lets four responses wait."""
    monkeypatch.setattr(clients, "FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(clients, "MOST_RESPONSES", 3)
    prompts, completions = random_calls(0, 24)
    with listening(scorer_of(), max_waiting=4, max_responses=4) as url:
        found = reward_function(url)(prompts, completions)
    np.testing.assert_allclose(found, expected(prompts, completions), rtol=0, atol=1e-5)


def test_a_body_that_is_too_large_is_divided():
    prompts, completions = ["why"] * 40, random_calls(1, 40)[1]
    with listening(scorer_of(), max_request_bytes=300) as url:
        found = reward_function(url)(prompts, completions)
    np.testing.assert_allclose(found, expected(prompts, completions), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "status"), [({"max_responses": 7}, 422), ({"max_waiting_bytes": 2000, "max_request_bytes": 2000}, 413)]
)
def test_more_responses_than_the_server_takes_are_divided(settings, status):
    prompts, completions = ["why"] * 12 + ["rains " * 60] * 9, random_calls(2, 21)[1]
    with listening(scorer_of(), **settings) as url:
        found = reward_function(url)(prompts, completions)
        counted = requests.get(f"{url}/metrics", timeout=30).text
    assert f'rmjax_requests_total{{route="/v1/rewards",status="{status}"}}' in counted
    np.testing.assert_allclose(found, expected(prompts, completions), rtol=0, atol=1e-5)


CUT = (
    "{}: 2 prompts have more than 60 tokens and lost the first of them (a system turn stays); training with a higher "
    "--config.text.max_prompt_tokens keeps more"
)


def test_prompts_that_were_cut_are_counted_as_in_this_process(monkeypatch, caplog):
    """Once each, in however many parts the server takes it."""
    monkeypatch.setattr(logging.get_absl_logger(), "propagate", True)
    prompts, completions = ["why", LONG, "rains " * 100, LONG, LONG, "why"], random_calls(3, 6)[1]
    rows = [
        parse_request({"prompt": prompt, "responses": ["it", text, "never"]}, origin="")
        for prompt, text in zip(prompts[:3], completions, strict=False)
    ]

    def said(call):
        caplog.clear()
        return call(), [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]

    with listening(scorer_of(), max_responses=2) as url:
        sources = [ScorerRewards(scorer_of()), RewardClient(url=url)]
        found = [said(lambda source=source: source.rewards(grouped(prompts, completions)[0])) for source in sources]
        assert [warnings for _, warnings in found] == [[CUT.format("scoring")]] * 2
        for one, other in zip(found[0][0], found[1][0], strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)
        assert said(lambda: sources[1].rewards(grouped(["why"], ["it"])[0]))[1] == []
        for scorer in (scorer_of(), RemoteScorer(sources[1])):
            (_, cut), warnings = said(
                lambda scorer=scorer: scorer.score_and_count(rows, origins=["a", "b", "c"], on_error=OnError.ERROR)
            )
            assert (cut, warnings) == (2, [])
            assert said(lambda scorer=scorer: scorer.warn_of_cut(2, "in.jsonl"))[1] == [CUT.format("in.jsonl")]
            assert said(lambda scorer=scorer: scorer.warn_of_cut(0, "in.jsonl"))[1] == []


def test_what_is_too_long_has_no_reward_and_other_faults_are_errors():
    system = [{"role": "system", "content": LONG}, {"role": "user", "content": "why"}]
    with listening(scorer_of()) as url:
        function = reward_function(url)
        found = function(["why", "why", system], [" it", LONG, "it"])
        assert found == [pytest.approx(expected(["why"], [" it"])[0], abs=1e-5), None, None]
        with pytest.raises(RequestRefusedError, match=r"prompts\[0\]: .*empty field"):
            function([" "], ["it"])
        with pytest.raises(RequestRefusedError, match=r"refused it \(422\).*head"):
            reward_function(url, head="wit")(["why"], ["it"])
        with pytest.raises(RequestRefusedError, match="no mean and deviation"):
            reward_function(url, normalized=True)(["why"], ["it"])


def test_heads_normalised_rewards_and_the_key(monkeypatch):
    normalization = {head: Normalization(mean=0.5, deviation=2.0) for head in HEADS}
    (reward,) = scorer_of(HEADS).score("why", ["it"])
    assert isinstance(reward, dict)
    with listening(scorer_of(HEADS), normalization, api_key="open sesame") as url:
        monkeypatch.delenv(clients.API_KEY, raising=False)
        with pytest.raises(RequestRefusedError, match=r"refused it \(401\)"):
            reward_function(url, head="brevity")(["why"], ["it"])
        monkeypatch.setenv(clients.API_KEY, "open sesame")
        for head in HEADS:
            assert reward_function(url, head=head)(["why"], ["it"]) == pytest.approx([reward[head]], abs=1e-5)
            normalised = reward_function(url, head=head, normalized=True)(["why"], ["it"])
            assert normalised == pytest.approx([(reward[head] - 0.5) / 2.0], abs=1e-5)
        with pytest.raises(RequestRefusedError, match="several reward heads; head must be one of honesty, brevity"):
            reward_function(url)(["why"], ["it"])
