"""A server in the place of a scorer gives the spreads that the scorer gives, or says that it has none."""

import numpy as np
import pytest
from reward_server import serving
from served import close, listening, random_row, scorer_of
from test_scoring_scorer import LONG, read, written

from rmjax import reward_function
from rmjax.config import OnError
from rmjax.preferences.record import RowError
from rmjax.scoring import client as clients
from rmjax.scoring.best import best_of_n
from rmjax.scoring.client import RewardClient, ServerFailedError
from rmjax.scoring.remote_scorer import RemoteScorer
from rmjax.scoring.rows import parse_request
from rmjax.scoring.serving_rewards import Normalization
from rmjax.scoring.source import EnsembleError

HEADS = ("honesty", "brevity")
ROWS = [random_row(np.random.default_rng(seed)) for seed in range(12)]
REQUESTS = [parse_request(row, origin="test") for row in ROWS]


def asked(response):
    return parse_request({"prompt": "why", "responses": ["it rains", response]}, origin="test")


def test_spreads_are_those_of_the_scorer_in_however_many_parts_they_come(monkeypatch):
    monkeypatch.setattr(clients, "MOST_RESPONSES", 3)
    scorer = scorer_of(members=4, pessimism=2.0)
    expected, _ = scorer.score_with_spread([*REQUESTS, asked(LONG)], on_error=OnError.SKIP)
    with listening(scorer) as url:
        remote = RemoteScorer(RewardClient(url=url))
        found, cut = remote.score_with_spread([*REQUESTS, asked(LONG)], on_error=OnError.SKIP)
        assert cut == 0
        for own, other in zip(found, expected, strict=True):
            assert [entry is None for entry in own] == [entry is None for entry in other]
            for entry, right in zip(own, other, strict=True):
                assert entry is None or close(list(entry), list(right))
        assert found[-1][1] is None
        with pytest.raises(RowError, match=r"row 7: field 'responses\[1\]': response too long"):
            remote.score_with_spread([asked(LONG)], origins=["row 7"])
        assert remote.score_with_spread([]) == ([], 0)


def test_of_several_heads_the_spread_of_the_one_that_is_named_normalized_where_that_is_asked():
    scorer = scorer_of(HEADS, members=4, pessimism=2.0)
    normalization = {head: Normalization(mean=0.5, deviation=4.0) for head in HEADS}
    expected, _ = scorer.score_with_spread(REQUESTS)
    with listening(scorer, normalization) as url:
        for normalized, unit in ((False, 1.0), (True, 4.0)):
            remote = RemoteScorer(RewardClient(url=url, head="brevity", normalized=normalized))
            found, _ = remote.score_with_spread(REQUESTS)
            for own, other in zip(found, expected, strict=True):
                assert close([entry.spread for entry in own], [entry.spread["brevity"] / unit for entry in other])


def test_the_best_of_n_and_the_reward_of_stage_two_are_the_pessimists(tmp_path):
    scorer = scorer_of(members=4, pessimism=2.0)
    source = written(tmp_path / "in.jsonl", ROWS)
    best_of_n(scorer, source, str(tmp_path / "own.jsonl"))
    with listening(scorer) as url:
        best_of_n(RemoteScorer(RewardClient(url=url)), source, str(tmp_path / "served.jsonl"))
        reward = reward_function(url)(["why"], ["it rains"])
    for found, expected in zip(read(tmp_path / "served.jsonl"), read(tmp_path / "own.jsonl"), strict=True):
        assert found["best"] == expected["best"]
        assert close(found["rewards"], expected["rewards"])
    assert close(reward, scorer.score("why", ["it rains"]))


def lengths(_, responses):
    return [float(len(response)) for response in responses]


def test_where_a_server_has_no_spread_its_rewards_are_taken_all_the_same():
    """A model without an ensemble, and a server of an older version, which doesn't have the field."""
    with listening(scorer_of(HEADS)) as single, serving(lengths) as older:
        for url in (single, older.url):
            remote = RemoteScorer(RewardClient(url=url, head="brevity"))
            with pytest.raises(EnsembleError, match=rf"{url} gives no spread .* one member.*config\.model\.ensemble=4"):
                remote.score_with_spread(REQUESTS)
            scored, _ = remote.score_and_count(REQUESTS, origins=[""] * len(REQUESTS), on_error=OnError.ERROR)
            assert [len(found) for found in scored] == [len(request.responses) for request in REQUESTS]
            (reward,) = reward_function(url, head="brevity")(["why"], ["it rains"])
            assert isinstance(reward, float)


@pytest.mark.parametrize("wrong", ["0.5", [0.5], {"a": 0.5}])
def test_a_spread_that_is_no_number_is_an_error(wrong):
    with (
        serving(lengths, also={"spread": wrong}) as server,
        pytest.raises(ServerFailedError, match=r"gave the spreads .* right would be numbers, or null"),
    ):
        RemoteScorer(RewardClient(url=server.url)).score_with_spread(REQUESTS[:1])
