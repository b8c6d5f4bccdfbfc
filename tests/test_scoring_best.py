"""Best of n: the response whose reward alone is the highest, whatever scores it; rows are kept as in scoring."""

import contextlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from absl import logging
from reward_server import serving
from test_scoring_scorer import LONG, read, written
from test_scoring_stage_two import scorer, server, workdir  # noqa: F401 fixtures
from untrained import random_text, untrained_config, write_run

from rmjax import RewardScorer
from rmjax.config import OnError
from rmjax.errors import UserError
from rmjax.model_config import ComputeDtype
from rmjax.preferences.record import RowError
from rmjax.scoring import scored_files as scoring
from rmjax.scoring.best import best_of_n, first_highest
from rmjax.scoring.client import RewardClient
from rmjax.scoring.remote_scorer import RemoteScorer, open_scorer

ROOT = Path(__file__).parents[1]


@contextlib.contextmanager
def logged(caplog):
    """What reads the warnings so far."""
    logging.get_absl_logger().propagate, before = True, logging.get_absl_logger().propagate
    try:
        yield lambda: [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    finally:
        logging.get_absl_logger().propagate = before


@pytest.fixture(params=["in process", "served"])
def source(request, scorer, server):  # noqa: F811
    return scorer if request.param == "in process" else RemoteScorer(RewardClient(url=server.url))


def candidates(seed, count):
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        prompt, texts = random_text(rng, 9), [random_text(rng, 9) for _ in range(rng.integers(3, 7))]
        if number % 3 == 1:
            prompt = [{"role": "user", "content": prompt}]
        if number % 3 == 2:
            prompt = [{"role": "user", "content": prompt}]
            texts = [[{"role": "assistant", "content": text}] for text in texts]
        rows.append({"id": number, "prompt": prompt, "responses": texts})
    return rows


@pytest.mark.parametrize("chunk", [2, 1024])
@pytest.mark.parametrize("n", [None, 2])
def test_the_best_has_the_highest_reward_alone(tmp_path, monkeypatch, scorer, source, n, chunk):  # noqa: F811
    monkeypatch.setattr(scoring, "ROWS_AT_ONCE", chunk)
    rows, target = candidates(0, 9), tmp_path / "out.jsonl.gz"
    counts = best_of_n(source, written(tmp_path / "in.jsonl", rows), str(target), n=n)
    assert counts == {"scored": 9}
    for row, found in zip(rows, read(target), strict=True):
        alone = [scorer.score(row["prompt"], [response])[0] for response in row["responses"][:n]]
        np.testing.assert_allclose(found["rewards"], alone, rtol=0, atol=1e-5)
        assert found["best_reward"] == max(found["rewards"])
        assert found["best_index"] == int(np.argmax(alone))
        assert found["best"] == row["responses"][found["best_index"]]
        assert row.items() <= found.items()


@pytest.mark.parametrize(
    ("rewards", "best"),
    [([1.0], 0), ([1.0, 2.0, 2.0], 1), ([3.0, 3.0], 0), ([None, -5.0, None, -4.0], None), ([None], None), ([], None)],
)
def test_of_equal_rewards_the_first_is_the_best(rewards, best):
    assert first_highest(rewards) == best


BAD = [
    ({"prompt": "p", "responses": []}, "responses", "too few responses"),
    ({"prompt": "p", "responses": ["a"]}, "responses", "too few responses"),
    ({"prompt": "p", "responses": "ab"}, "responses", "wrong type"),
    ({"prompt": "p", "response": "a"}, "response", "wrong field"),
    ({"messages": [{"role": "user", "content": "a"}]}, "messages", "wrong field"),
    ({"prompt": "p"}, "responses", "missing field"),
    ({"responses": ["a", "b"]}, "prompt", "missing field"),
    ({"prompt": "p", "responses": ["a", "b"], "best": 3}, "best", "field already there"),
    ({"prompt": "p", "responses": ["a", 2]}, r"responses\[1\]", "wrong type"),
    ({"prompt": "p", "responses": [LONG, "b"]}, r"responses\[0\]", "response too long"),
]


@pytest.mark.parametrize(("row", "field", "kind"), BAD)
def test_a_row_that_cannot_be_scored_is_an_error(tmp_path, source, row, field, kind):
    given = written(tmp_path / "in.jsonl", [{"prompt": "p", "responses": ["a", "b"]}, row])
    with pytest.raises(RowError, match=rf"in.jsonl, line 2: field '{field}': {kind}"):
        best_of_n(source, given, str(tmp_path / "out.jsonl"), n=2)
    assert not (tmp_path / "out.jsonl").exists()


def test_skipped_rows_stay_in_their_place_without_a_best(tmp_path, source, caplog):
    """One response that can't be scored is enough: the best of the others would often be the shortest."""
    given = [*(row for row, _, _ in BAD), {"prompt": "p", "responses": [LONG, LONG]}, "{"]
    target = tmp_path / "out.jsonl"
    with logged(caplog) as warnings:
        counts = best_of_n(source, written(tmp_path / "in.jsonl", given), str(target), n=2, on_error=OnError.SKIP)
    found = read(target)
    assert len(found) == len(given) == sum(counts.values())
    assert all("error" in row for row in found)
    assert [row["best"] for row in found[:7]] == [None] * 7
    assert found[7]["row"] == BAD[7][0]
    assert [row["best"] for row in found[8:]] == [None] * 4
    assert (found[9]["best_index"], found[9]["best_reward"], found[9]["rewards"][0]) == (None, None, None)
    assert isinstance(found[9]["rewards"][1], float)
    assert (found[10]["best_index"], found[10]["rewards"]) == (None, [None, None])
    assert found[11]["line"] == "{"
    assert [text for text in warnings() if "too long" in text] == ["2 rows come back with an error: response too long"]


def test_one_of_several_heads(tmp_path):
    place = write_run(tmp_path / "run", untrained_config(heads=("a", "b")))
    given, target = written(tmp_path / "in.jsonl", candidates(1, 4)), tmp_path / "out.jsonl"
    with pytest.raises(UserError, match="has several reward heads; --head must be one of a, b"):
        open_scorer(place, None, step=None, head=None)
    several = open_scorer(place, None, step=None, head="b")
    assert isinstance(several, RewardScorer)
    best_of_n(several, given, str(target), head="b")
    for row in read(target):
        alone = [reward["b"] for reward in several.score(row["prompt"], row["responses"])]
        assert row["rewards"] == pytest.approx(alone, abs=1e-5)
    with pytest.raises(UserError, match="has several reward heads"):
        best_of_n(several, given, str(target))


def test_a_workdir_or_a_server_it_is(workdir):  # noqa: F811
    for both in ((None, None), (workdir, "http://a")):
        with pytest.raises(UserError, match="right would be one of the two"):
            open_scorer(*both, step=None, head=None)
    with pytest.raises(UserError, match="--step is 3, and http://a is a server"):
        open_scorer(None, "http://a", step=3, head=None)
    with pytest.raises(UserError, match="--compute_dtype is bfloat16, and http://a is a server"):
        open_scorer(None, "http://a", step=None, head=None, compute_dtype=ComputeDtype.BFLOAT16)


def test_the_command_asks_a_server(tmp_path):
    given = written(tmp_path / "in.jsonl", [{"prompt": "p", "responses": ["a", "ccc", "bb", "ddd"]}])
    with serving(lambda _, replies: [float(len(reply)) for reply in replies]) as lengths:
        command = [sys.executable, "-m", "rmjax.best_of_n", f"--url={lengths.url}", f"--input={given}", "--output=-"]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "prompt": "p", "responses": ["a", "ccc", "bb", "ddd"], "best": "ccc", "best_index": 1, "best_reward": 3.0,
        "rewards": [1.0, 3.0, 2.0, 3.0],
    }  # fmt: skip
