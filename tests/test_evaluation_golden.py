"""A model that doesn't give its golden scores any more is refused, and says by how much."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from tiny_run import tiny_config, write_rows

from rmjax import RewardScorer
from rmjax.batches.contract import TextContract
from rmjax.batches.template import RoleTemplate
from rmjax.batches.tokenizer import train_tokenizer
from rmjax.evaluation.golden import GoldenScoreError, trusted_computer
from rmjax.evaluation.validation import make_evaluator
from rmjax.model_config import ComputeDtype
from rmjax.preferences.record import Message
from rmjax.training.loop import train
from rmjax.training.scoring_record import ScoringRecord
from rmjax.training.trained import load_trained


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("golden")
    rows = folder / "rows.jsonl"
    write_rows(rows, rows=60)
    config = tiny_config(str(rows), steps=6, evaluate_every=3)
    train(config, folder / "run", make_evaluator=make_evaluator)
    return folder / "run"


def test_a_checkpoint_knows_its_golden_scores_and_the_spread_of_its_rewards(workdir):
    trained = load_trained(workdir)
    record = trained.record
    assert len(record.golden) == 12
    scorer = RewardScorer(trained)
    for golden in record.golden:
        assert scorer.score(golden.prompt, [golden.response]) == pytest.approx(golden.rewards, abs=1e-5)
        assert len(golden.tokens) == len(trained.contract.encode(golden.prompt, [golden.response]).conversations[0])
    assert record.responses > 20
    assert record.deviation[0] > 0
    assert ScoringRecord.from_json(json.loads(json.dumps(record.to_json()))) == record


def changed(trained, name):
    """The model after an accident."""
    params = dict(trained.params)
    if name == "a lost head":
        params["reward_head"] = jax.tree.map(lambda leaf: leaf[::-1], params["reward_head"])
        return dataclasses.replace(trained, params=params)
    if name == "lost layers":
        layers = jax.tree.map(np.zeros_like, params["backbone"]["layers"])
        return dataclasses.replace(trained, params=params | {"backbone": params["backbone"] | {"layers": layers}})
    contract = trained.contract
    if name == "another tokenizer":
        tokenizer = train_tokenizer(["gold hill fire"] * 5, contract.tokenizer.get_vocab_size())
        return dataclasses.replace(trained, contract=dataclasses.replace(contract, tokenizer=tokenizer))
    assert name == "smaller limits"
    return dataclasses.replace(trained, contract=dataclasses.replace(contract, max_response_tokens=1))


@pytest.mark.parametrize(
    ("accident", "message"),
    [
        ("a lost head", r"has the reward \S+, and had \S+ when the model was validated; the difference \S+ is more"),
        ("lost layers", r"has the reward \S+, and had \S+ when the model was validated; the difference \S+ is more"),
        ("another tokenizer", r"tokens now and was \d+ when .*; they differ from token \d+ on, so the tokenizer"),
        ("smaller limits", r"a golden conversation can't be read any more: .*text\.max_response_tokens is 1"),
    ],
)
def test_a_model_that_has_changed_is_refused(workdir, accident, message):
    trained = load_trained(workdir)
    trusted_computer(trained)
    with pytest.raises(GoldenScoreError, match=message):
        trusted_computer(changed(trained, accident))
    with pytest.raises(GoldenScoreError):
        RewardScorer(changed(trained, accident))


def test_another_template_is_refused_by_conversations_of_messages(workdir):
    trained = load_trained(workdir)
    record = trained.record
    golden = record.golden[0]
    scorer = RewardScorer(trained)
    turns, answer = (Message(role="user", content="apple"),), (Message(role="assistant", content="bird"),)
    tokens = tuple(trained.contract.encode(turns, [answer]).conversations[0])
    told = dataclasses.replace(
        golden, prompt=turns, response=answer, tokens=tokens, rewards=tuple(scorer.score(turns, [answer]))
    )
    trained = dataclasses.replace(trained, record=dataclasses.replace(record, golden=(told,)))
    trusted_computer(trained)
    template = RoleTemplate(turns=(("user", "U: ", ""), ("assistant", "A: ", "")), generation_prompt="A:")
    contract: TextContract = dataclasses.replace(trained.contract, template=template)
    with pytest.raises(GoldenScoreError, match="the tokenizer, template or limits have changed"):
        trusted_computer(dataclasses.replace(trained, contract=contract))


def shifted(record, by):
    """Golden rewards that are off by so much, up and down in turn."""
    golden = tuple(
        dataclasses.replace(entry, rewards=tuple(reward + by * (-1) ** place for reward in entry.rewards))
        for place, entry in enumerate(record.golden)
    )
    return dataclasses.replace(record, golden=golden)


@pytest.mark.parametrize("how", ["another device", "bfloat16"])
def test_rounding_on_another_device_or_in_another_dtype_is_no_change(workdir, how):
    trained = load_trained(workdir)
    scale = max(trained.record.deviation[0], 0.02)
    near, far = shifted(trained.record, 0.2 * scale), shifted(trained.record, 0.3 * scale)
    with pytest.raises(GoldenScoreError, match=r"the difference \S+ is more than the 0\.001"):
        trusted_computer(dataclasses.replace(trained, record=near))
    if how == "bfloat16":
        model = dataclasses.replace(trained.config.model, compute_dtype=ComputeDtype.BFLOAT16)
        trained = dataclasses.replace(trained, config=dataclasses.replace(trained.config, model=model))
        trusted_computer(dataclasses.replace(trained, record=near))
    else:
        far, near = (dataclasses.replace(record, device="TPU v5e") for record in (far, near))
        trusted_computer(dataclasses.replace(trained, record=near))
    with pytest.raises(GoldenScoreError, match=r"differ from those .* by 0\.3\d* standard deviations of its rewards"):
        trusted_computer(dataclasses.replace(trained, record=far))


def test_normalized_rewards_have_the_spread_of_the_validation_data(workdir):
    plain, normalized = RewardScorer.from_workdir(workdir), RewardScorer.from_workdir(workdir, normalized=True)
    record = plain.trained.record
    (before,), (after,) = plain.score("apple? ", ["bird"]), normalized.score("apple? ", ["bird"])
    assert after == pytest.approx((before - record.mean[0]) / record.deviation[0], abs=1e-6)
    assert plain.normalize(record.mean[0]) == 0
