"""Laws of scoring: rows come back in order with their rewards, and a reward does not depend on what is beside it."""

import gzip
import json
import tracemalloc
from collections import Counter

import jax
import numpy as np
import pytest
from absl import logging
from random_batches import lively
from untrained import random_text, untrained_config, untrained_contract, write_run

from rmjax.batches.contract import TextGroup
from rmjax.batches.limits import ResponseTooLongError
from rmjax.config import OnError
from rmjax.errors import UserError
from rmjax.models import reward
from rmjax.preferences.record import Message, RowError
from rmjax.scoring import scored_files as scoring
from rmjax.scoring.rows import parse_request
from rmjax.scoring.scored_files import score_file
from rmjax.scoring.scorer import RewardScorer
from rmjax.training.parallel import make_model
from rmjax.training.trained import TrainedModel

LONG = "rains " * 200


def make(heads: tuple[str, ...] = ()) -> TrainedModel:
    config = untrained_config(heads=heads)
    contract = untrained_contract(config)
    network = make_model(config.model, contract.tokenizer.get_vocab_size())
    params = lively(reward.init(network, jax.random.key(1)))
    return TrainedModel(config=config, model=network, params=params, contract=contract, step=3)


@pytest.fixture(scope="module")
def scorer() -> RewardScorer:
    return RewardScorer(make())


