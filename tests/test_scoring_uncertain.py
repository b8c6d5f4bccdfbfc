"""Scoring by an ensemble: its mean, its spread, what a pessimist makes of it, and which pairs it is least sure of."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from random_batches import lively
from test_scoring_scorer import LONG, random_rows, read, written
from untrained import untrained_config, untrained_contract, write_run

from rmjax.config import OnError
from rmjax.errors import UserError
from rmjax.evaluation.spread import sureness
from rmjax.labeling.pairing import PairRule, choose_pairs
from rmjax.models import reward
from rmjax.preferences.record import RowError
from rmjax.preferences.tasks import Task
from rmjax.scoring.best import best_of_n
from rmjax.scoring.remote_scorer import open_scorer
from rmjax.scoring.rows import parse_request
from rmjax.scoring.scored_files import score_file
from rmjax.scoring.scorer import RewardScorer
from rmjax.scoring.source import EnsembleError
from rmjax.scoring.task_sureness import task_sureness
from rmjax.scoring.uncertain import UNCERTAIN, UncertainScorer, pair_sureness
from rmjax.training.parallel import make_model
from rmjax.training.scoring_record import ScoringRecord
from rmjax.training.trained import TrainedModel


def make(heads=(), members=4) -> TrainedModel:
    config = untrained_config(heads=heads)
    config.model.ensemble = members
    contract = untrained_contract(config)
    network = make_model(config.model, contract.tokenizer.get_vocab_size())
    params = lively(reward.init(network, jax.random.key(1)))
    params["reward_head"]["kernel"] *= 10.0
    return TrainedModel(config=config, model=network, params=params, contract=contract, step=3)


@pytest.fixture(scope="module")
def trained() -> TrainedModel:
    return make()


REQUESTS = [parse_request(row, origin="test") for row in random_rows(3, 20)]


def test_the_reward_is_the_mean_of_members_that_lie_apart(trained):
    scorer = RewardScorer(trained)
    members = scorer.members(REQUESTS)
    assert [entry.shape for entry in members] == [(len(request.responses), 1, 4) for request in REQUESTS]
    rewards = scorer.score_many(REQUESTS)
    found, cut = scorer.score_with_spread(REQUESTS)
    assert cut == 0
    for own, expected, uncertain in zip(members, rewards, found, strict=True):
        np.testing.assert_allclose(own[:, 0].mean(-1), expected, rtol=1e-6)
        assert [entry.reward for entry in uncertain] == expected
        np.testing.assert_allclose([entry.spread for entry in uncertain], own[:, 0].std(-1, ddof=1), rtol=1e-5)
        assert min(entry.spread for entry in uncertain) > 0.1


@pytest.mark.parametrize("pessimism", [0.5, 3.0])
def test_a_pessimist_takes_so_many_spreads_from_the_mean(trained, pessimism):
    plain, _ = RewardScorer(trained).score_with_spread(REQUESTS)
    scorer = RewardScorer(trained, pessimism=pessimism)
    expected = [[entry.reward - pessimism * entry.spread for entry in found] for found in plain]
    for found, right in zip(scorer.score_many(REQUESTS), expected, strict=True):
        np.testing.assert_allclose(found, right, atol=1e-6)
    both, _ = scorer.score_with_spread(REQUESTS)
    assert [[entry.spread for entry in found] for found in both] == [
        [entry.spread for entry in found] for found in plain
    ]


def test_normalized_spreads_are_in_the_unit_of_normalized_rewards():
    trained = make(("a", "b"))
    record = ScoringRecord(golden=(), mean=(0.5, -1.0), deviation=(2.0, 0.25), responses=9, device="cpu")
    trained = dataclasses.replace(trained, record=record)
    plain = RewardScorer(trained).score_with_spread(REQUESTS)[0][0][0]
    normalized = RewardScorer(trained, normalized=True, pessimism=1.0).score_with_spread(REQUESTS)[0][0][0]
    for head, mean, deviation in (("a", 0.5, 2.0), ("b", -1.0, 0.25)):
        assert normalized.spread[head] == pytest.approx(plain.spread[head] / deviation)
        worst = (plain.reward[head] - plain.spread[head] - mean) / deviation
        assert normalized.reward[head] == pytest.approx(worst, rel=1e-5)


def test_of_one_head_of_several_reward_and_spread_are_numbers():
    trained = make(("a", "b"))
    both, _ = RewardScorer(trained, pessimism=1.0).score_with_spread(REQUESTS)
    alone, _ = RewardScorer(trained, head="b", pessimism=1.0).score_with_spread(REQUESTS)
    for found, expected in zip(alone, both, strict=True):
        assert found == [(entry.reward["b"], entry.spread["b"]) for entry in expected]


def test_files_get_spreads_beside_rewards(tmp_path, trained):
    scorer = RewardScorer(trained)
    rows = [*random_rows(0, 12), {"prompt": "why", "responses": ["it", LONG]}, {"prompt": "why"}]
    target = tmp_path / "out.jsonl"
    source = written(tmp_path / "in.jsonl", rows)
    score_file(UncertainScorer(scorer), source, str(target), on_error=OnError.SKIP, task=UNCERTAIN)
    plain = tmp_path / "plain.jsonl"
    score_file(scorer, source, str(plain), on_error=OnError.SKIP)
    for found, expected in zip(read(target), read(plain), strict=True):
        if "rewards" in found:
            spreads = found.pop("spreads")
            assert [entry is None for entry in spreads] == [entry is None for entry in found["rewards"]]
            assert len(set(spreads)) == len(set(found["rewards"]))
        else:
            assert (found.pop("spread") is None) == (found["reward"] is None)
        assert found == expected
    assert "error" in read(target)[-1]
    again, taken = tmp_path / "again.jsonl", [{"prompt": "p", "response": "r", "spread": 1}]
    with pytest.raises(RowError, match="'spread': field already there"):
        score_file(UncertainScorer(scorer), written(tmp_path / "taken.jsonl", taken), str(again), task=UNCERTAIN)
    assert not again.exists()


def test_a_model_of_one_member_has_neither_spread_nor_pessimism():
    single = make(members=1)
    right = r"one member.*--config\.model\.ensemble=4 or more"
    with pytest.raises(EnsembleError, match=rf"a pessimism of 1.5; .*{right[10:]}"):
        RewardScorer(single, pessimism=1.5)
    with pytest.raises(EnsembleError, match=right):
        UncertainScorer(RewardScorer(single))
    with pytest.raises(EnsembleError, match=right):
        RewardScorer(single).score_with_spread(REQUESTS)
    for wrong in (-1.0, float("nan"), float("inf")):
        with pytest.raises(EnsembleError, match="finite number, at least 0"):
            RewardScorer(make(), pessimism=wrong)


def test_the_best_for_a_pessimist_is_the_highest_after_the_spread_is_taken(tmp_path, trained):
    config = untrained_config()
    config.model.ensemble = 4
    workdir = write_run(tmp_path / "run", config, checkpoints={5: (trained.params, 0.6)})
    rows = [row for row in random_rows(5, 30) if "responses" in row]
    source = written(tmp_path / "in.jsonl", rows)
    scorer = open_scorer(workdir, None, step=None, head=None, pessimism=2.0)
    best_of_n(scorer, source, str(tmp_path / "out.jsonl"))
    requests = [parse_request(row, origin="test") for row in rows]
    for found, members in zip(read(tmp_path / "out.jsonl"), RewardScorer(trained).members(requests), strict=True):
        worth = members[:, 0].mean(-1) - 2.0 * members[:, 0].std(-1, ddof=1)
        assert found["best_index"] == int(np.argmax(worth))
        np.testing.assert_allclose(found["rewards"], worth, atol=1e-5)
    with pytest.raises(UserError, match=r"--pessimism is 1\.0, and .* is decided where it is started"):
        open_scorer(None, "http://127.0.0.1:1", step=None, head=None, pessimism=1.0)


@pytest.mark.parametrize("members", [1, 4])
def test_the_pairs_that_a_labeler_is_best_asked_about(members):
    trained = make(("a", "b"), members)
    scorer = RewardScorer(trained)
    found = pair_sureness(scorer, REQUESTS, head="b")
    for matrix, own in zip(found, scorer.members(REQUESTS), strict=True):
        count = len(own)
        assert matrix.shape == (count, count)
        for left, right in np.ndindex(count, count):
            expected = sureness((own[left, 1] - own[right, 1]).astype(np.float64)[None])[0]
            assert matrix[left, right] == pytest.approx(expected, rel=1e-6)
    with pytest.raises(UserError, match="head must be one of a, b"):
        pair_sureness(scorer, REQUESTS)
    assert pair_sureness(scorer, [], head="a") == []


def test_people_are_asked_first_where_the_members_are_least_sure(tmp_path):
    config = untrained_config()
    config.model.ensemble = 4
    workdir = write_run(tmp_path / "run", config)
    requests = [request for request in REQUESTS if len(request.responses) > 2]
    tasks = [
        Task(id=str(place), prompt=request.prompt, responses=request.responses)
        for place, request in enumerate(requests)
    ]
    pairs = choose_pairs(tasks, PairRule.LEAST_SURE, sureness=task_sureness(workdir))
    scorer = RewardScorer.from_workdir(workdir)
    known, rewards = pair_sureness(scorer, requests), scorer.score_many(requests)
    asked = [(int(pair.task.id), pair.left, pair.right) for pair in pairs]
    sure = [known[task][left, right] for task, left, right in asked]
    np.testing.assert_array_less(sure[:-1], np.array(sure[1:]) + 1e-5)
    apart = [abs(rewards[task][left] - rewards[task][right]) for task, left, right in asked]
    assert (np.diff(apart) < 0).any()  # another order than that of the closest rewards


def test_rows_are_plain_json(tmp_path, trained):
    source = written(tmp_path / "in.jsonl", [{"prompt": "why", "response": "it rains"}])
    score_file(UncertainScorer(RewardScorer(trained)), source, str(tmp_path / "out.jsonl"), task=UNCERTAIN)
    (line,) = (tmp_path / "out.jsonl").read_text().splitlines()
    found = json.loads(line)
    assert list(found) == ["prompt", "response", "reward", "spread"]
    assert found["spread"] > 0
