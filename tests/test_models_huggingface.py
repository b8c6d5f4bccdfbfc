"""Models of other makers are the same models here: hidden states, rewards, and what stands in the way.

tests/golden/make_huggingface.py made the models and asked transformers what they compute.
"""

import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from random_batches import Tree, lay, to_batch
from safetensors.numpy import load_file, save_file

from rmjax.config import ExperimentConfig, ParallelConfig, Strategy
from rmjax.models.attention import dense_attention
from rmjax.models.attention_choice import ANYWHERE
from rmjax.models.huggingface import HuggingFaceModel
from rmjax.models.huggingface_config import HuggingFaceError
from rmjax.models.layers import make_norm
from rmjax.models.reward import RewardModel, rewards
from rmjax.models.shape import model_shape
from rmjax.models.transformer import Backbone
from rmjax.training.parallel import make_parallel

GOLDEN = Path(__file__).parent / "golden" / "huggingface"
REWARD_MODELS = sorted(path.parent.name for path in GOLDEN.glob("*/expected.npz"))
LANGUAGE_MODELS = sorted(path.name for path in GOLDEN.iterdir() if path.name.endswith("_lm"))
KEY = jax.random.PRNGKey(0)
SHARED = 9  # tokens that the first two conversations begin with
TOLERANCE = 2e-5


def loaded(folder, *, devices=1, attention=dense_attention, **parallel):
    theirs = HuggingFaceModel(folder)
    config = ExperimentConfig(model=theirs.config, parallel=ParallelConfig(**({"strategy": Strategy.JIT} | parallel)))
    model = RewardModel(theirs.config, theirs.vocabulary_size, attention)
    template = make_parallel(config, tuple(jax.devices()[:devices])).abstract_params(model)
    return model, theirs.load(template, KEY)


def expected_of(folder):
    with np.load(folder / "expected.npz") as found:
        parts = np.cumsum(found["lengths"])[:-1]
        rows = [part.tolist() for part in np.split(found["tokens"], parts)]
        return rows, np.split(found["hidden"], parts), found["rewards"]


@pytest.mark.parametrize("name", REWARD_MODELS)
def test_hidden_states_are_those_of_transformers(name):
    compare_hidden_states(GOLDEN / name)


def compare_hidden_states(folder):
    model, params = loaded(folder)
    rows, hidden, _ = expected_of(folder)
    batch = to_batch(np.random.default_rng(0), [[Tree(row, [])] for row in rows], length=24, responses=1, comparisons=1)
    backbone = Backbone(model_shape(model.config), model.vocabulary_size, dense_attention)
    norm = make_norm(model_shape(model.config), "final_norm", np.dtype(np.float32))

    @jax.jit
    def compute(params):
        places = batch.tokens, batch.positions, batch.visible_until
        return norm.apply({"params": params["final_norm"]}, backbone.apply({"params": params["backbone"]}, *places))

    got = np.asarray(compute(params))
    for row, theirs in zip(got, hidden, strict=True):
        assert theirs.std() > 0.3
        np.testing.assert_allclose(row[: len(theirs)], theirs, atol=TOLERANCE)


@pytest.mark.parametrize("name", REWARD_MODELS)
@pytest.mark.parametrize("kind", ANYWHERE, ids=lambda kind: kind.value)
def test_rewards_are_those_of_transformers_alone_and_beside_others(name, kind):
    compare_rewards(GOLDEN / name, ANYWHERE[kind])


def compare_rewards(folder, attention):
    model, params = loaded(folder, attention=attention)
    rows, _, theirs = expected_of(folder)
    first, second, *others = rows
    assert first[:SHARED] == second[:SHARED]
    forked = Tree(first[:SHARED], [Tree(first[SHARED:], []), Tree(second[SHARED:], [])])
    trees = [forked, *(Tree(row, []) for row in others)]
    assert lay(trees).paths == rows
    batch = to_batch(np.random.default_rng(0), [trees], length=128, responses=6, comparisons=1)
    got = np.asarray(jax.jit(rewards, static_argnums=0)(model, params, batch))
    np.testing.assert_allclose(got[batch.response_id >= 0][:, 0], theirs, atol=TOLERANCE)


@pytest.mark.parametrize("name", REWARD_MODELS)
def test_parameters_read_for_a_mesh_are_the_same_bits(name):
    _, whole = loaded(GOLDEN / name)
    _, split = loaded(GOLDEN / name, devices=4, strategy=Strategy.MESH, fsdp=2, tensor=2)
    jax.tree.map(np.testing.assert_array_equal, whole, split)
    shares = {leaf.addressable_shards[0].data.size / leaf.size for leaf in jax.tree.leaves(split)}
    assert min(shares) == 1 / 4


@pytest.mark.parametrize(
    "parallel",
    [{"strategy": Strategy.JIT}, {"devices": 4, "strategy": Strategy.MESH, "fsdp": 2, "tensor": 2}],
    ids=["jit", "mesh"],
)
def test_a_step_that_parameters_are_donated_to_takes_their_memory_over(parallel):
    """Memory that numpy has filled it couldn't: the parameters would be there twice until the first step ends."""
    _, params = loaded(GOLDEN / "gemma2", **parallel)
    _, again = loaded(GOLDEN / "gemma2")
    before = [addresses(leaf) for leaf in jax.tree.leaves(params)]
    twice = jax.jit(lambda params: jax.tree.map(lambda leaf: 2 * leaf, params), donate_argnums=0)(params)
    assert [addresses(leaf) for leaf in jax.tree.leaves(twice)] == before
    jax.tree.map(lambda one, other: np.testing.assert_array_equal(one, 2 * np.asarray(other)), twice, again)


