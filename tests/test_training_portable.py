"""A reward model in Hugging Face's format is taken as it is, and held to its golden scores where it has some."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest
from absl import logging
from pretrained_folders import write_pretrained
from safetensors.numpy import load_file, save_file
from tiny_run import tiny_config, write_rows

from rmjax import RewardScorer
from rmjax.batches.limits import ResponseTooLongError
from rmjax.config import ConfigError
from rmjax.evaluation.evaluate import evaluate
from rmjax.evaluation.golden import GoldenScoreError
from rmjax.evaluation.rewards import RewardComputer
from rmjax.evaluation.validation import make_evaluator
from rmjax.model_config import ModelConfig
from rmjax.models.huggingface import HuggingFaceModel
from rmjax.scoring.export import export
from rmjax.training.loop import train
from rmjax.training.portable import PortableModelError, is_portable, load_model, load_portable


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run from scratch of two heads, and its rows."""
    folder = tmp_path_factory.mktemp("portable")
    write_rows(folder / "rows.jsonl", rows=60)
    config = tiny_config(str(folder / "rows.jsonl"), steps=4, evaluate_every=2)
    config.model.reward_heads = ("other", "brevity")
    train(config, folder / "run", make_evaluator=make_evaluator)
    return folder


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_an_export_is_scored_and_evaluated_as_its_run_is(run, tmp_path, dtype):
    folder = export(run / "run", tmp_path / "out", head="brevity", dtype=dtype)
    assert is_portable(folder)
    assert not is_portable(run / "run")
    before, after = RewardScorer.from_workdir(run / "run"), RewardScorer.from_workdir(folder)
    responses = ["bird", "cloud door", "<|end|>", ""]
    for prompt, answers in (("apple? ", responses), ([{"role": "user", "content": "apple?"}], responses)):
        expected = [reward["brevity"] for reward in before.score(prompt, answers)]
        found = after.score(prompt, answers)
        np.testing.assert_allclose(found, expected, atol=1e-5 if dtype == "float32" else 2e-2)
    assert after.normalize(0.5) == pytest.approx(before.normalize(0.5, 1))
    assert after.trained.config.dimension == "brevity"
    (one,) = evaluate([str(run / "run")], [str(run / "rows.jsonl")])
    (other,) = evaluate([str(folder)], [str(run / "rows.jsonl")])
    if dtype == "float32":
        assert other.measurement.numbers["accuracy"] == pytest.approx(one.measurement.numbers["accuracy"])
    assert other.dimension == one.dimension == "brevity"


def test_an_export_that_was_damaged_is_refused(run, tmp_path):
    folder = export(run / "run", tmp_path / "out", head="brevity")
    tensors = load_file(folder / "model.safetensors")
    save_file(tensors | {"score.weight": tensors["score.weight"][:, ::-1].copy()}, folder / "model.safetensors")
    with pytest.raises(GoldenScoreError, match="has the reward"):
        RewardScorer.from_workdir(folder)
    save_file(tensors, folder / "model.safetensors")
    RewardScorer.from_workdir(folder)


def test_an_export_is_exported_again_alike(run, tmp_path):
    first = export(run / "run", tmp_path / "first", head="brevity")
    second = export(first, tmp_path / "second")
    one, other = (load_file(folder / "model.safetensors") for folder in (first, second))
    assert one.keys() == other.keys()
    assert all((one[name] == other[name]).all() for name in one)
    assert json.loads((first / "scoring_contract.json").read_text())["record"] is not None
    for name in ("config.json", "tokenizer_config.json", "tokenizer.json"):
        assert json.loads((first / name).read_text()) == json.loads((second / name).read_text()), name


def test_somebody_elses_reward_model_says_where_its_limits_are_from_and_not_of_a_step(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(logging.get_absl_logger(), "propagate", True)
    write_pretrained(tmp_path / "theirs", "llama", reward=True)
    with caplog.at_level("INFO", logger="absl"):
        scorer = RewardScorer.from_workdir(tmp_path / "theirs")
    assert f"{tmp_path / 'theirs'} came without a record of its rewards, so there are no golden" in caplog.text
    assert "step 0" not in caplog.text
    said = (
        "max_response_tokens is 256; .*; the model's limits are each half of the 512 tokens that it has positions for, "
    )
    with pytest.raises(ResponseTooLongError, match=said), scorer.remedied("skip it"):
        scorer.score("why ", ["it rains " * 500])


@pytest.mark.parametrize("kind", ["llama", "qwen", "gpt2"])
def test_somebody_elses_reward_model_is_read_through_its_own_tokenizer(tmp_path, kind):
    write_pretrained(tmp_path / "theirs", kind, reward=True)
    scorer = RewardScorer.from_workdir(tmp_path / "theirs")
    contract = scorer.contract
    assert contract.max_prompt_tokens + contract.max_response_tokens == 512
    conversation = contract.encode("why ", ["it rains"]).conversations[0]
    theirs = HuggingFaceModel(tmp_path / "theirs")
    assert max(conversation) < theirs.vocabulary_size
    assert len(scorer.score([{"role": "user", "content": "why"}], ["it rains", "never"])) == 2


def test_limits_beyond_a_models_positions_are_refused(run, tmp_path):
    folder = export(run / "run", tmp_path / "out", head="brevity")
    config = json.loads((folder / "config.json").read_text())
    assert config["max_position_embeddings"] == 96
    (folder / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 95}))
    message = r"config\.model\.max_positions is 95; it must be at least .* = 96 .*/out, its limits are those"
    with pytest.raises(ConfigError, match=message):
        load_portable(folder)


def test_an_export_keeps_the_positions_that_its_base_states(tmp_path):
    write_pretrained(tmp_path / "theirs", "qwen", reward=True)
    write_rows(tmp_path / "rows.jsonl", rows=60)
    config = tiny_config(str(tmp_path / "rows.jsonl"), steps=2, evaluate_every=2)
    model = ModelConfig(attention=config.model.attention)
    config = dataclasses.replace(config, model=model, pretrained=str(tmp_path / "theirs"))
    train(config, tmp_path / "run", make_evaluator=make_evaluator)
    folder = export(tmp_path / "run", tmp_path / "out")
    again = export(folder, tmp_path / "again")
    for place in (folder, again):
        assert json.loads((place / "config.json").read_text())["max_position_embeddings"] == 512
        assert json.loads((place / "tokenizer_config.json").read_text())["model_max_length"] == 96


def test_what_is_no_reward_model_says_so(tmp_path, run):
    write_pretrained(tmp_path / "theirs", "qwen")
    with pytest.raises(PortableModelError, match="is a language model without a reward head"):
        load_portable(tmp_path / "theirs")
    folder = export(run / "run", tmp_path / "out", head="brevity")
    with pytest.raises(PortableModelError, match="so it has no checkpoint of step 3"):
        load_model(folder, 3)
    shutil.copy(run / "run" / "config.json", tmp_path / "config.json")
    assert not is_portable(tmp_path)
    assert not is_portable(tmp_path / "none")
    assert is_portable("hf://owner/name")


def test_the_rewards_of_heads_are_those_of_their_exports(run, tmp_path):
    trained = load_model(run / "run")
    for number, head in enumerate(("other", "brevity")):
        exported = load_portable(export(run / "run", tmp_path / head, head=head))
        kernels = [np.asarray(model.params["reward_head"]["kernel"]) for model in (trained, exported)]
        np.testing.assert_array_equal(kernels[0][:, [number]], kernels[1])
        assert jax.tree.structure(exported.params) == jax.tree.structure(trained.params)
        assert RewardComputer(exported.model, exported.config).shape.length >= 96
