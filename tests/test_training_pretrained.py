"""A run begins with somebody else's weights, tokenizer and chat template, and needs them no more once it has begun."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import optax
import pytest
from pretrained_folders import SPARE, write_pretrained
from safetensors.numpy import load_file, save_file
from tiny_run import tiny_config, write_rows

from rmjax.batches.contract import TextGroup
from rmjax.batches.jinja_template import JinjaTemplate
from rmjax.batches.tokenize import tokenize_responses
from rmjax.config import ConfigError, ParallelConfig, Strategy, TuningConfig
from rmjax.evaluation.rewards import RewardComputer
from rmjax.evaluation.validation import make_evaluator
from rmjax.hub import HubError
from rmjax.model_config import Activation, ModelConfig, Norm, Remat
from rmjax.models.huggingface_export import theirs_of
from rmjax.preferences.record import Message
from rmjax.scoring.export_adapter import export_adapter
from rmjax.training.data import prepare_data
from rmjax.training.loop import train
from rmjax.training.parallel import make_model, make_parallel
from rmjax.training.pretrained import embedding_rows, pretrained_params, with_architecture
from rmjax.training.trained import load_trained
from rmjax.training.tuning import adapters_of
from rmjax.training.workdir import open_workdir, read_config

GPT2 = {
    "key_value_heads": 2, "projection_bias": True, "output_bias": True, "mlp_bias": True, "gated_mlp": False,
    "norm": Norm.LAYER, "query_key_norm": False, "activation": Activation.GELU_TANH,
}  # fmt: skip


def config_of(tmp_path, kind, **write):
    write_pretrained(tmp_path / "theirs", kind, **write)
    write_rows(tmp_path / "rows.jsonl", rows=60)
    config = tiny_config(str(tmp_path / "rows.jsonl"), steps=4, evaluate_every=2)
    model = ModelConfig(attention=config.model.attention)
    return dataclasses.replace(config, model=model, pretrained=str(tmp_path / "theirs"))


@pytest.mark.parametrize(("kind", "reward"), [("llama", False), ("gpt2", False), ("qwen", True)])
def test_a_run_begins_with_them_and_goes_on_without_them(tmp_path, kind, reward):
    config = config_of(tmp_path, kind, reward=reward)
    train(config, tmp_path / "run", make_evaluator=make_evaluator)
    stored = read_config(tmp_path / "run").model
    theirs = json.loads((tmp_path / "theirs" / "config.json").read_text())
    assert (stored.width, stored.query_key_norm) == (theirs["hidden_size"], True)
    shutil.rmtree(tmp_path / "theirs")
    trained = load_trained(tmp_path / "run")
    assert isinstance(trained.contract.template, JinjaTemplate) == (kind != "gpt2")
    rows = trained.params["backbone"]["embedding"]["embedding"].shape[0]
    assert rows == embedding_rows(stored, trained.contract) == theirs["vocab_size"]
    again = train(config, tmp_path / "run", make_evaluator=make_evaluator)
    assert again.step == 4


def first_state(config, workdir):
    """The config, model, contract, first state and strategy of a run."""
    config = with_architecture(config, workdir)
    contract = prepare_data(config, open_workdir(workdir, config)).contract
    model = make_model(config.model, embedding_rows(config.model, contract), adapters_of(config))
    parallel = make_parallel(config)
    params = pretrained_params(config, model, parallel)
    state = parallel.new_state(model, optax.adam(1e-3), config.seed, params)
    return config, model, contract, state, parallel


@pytest.mark.parametrize(
    "parallel",
    [
        ParallelConfig(strategy=Strategy.JIT),
        ParallelConfig(strategy=Strategy.PMAP),
        ParallelConfig(strategy=Strategy.MESH, fsdp=2, tensor=2),
    ],
    ids=lambda parallel: parallel.strategy.value,
)
def test_every_strategy_begins_with_the_rewards_of_their_folder(tmp_path, parallel):
    config = config_of(tmp_path, "qwen", reward=True)
    alone = first_state(dataclasses.replace(config, parallel=ParallelConfig(strategy=Strategy.JIT)), tmp_path / "alone")
    split = first_state(dataclasses.replace(config, parallel=parallel), tmp_path / "split")
    for one, other in zip(jax.tree.leaves(alone[3].params), jax.tree.leaves(split[3].params), strict=True):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))
    turns = (Message(role="user", content="apple bird?"),)
    answers = [(Message(role="assistant", content=text),) for text in ("cloud", "door earth fire", "gold " * 3)]
    tokenized = tokenize_responses([TextGroup(turns, answers)], split[2])
    rewards = RewardComputer(split[1], split[0], parallel=split[4])(split[3].params, tokenized)
    expected = RewardComputer(alone[1], alone[0], parallel=alone[4])(alone[3].params, tokenized)
    assert expected.std() > 0.01
    np.testing.assert_allclose(rewards, expected, atol=1e-5)


def test_a_token_that_was_added_has_a_row_of_zeros(tmp_path):
    config = config_of(tmp_path, "gpt2")
    words = cut_spare_rows(tmp_path / "theirs")
    _, _, contract, state, _ = first_state(config, tmp_path / "run")
    embedding = np.asarray(state.params["backbone"]["embedding"]["embedding"])
    assert contract.tokenizer.token_to_id(contract.special.pad) == words
    assert embedding.shape[0] == words + 1
    assert not embedding[words].any()
    assert embedding[:words].any(axis=1).all()


def cut_spare_rows(folder):
    """Leaves a row for each token alone, and says how many they are."""
    theirs = json.loads((folder / "config.json").read_text())
    theirs["vocab_size"] -= SPARE
    (folder / "config.json").write_text(json.dumps(theirs))
    places = json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"]
    name = next(name for name in places if name.endswith("embed_tokens.weight"))
    tensors = load_file(folder / places[name])
    save_file(tensors | {name: np.ascontiguousarray(tensors[name][: theirs["vocab_size"]])}, folder / places[name])
    return theirs["vocab_size"]


def test_the_architecture_is_theirs_and_how_it_is_computed_is_ours(tmp_path):
    config = config_of(tmp_path, "qwen", head_size=16)
    config.model.remat, config.model.reward_heads = Remat.DOTS, ("brevity",)
    model = with_architecture(config, tmp_path / "none").model
    assert (model.head_size, model.remat, model.reward_heads) == (16, Remat.DOTS, ("brevity",))
    assert with_architecture(dataclasses.replace(config, model=model), tmp_path / "none").model == model
    config.model.head_size = 12
    message = r"config\.model\.head_size is 12; it must be left as it is by default, for it is 16 in config\.pretrained"
    with pytest.raises(ConfigError, match=message):
        with_architecture(config, tmp_path / "none")


@pytest.mark.parametrize(
    ("kind", "field", "shape"),
    [("qwen", "max_positions", {}), ("gpt2", "position_embeddings", {"position_embeddings": 512, **GPT2})],
)
def test_texts_beyond_their_positions_are_refused_before_anything_is_loaded(tmp_path, kind, field, shape):
    config = config_of(tmp_path, kind, **shape)
    for path in (tmp_path / "theirs").glob("*.safetensors"):
        path.write_bytes(b"unread")
    config.text.max_prompt_tokens, config.text.max_response_tokens = 500, 12
    found = with_architecture(config, tmp_path / "none").model
    assert getattr(found, field) == 512
    config.text.max_response_tokens = 13
    message = rf"config\.model\.{field} is 512; it must be at least .* = 513 \(lower .*config\.pretrained = '.*theirs'"
    with pytest.raises(ConfigError, match=message):
        train(config, tmp_path / "run", make_evaluator=make_evaluator)
    assert not (tmp_path / "run").exists()


def test_a_model_that_reads_further_than_it_states_may_be_told_so(tmp_path):
    config = config_of(tmp_path, "qwen")
    config.text.max_prompt_tokens, config.model.max_positions = 1000, 1064
    found = with_architecture(config, tmp_path / "none")
    assert found.model.max_positions == 1064
    assert theirs_of(found.model, 300, longest=1064)["max_position_embeddings"] == 1064
    config.model.max_positions = 1063
    with pytest.raises(ConfigError, match=r"max_positions is 1063; it must be at least .* = 1064"):
        with_architecture(config, tmp_path / "none")


def test_an_ensemble_begins_with_heads_of_its_own(tmp_path):
    config = config_of(tmp_path, "qwen")
    config.model.ensemble = 4
    kernels = {}
    for scale in (1.0, 6.0):
        config.model.ensemble_scale = scale
        kernels[scale] = np.asarray(first_state(config, tmp_path / str(scale))[3].params["reward_head"]["kernel"])
    assert kernels[1.0].shape[1] == len(np.unique(kernels[1.0], axis=1).T) == 4
    np.testing.assert_allclose(kernels[6.0], 6 * kernels[1.0], rtol=1e-6)


def test_an_ensemble_cannot_begin_with_one_head_of_somebody_elses(tmp_path):
    config = config_of(tmp_path, "qwen", reward=True)
    config.model.ensemble = 4
    with pytest.raises(ConfigError, match=r"config\.model\.ensemble is 4; it must be 1, .* has a reward head"):
        first_state(config, tmp_path / "run")


@pytest.fixture
def adapter(tmp_path):
    """The config of a run with adapters, its workdir, and a folder of these in PEFT's format."""
    config = dataclasses.replace(
        config_of(tmp_path, "qwen"), tuning=TuningConfig(lora_rank=2, lora_targets=("query", "up"))
    )
    config.optimizer.learning_rate = 0.05
    train(config, tmp_path / "run", make_evaluator=make_evaluator)
    folder = export_adapter(tmp_path / "run", tmp_path / "adapter", base=str(tmp_path / "theirs"), step=4)
    return dataclasses.replace(config, pretrained=str(folder)), load_trained(tmp_path / "run", 4)


