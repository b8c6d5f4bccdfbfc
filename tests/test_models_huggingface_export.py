"""Written and read again a model is the same bits, in every architecture."""

import dataclasses
import gc
import json

import jax
import numpy as np
import pytest
from model_variants import VARIANTS
from random_batches import lively, random_batch, small_model_config
from safetensors.numpy import load_file
from test_models_huggingface import GOLDEN, LANGUAGE_MODELS, REWARD_MODELS, loaded
from test_models_reward import make

from rmjax.model_config import Activation, ModelConfig, Norm
from rmjax.models.huggingface import HuggingFaceModel
from rmjax.models.huggingface_config import HuggingFaceError
from rmjax.models.huggingface_export import SHARD_BYTES, theirs_of, write_weights
from rmjax.models.huggingface_export import tensors_of as tensors_in
from rmjax.models.huggingface_names import LLAMA
from rmjax.models.lora import Adapters, merged
from rmjax.models.reward import RewardModel, init, rewards
from rmjax.models.shape import model_shape
from rmjax.tuning_config import PROJECTIONS


def written(folder, config, params, vocabulary, *, head=0, dtype="float32", shard_bytes=SHARD_BYTES):
    folder.mkdir()
    theirs = theirs_of(config, vocabulary, longest=64)
    (folder / "config.json").write_text(json.dumps(theirs))
    write_weights(folder, theirs["model_type"], config, params, head=head, dtype=dtype, shard_bytes=shard_bytes)
    return theirs


def tensors_of(folder):
    return {name: value for path in folder.glob("*.safetensors") for name, value in load_file(path).items()}


@pytest.mark.parametrize("name", REWARD_MODELS)
def test_a_reward_model_of_transformers_comes_out_as_it_went_in(name, tmp_path):
    theirs = HuggingFaceModel(GOLDEN / name)
    _, params = loaded(GOLDEN / name)
    described = written(tmp_path / "out", theirs.config, params, theirs.vocabulary_size)
    assert described["model_type"] == theirs.theirs["model_type"]
    assert described["architectures"] == theirs.theirs["architectures"]
    before, after = tensors_of(GOLDEN / name), tensors_of(tmp_path / "out")
    assert before.keys() == after.keys()
    for tensor in before:
        np.testing.assert_array_equal(before[tensor], after[tensor], strict=True)


@pytest.mark.parametrize("name", LANGUAGE_MODELS)
def test_a_language_model_keeps_its_bits_but_for_the_head(name, tmp_path):
    theirs = HuggingFaceModel(GOLDEN / name)
    _, params = loaded(GOLDEN / name)
    written(tmp_path / "out", theirs.config, params, theirs.vocabulary_size)
    before, after = tensors_of(GOLDEN / name), tensors_of(tmp_path / "out")
    assert after.keys() - before.keys() == {"score.weight"}
    assert before.keys() - after.keys() <= {"lm_head.weight", "embed_out.weight"}
    for tensor in before.keys() & after.keys():
        np.testing.assert_array_equal(before[tensor], after[tensor], strict=True)


@pytest.mark.parametrize("name", ["plain", *VARIANTS])
def test_every_variant_has_an_architecture_and_comes_back(name, tmp_path):
    _, params = make(1, **VARIANTS.get(name, {}))
    written(tmp_path / "out", small_model_config(**VARIANTS.get(name, {})), params, 32)
    _, again = loaded(tmp_path / "out")
    expected = small_model_config(**VARIANTS.get(name, {}))
    expected.max_positions = 64 if expected.position_embeddings is None else None
    assert HuggingFaceModel(tmp_path / "out").config == expected
    jax.tree.map(np.testing.assert_array_equal, params, again)


def test_one_head_of_several_is_written(tmp_path):
    _, params = make(0, reward_heads=("a", "b", "c"))
    written(tmp_path / "out", small_model_config(reward_heads=("a", "b", "c")), params, 32, head=1)
    _, again = loaded(tmp_path / "out")
    np.testing.assert_array_equal(again["reward_head"]["kernel"][:, 0], params["reward_head"]["kernel"][:, 1])


def test_of_an_ensemble_the_mean_of_a_heads_members_is_written(tmp_path):
    changes = {"reward_heads": ("a", "b"), "ensemble": 3}
    model, params = make(0, **changes)
    written(tmp_path / "out", small_model_config(**changes), params, 32, head=1)
    single, again = loaded(tmp_path / "out")
    kernel = np.asarray(params["reward_head"]["kernel"])
    np.testing.assert_allclose(again["reward_head"]["kernel"][:, 0], kernel[:, 3:].mean(axis=1), atol=1e-7)
    batch = random_batch(0)
    used = batch.response_id >= 0
    found, expected = rewards(single, again, batch)[used][:, 0], rewards(model, params, batch)[used][:, 1]
    assert np.asarray(expected).std() > 0.1
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_shards_hold_no_more_than_they_may_and_all_together(tmp_path, dtype):
    theirs = HuggingFaceModel(GOLDEN / "gpt_neox")
    _, params = loaded(GOLDEN / "gpt_neox")
    written(tmp_path / "out", theirs.config, params, theirs.vocabulary_size, dtype=dtype, shard_bytes=4000)
    files = sorted((tmp_path / "out").glob("*.safetensors"))
    assert len(files) > 3
    assert files[0].name == f"model-00001-of-{len(files):05d}.safetensors"
    sizes = [sum(value.nbytes for value in load_file(file).values()) for file in files]
    assert max(sizes) <= 4000
    index = json.loads((tmp_path / "out" / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == sum(sizes)
    _, again = loaded(tmp_path / "out")
    jax.tree.map(
        lambda one, other: np.testing.assert_array_equal(np.asarray(one).astype(jax.numpy.dtype(dtype)), other),
        params,
        jax.tree.map(lambda leaf: np.asarray(leaf).astype(jax.numpy.dtype(dtype)), again),
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"norm": Norm.LAYER},  # with a gate
        {"post_norms": True},  # without Gemma's other traits
        {"attention_softcap": 3.0},
        {"activation": Activation.GELU, "query_key_norm": True, "scaled_embedding": True},
    ],
)
def test_what_transformers_does_not_compute_is_an_error(changes):
    with pytest.raises(HuggingFaceError, match=r"no architecture of llama, .* computes what this model computes"):
        theirs_of(ModelConfig(**changes), 32, longest=64)


def test_adapters_are_merged_tensor_by_tensor():
    """Never more than a few tensors beside the parameters, and the merged model's."""
    config = dataclasses.replace(small_model_config(), layers=8)
    adapters = Adapters(rank=2, alpha=3.0, targets=PROJECTIONS)
    model = RewardModel(model_shape(config, adapters), 32)
    params = lively(init(model, jax.random.PRNGKey(1)))
    expected = dict(tensors_in(LLAMA, config, merged(params, adapters), head=0, dtype=np.dtype(np.float32)))
    gc.collect()
    before, most = live_bytes(), 0
    for name, tensor in tensors_in(LLAMA, config, params, head=0, dtype=np.dtype(np.float32), adapters=adapters):
        np.testing.assert_allclose(tensor, expected.pop(name), atol=1e-6)
        most = max(most, live_bytes() - before)
    assert not expected
    kernel = params["backbone"]["layers"]["mlp_branch"]["up"]["kernel"]
    assert most <= 2 * kernel.nbytes / config.layers


def live_bytes():
    return sum(array.nbytes for array in jax.live_arrays())