def random_rows(seed: int, count: int) -> list[dict]:
    """Rows of every form, with further fields."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(count):
        turns = [("user", random_text(rng, 9)), ("assistant", random_text(rng, 9))]
        messages = [{"role": role, "content": content} for role, content in turns]
        forms = (
            {"prompt": random_text(rng, 20), "response": random_text(rng, 9)},
            {"prompt": random_text(rng, 20), "responses": [random_text(rng, 9) for _ in range(rng.integers(1, 5))]},
            {"messages": messages},
            {"prompt": messages[:1], "response": messages[1]["content"]},
        )
        found.append({"id": number, "extra": [None, "ü"], **forms[rng.integers(4)]})
    return found


def written(path, rows) -> str:
    data = "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(data) if path.name.endswith(".gz") else data)
    return str(path)


def read(path) -> list[dict]:
    data = gzip.decompress(path.read_bytes()) if path.name.endswith(".gz") else path.read_bytes()
    return [json.loads(line) for line in data.decode().splitlines()]


def test_a_file_is_not_scored_into_itself(tmp_path, scorer):
    source = written(tmp_path / "in.jsonl", random_rows(0, 2))
    before = (tmp_path / "in.jsonl").read_bytes()
    with pytest.raises(UserError, match="is the file that --input="):
        score_file(scorer, source, f"{tmp_path}/./in.jsonl")
    assert (tmp_path / "in.jsonl").read_bytes() == before


@pytest.mark.parametrize(("suffix", "chunk"), [("jsonl", 1024), ("jsonl.gz", 1024), ("jsonl", 7)])
def test_rows_come_back_in_order_with_all_fields_and_their_rewards(tmp_path, scorer, monkeypatch, suffix, chunk):
    monkeypatch.setattr(scoring, "ROWS_AT_ONCE", chunk)
    rows, target = random_rows(0, 24), tmp_path / f"out.{suffix}"
    counts = score_file(scorer, written(tmp_path / f"in.{suffix}", rows), str(target))
    assert counts == {"scored": 24}
    found = read(target)
    assert [{name: row[name] for name in row if name not in ("reward", "rewards")} for row in found] == rows
    for row in found:
        if "messages" in row:
            alone = scorer.score(row["messages"][:-1], [row["messages"][-1:]])
        else:
            alone = scorer.score(row["prompt"], row.get("responses", [row.get("response")]))
        rewards = row["rewards"] if "responses" in row else [row["reward"]]
        np.testing.assert_allclose(rewards, alone, rtol=0, atol=1e-5)


def test_one_response_at_a_time_is_all_at_once(scorer):
    responses = [random_text(np.random.default_rng(seed), 9) for seed in range(12)]
    together = scorer.score("why", responses)
    assert len(set(together)) == len(set(responses))
    alone = [scorer.score("why", [response])[0] for response in responses]
    np.testing.assert_allclose(alone, together, rtol=0, atol=1e-5)
    np.testing.assert_allclose(scorer.score("why", responses[::-1]), together[::-1], rtol=0, atol=1e-5)


def test_what_is_encoded_already_gets_the_same_rewards(scorer):
    requests = [parse_request(row, origin="test") for row in random_rows(3, 20)]
    groups = scorer.contract.encode_many([TextGroup(request.prompt, request.responses) for request in requests])
    for found, expected in zip(scorer.score_encoded(groups), scorer.score_many(requests), strict=True):
        np.testing.assert_allclose([entry.reward for entry in found], expected, rtol=0, atol=1e-6)
        assert {entry.spread for entry in found} == {None}
    with pytest.raises(ResponseTooLongError):
        scorer.score_encoded(scorer.contract.encode_many([TextGroup("why", (LONG,))]))


def test_messages_may_be_objects_dicts_or_the_text_that_they_render_to(scorer):
    dicts = [{"role": "user", "content": "why"}]
    objects = [Message(role="user", content="why")]
    expected = scorer.score(dicts, ["it rains"])
    assert scorer.score(objects, [[Message(role="assistant", content="it rains")]]) == expected
    assert scorer.score("\n\nHuman: why\n\nAssistant:", [" it rains"]) == expected
    assert all(type(value) is float for value in expected)


def test_one_of_several_heads_gives_its_reward_alone():
    several, responses = RewardScorer(make(heads=("honesty", "wit"))), ["it rains", "never"]
    alone = RewardScorer(several.trained, head="wit")
    both = several.score("why", responses)
    assert alone.score("why", responses) == [found["wit"] for found in both if isinstance(found, dict)]
    with pytest.raises(UserError, match="the model has no reward head 'speed'; --head must be one of honesty, wit"):
        RewardScorer(several.trained, head="speed")
    with pytest.raises(UserError, match="no reward head 'wit'; --head must be left out, it has a single one without"):
        RewardScorer(make(), head="wit")


def test_an_error_says_where_the_limit_of_a_run_is_from(scorer):
    said = "limits are those that its run was trained with; skip it"
    with pytest.raises(ResponseTooLongError, match=said), scorer.remedied("skip it"):
        scorer.score("why", [LONG])
    with pytest.raises(RowError, match="; skip it") as error, scorer.remedied("skip it"):
        scorer.score("", ["never"])
    assert "limits" not in str(error.value)


def test_several_heads_give_a_reward_for_each_by_name(tmp_path):
    scorer = RewardScorer(make(("helpfulness", "brevity")))
    (found,) = scorer.score("why", ["it rains"])
    assert isinstance(found, dict)
    assert list(found) == ["helpfulness", "brevity"]
    score_file(
        scorer, written(tmp_path / "in.jsonl", [{"prompt": "why", "response": "it rains"}]), str(tmp_path / "out")
    )
    assert read(tmp_path / "out")[0]["reward"] == pytest.approx(found)
    assert RewardScorer(make(("helpfulness",))).score("why", ["it"])[0] == pytest.approx(
        RewardScorer(make()).score("why", ["it"])[0]
    )


ASKED = {"role": "user", "content": "p"}
BAD = [
    ("{", "invalid JSON", ""),
    ("", "blank line", ""),
    ('{"prompt": "p", "response": "r", "id": 1e400}', "invalid JSON", ""),
    ('{"prompt": "p", "response": "r", "response": "s"}', "duplicate field", "response"),
    ({"prompt": "p"}, "missing or ambiguous field", "response"),
    ({"prompt": "p", "response": LONG}, "response too long", "response"),
    (
        {"messages": [{"role": "user", "content": "p"}, {"role": "assistant", "content": LONG}]},
        "response too long",
        "messages",
    ),
    ({"prompt": [{"role": "robot", "content": "x"}], "response": "r"}, "unknown role", "prompt[0].role"),
    ({"prompt": "p", "response": "r", "reward": 4}, "field already there", "reward"),
]


def place(field: str) -> str:
    return f"field {field!r}: " if field else ""


@pytest.mark.parametrize(("row", "kind", "field"), BAD)
def test_a_bad_row_is_an_error_that_names_it_and_nothing_is_written(tmp_path, scorer, row, kind, field):
    good = {"prompt": "p", "response": "r"}
    source = written(tmp_path / "in.jsonl", [good, good, row, good])
    with pytest.raises(RowError) as told:
        score_file(scorer, source, str(tmp_path / "out.jsonl"))
    assert told.value.kind == kind
    assert f"{source}, line 3: {place(field)}" in str(told.value)
    assert not (tmp_path / "out.jsonl").exists()


def test_skipped_rows_keep_their_place_and_say_why(tmp_path, scorer):
    good = {"prompt": "why", "response": "it rains"}
    rows = [good, *[row for row, _, _ in BAD], {"prompt": "why", "responses": ["it", LONG, "rains"]}, good]
    target = tmp_path / "out.jsonl"
    counts = score_file(scorer, written(tmp_path / "in.jsonl", rows), str(target), on_error=OnError.SKIP)
    found = read(target)
    assert len(found) == len(rows)
    assert counts == {"scored": 2, "response too long": 3} | Counter(kind for _, kind, _ in BAD if "long" not in kind)
    for answer, (row, kind, field) in zip(found[1 : 1 + len(BAD)], BAD, strict=True):
        assert answer["reward"] is None
        assert f"{place(field)}{kind}" in answer["error"]
        if isinstance(row, str) or "reward" in row:
            assert answer["line" if isinstance(row, str) else "row"] == row
        else:
            assert row.items() <= answer.items()
    assert found[-2]["rewards"][1] is None
    assert "responses[1]" in found[-2]["error"]
    assert found[-2]["rewards"][::2] == pytest.approx(scorer.score("why", ["it", "rains"]), abs=1e-5)
    assert found[0]["reward"] == pytest.approx(found[-1]["reward"], abs=1e-6)
    assert "error" not in found[0]


def test_faults_of_a_call_are_raised(scorer):
    with pytest.raises(ResponseTooLongError, match=r"the model.s limit text\.max_response_tokens is 40"):
        scorer.score("why", [LONG])
    with pytest.raises(TypeError, match="must be a list of responses"):
        scorer.score("why", "it rains")
    with pytest.raises(RowError, match="text, as the prompt is"):
        scorer.score("why", [[{"role": "assistant", "content": "it rains"}]])


def test_cut_prompts_are_warned_of_once_a_call_or_file(tmp_path, scorer, monkeypatch, caplog):
    monkeypatch.setattr(logging.get_absl_logger(), "propagate", True)
    monkeypatch.setattr(scoring, "ROWS_AT_ONCE", 2)
    said = (
        "{}: {} prompts have more than 60 tokens and lost the first of them (a system turn stays); training with a "
        "higher --config.text.max_prompt_tokens keeps more"
    ).format
    row = {"prompt": LONG, "response": "it rains"}
    source = written(tmp_path / "in.jsonl", [row, {**row, "prompt": "why"}] * 4)

    def warned(call) -> list[str]:
        caplog.clear()
        call()
        return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]

    for prompt, expected in (("why", []), (LONG, [said("scoring", 1)])):
        assert warned(lambda prompt=prompt: scorer.score(prompt, ["it", "rains"])) == expected
    requests = [parse_request({"prompt": text, "response": "it"}, origin="") for text in ("why", LONG, LONG)]
    assert warned(lambda: scorer.score_many(requests)) == [said("scoring", 2)]
    for on_error in (OnError.ERROR, OnError.SKIP):
        found = warned(lambda on_error=on_error: score_file(scorer, source, str(tmp_path / "out"), on_error=on_error))
        assert found == [said(source, 4)]


class BlindScorer(RewardScorer):
    """Answers without a model, so that the file is all that there is."""

    def __init__(self):
        self.contract = untrained_contract(untrained_config())

    def score_and_count(self, requests, *, origins, on_error):
        return [[0.0] for _ in requests], 0


def test_memory_does_not_grow_with_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(scoring, "ROWS_AT_ONCE", 100)
    peaks = []
    for count in (300, 3000):
        rows = [{"prompt": "p" * 2000, "response": "r"}] * count
        source = written(tmp_path / "in.jsonl", rows)
        tracemalloc.start()
        score_file(BlindScorer(), source, str(tmp_path / "out.jsonl"))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert len(read(tmp_path / "out.jsonl")) == count
    assert peaks[1] < 1.3 * peaks[0]


def test_a_saved_and_loaded_model_scores_the_same_bits(tmp_path, scorer):
    trained = scorer.trained
    worse = jax.tree.map(lambda leaf: leaf * 0.5, trained.params)
    write_run(tmp_path, trained.config, checkpoints={3: (trained.params, 0.8), 4: (worse, 0.7)})
    prompt, responses = "why", ["it rains", "", "never asks why", "stone"]
    expected = scorer.score(prompt, responses)
    assert RewardScorer.from_workdir(tmp_path).score(prompt, responses) == expected
    assert RewardScorer.from_workdir(str(tmp_path), step=3).score(prompt, responses) == expected
    assert RewardScorer.from_workdir(tmp_path, step=4).score(prompt, responses) != expected