@pytest.mark.parametrize("tuning", ["the same", "none"])
def test_an_adapter_of_pefts_format_is_trained_on_or_merged(tmp_path, adapter, tuning):
    config, trained = adapter
    if tuning == "none":
        config = dataclasses.replace(config, tuning=TuningConfig())
    found, model, contract, state, parallel = first_state(config, tmp_path / "next")
    assert contract.template == trained.contract.template
    tokenized = tokenize_responses([TextGroup("apple? ", [" bird", " cloud door", " hill"])], contract)
    expected = RewardComputer(trained.model, trained.config)(trained.params, tokenized)
    assert expected.std() > 0.01
    rewards = RewardComputer(model, found, parallel=parallel)(state.params, tokenized)
    np.testing.assert_allclose(rewards, expected, atol=1e-5)
    assert (jax.tree.structure(state.params) == jax.tree.structure(trained.params)) == (tuning == "the same")


def test_an_adapter_that_the_config_has_not_got_is_an_error(tmp_path, adapter):
    config = dataclasses.replace(adapter[0], tuning=TuningConfig(lora_rank=3))
    with pytest.raises(
        ConfigError, match=r"lora_rank is 3; it must be 0, to merge .* or to train them on 2, with .*\('query', 'up'\)"
    ):
        first_state(config, tmp_path / "next")


def test_what_is_neither_folder_nor_id_is_an_error(tmp_path):
    config = dataclasses.replace(config_of(tmp_path, "qwen"), pretrained=str(tmp_path / "nothing"))
    with pytest.raises(HubError, match="is neither a folder nor an id on the hub"):
        train(config, tmp_path / "run", make_evaluator=make_evaluator)
    assert not (tmp_path / "run").exists()