def addresses(leaf):
    return [shard.data.unsafe_buffer_pointer() for shard in leaf.addressable_shards]


def test_an_embedding_that_is_read_in_parts_is_the_same_bits(monkeypatch):
    _, whole = loaded(GOLDEN / "gemma2")
    monkeypatch.setattr("rmjax.models.huggingface._PART_BYTES", 1000)  # so that the last part is a smaller one
    _, split = loaded(GOLDEN / "gemma2", devices=4, strategy=Strategy.MESH, fsdp=2, tensor=2)
    rows, width = whole["backbone"]["embedding"]["embedding"].shape
    assert rows % (1000 // (4 * width)) != 0
    jax.tree.map(np.testing.assert_array_equal, whole, split)


@pytest.mark.parametrize("name", LANGUAGE_MODELS)
def test_a_language_model_gets_a_fresh_head(name):
    theirs = HuggingFaceModel(GOLDEN / name)
    assert not theirs.has_reward_head
    _, params = loaded(GOLDEN / name)
    head = np.asarray(params["reward_head"]["kernel"])
    assert head.shape == (theirs.config.width, 1)
    assert 0.01 < head.std() < 0.05  # 0.1 / sqrt(width)
    embedding = next(value for key, value in load_file(GOLDEN / name / "model.safetensors").items()
                     if key.endswith(("embed_tokens.weight", "wte.weight", "embed_in.weight")))  # fmt: skip
    np.testing.assert_array_equal(params["backbone"]["embedding"]["embedding"], embedding)


def copy_of(name, tmp_path, change=lambda tensors: tensors, **config):
    folder = tmp_path / name
    shutil.copytree(GOLDEN / name, folder)
    written = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(written | config))
    save_file(change(load_file(folder / "model.safetensors")), folder / "model.safetensors")
    return folder


def test_a_base_model_without_the_prefix_is_read_too(tmp_path):
    def bare(tensors):
        return {name.removeprefix("transformer."): value for name, value in tensors.items()}

    _, params = loaded(copy_of("gpt2", tmp_path, bare))
    jax.tree.map(np.testing.assert_array_equal, params, loaded(GOLDEN / "gpt2")[1])


def test_all_tensors_that_are_missing_or_left_over_are_listed(tmp_path):
    def changed(tensors):
        del tensors["model.layers.1.mlp.up_proj.weight"], tensors["model.norm.weight"]
        return tensors | {"model.layers.0.extra.weight": np.zeros(3, np.float32)}

    folder = copy_of("llama2", tmp_path, changed)
    expected = (
        r"there is no model\.layers\.1\.mlp\.up_proj\.weight, model\.norm\.weight; nothing takes "
        r"model\.layers\.0\.extra\.weight"
    )
    with pytest.raises(HuggingFaceError, match=expected):
        loaded(folder)


def test_a_tensor_of_another_shape_is_said(tmp_path):
    with pytest.raises(HuggingFaceError, match=r"k_proj\.weight has shape \(8, 16\); .* it would be \(16, 16\)"):
        loaded(copy_of("llama2", tmp_path, head_dim=8))


def test_heads_must_be_as_many_as_the_file_has(tmp_path):
    theirs = HuggingFaceModel(GOLDEN / "qwen3")
    theirs.config.reward_heads = ("a", "b")
    config = ExperimentConfig(model=theirs.config, parallel=ParallelConfig(strategy=Strategy.JIT))
    template = make_parallel(config).abstract_params(RewardModel(theirs.config, theirs.vocabulary_size))
    with pytest.raises(HuggingFaceError, match=r"score\.weight has 1 rows, and the model 2 reward heads"):
        theirs.load(template, KEY)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("llama2", {"model_type": "falcon"}, r"model_type is 'falcon'; the architectures there are: llama, mistral"),
        ("llama2", {"hidden_act": "relu"}, "activation is 'relu'; supported are silu"),
        ("llama2", {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1.0}}, "rope_type is 'yarn'; supported"),
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx is True; supported"),
        ("gemma2", {"layer_types": ["chunked_attention"] * 3}, "layer_types is .*one of two kinds"),
        ("gemma2", {"layer_types": ["full_attention"]}, "layer_types is .*for each layer"),
    ],
)
def test_what_is_not_supported_is_said(tmp_path, name, change, message):
    with pytest.raises(HuggingFaceError, match=message):
        HuggingFaceModel(copy_of(name, tmp_path, **change))


def test_a_field_that_is_missing_and_files_that_are_not_there_are_said(tmp_path):
    folder = copy_of("llama2", tmp_path)
    written = json.loads((folder / "config.json").read_text())
    del written["intermediate_size"]
    (folder / "config.json").write_text(json.dumps(written))
    with pytest.raises(HuggingFaceError, match="a llama model has no field 'intermediate_size'"):
        HuggingFaceModel(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(HuggingFaceError, match=r"config\.json is not JSON"):
        HuggingFaceModel(folder)
    with pytest.raises(HuggingFaceError, match=r"nowhere/config\.json doesn't exist"):
        HuggingFaceModel(tmp_path / "nowhere")
    shutil.copy(GOLDEN / "llama2" / "config.json", folder / "config.json")
    (folder / "model.safetensors").unlink()
    with pytest.raises(HuggingFaceError, match=r"neither model\.safetensors nor"):
        HuggingFaceModel(folder)
