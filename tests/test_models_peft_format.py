"""PEFT's format: written and read again an adapter is the same bits, and what ours don't compute is said."""

import json

import jax
import numpy as np
import pytest
from random_batches import Tree, lively, to_batch
from safetensors.numpy import load_file, save_file
from test_models_huggingface import GOLDEN, KEY
from test_models_reward import rewards

from rmjax.config import ExperimentConfig, ParallelConfig, Strategy
from rmjax.models.huggingface import HuggingFaceModel
from rmjax.models.huggingface_config import HuggingFaceError
from rmjax.models.lora import Adapters, is_adapter, leaves_of
from rmjax.models.peft_format import PeftAdapter, target_modules, write_adapter
from rmjax.models.reward import RewardModel
from rmjax.models.shape import model_shape
from rmjax.training.parallel import make_parallel
from rmjax.tuning_config import PROJECTIONS

SOME = ("query", "down")
UNFUSED = ("output", "up", "down")
CASES = [("llama3_lm", PROJECTIONS), ("qwen2", SOME), ("gemma2", PROJECTIONS), ("gpt2", UNFUSED), ("gpt_neox", UNFUSED)]


def adapted(name, adapters, **parallel):
    """(model, abstract parameters, parameters of the base with fresh adapters)."""
    theirs = HuggingFaceModel(GOLDEN / name)
    config = ExperimentConfig(model=theirs.config, parallel=ParallelConfig(**({"strategy": Strategy.JIT} | parallel)))
    model = RewardModel(model_shape(theirs.config, adapters), theirs.vocabulary_size)
    template = make_parallel(config).abstract_params(model)
    return model, template, theirs.load(template, KEY)


def tuned(name, adapters):
    """As it may be after training: adapters that add something, and another head."""
    model, template, params = adapted(name, adapters)
    params = lively(params)
    params["reward_head"]["kernel"] = params["reward_head"]["kernel"] * 0.5 + 0.01
    return model, template, params


def written(folder, name, targets, *, rank=3, alpha=4.0):
    adapters = Adapters(rank=rank, alpha=alpha, targets=targets)
    model, _, params = tuned(name, adapters)
    folder.mkdir(exist_ok=True)
    theirs = HuggingFaceModel(GOLDEN / name)
    kind = theirs.theirs["model_type"]
    write_adapter(folder, kind, theirs.config, params, adapters, head=0, base=str(GOLDEN / name))
    return kind, model, params


def rewards_of(model, params, rows):
    batch = to_batch(np.random.default_rng(0), [[Tree(row, [])] for row in rows], length=24, responses=1, comparisons=1)
    return np.asarray(rewards(model, params, batch))[:, 0, 0]


def test_of_an_ensemble_the_mean_of_a_heads_members_is_written(tmp_path):
    adapters = Adapters(rank=3, alpha=4.0, targets=("query",))
    _, _, params = tuned("llama3", adapters)
    config = HuggingFaceModel(GOLDEN / "llama3").config
    config.ensemble = 4
    kernel = np.random.default_rng(0).normal(size=(config.width, 8)).astype(np.float32)
    params["reward_head"]["kernel"] = kernel
    write_adapter(tmp_path, "llama", config, params, adapters, head=1, base=str(GOLDEN / "llama3"))
    (head,) = (value for name, value in load_file(tmp_path / "adapter_model.safetensors").items() if "score" in name)
    np.testing.assert_allclose(head, kernel[:, 4:].mean(axis=1)[None], atol=1e-7)


@pytest.mark.parametrize(("name", "targets"), CASES)
@pytest.mark.parametrize("parallel", [{}, {"strategy": Strategy.MESH, "fsdp": 2, "tensor": 2}], ids=["one", "mesh"])
def test_written_and_read_again_it_is_the_same_bits(name, targets, parallel, tmp_path):
    kind, _, params = written(tmp_path, name, targets)
    adapter = PeftAdapter(tmp_path, kind)
    assert adapter.adapters == Adapters(rank=3, alpha=4.0, targets=tuple(t for t in PROJECTIONS if t in targets))
    assert adapter.base == str(GOLDEN / name)
    _, template, fresh = adapted(name, adapter.adapters, **parallel)
    again = adapter.onto(fresh, template)
    for names, leaf in leaves_of(again).items():
        if is_adapter(names) or names[0] == "reward_head":
            np.testing.assert_array_equal(leaf, leaves_of(params)[names])
        else:
            assert leaf is leaves_of(fresh)[names]
    for leaf, place in zip(jax.tree.leaves(again), jax.tree.leaves(template), strict=True):
        assert place.sharding is None or leaf.sharding.is_equivalent_to(place.sharding, leaf.ndim)


def test_modules_and_tensors_have_the_names_of_the_base(tmp_path):
    written(tmp_path, "qwen2", SOME)
    names = load_file(tmp_path / "adapter_model.safetensors").keys()
    prefix = "base_model.model.model.layers"
    assert {name.replace("layers.1", "layers.0") for name in names if "layers" in name} <= {
        f"{prefix}.{layer}.{module}.lora_{part}.weight"
        for layer in range(3) for module in ("self_attn.q_proj", "mlp.down_proj") for part in "AB"
    }  # fmt: skip
    assert "base_model.model.score.weight" in names
    about = json.loads((tmp_path / "adapter_config.json").read_text())
    assert about["target_modules"] == ["mlp.down_proj", "self_attn.q_proj"]
    assert (about["task_type"], about["r"], about["lora_alpha"], about["fan_in_fan_out"]) == ("SEQ_CLS", 3, 4, False)
    written(tmp_path, "gpt2", ("output",), alpha=2.5)
    about = json.loads((tmp_path / "adapter_config.json").read_text())
    assert (about["target_modules"], about["lora_alpha"], about["fan_in_fan_out"]) == (["attn.c_proj"], 2.5, True)


@pytest.mark.parametrize("name", ["gpt2", "gpt_neox"])
def test_projections_that_are_one_module_are_an_error(name, tmp_path):
    with pytest.raises(HuggingFaceError, match="query, value are one module in this architecture, so PEFT's format"):
        written(tmp_path, name, ("query", "value", "up"))


OPTIONS = [
    ({"use_dora": True, "use_rslora": True}, r"not supported: use_dora = True, use_rslora = True"),
    ({"bias": "lora_only"}, "bias = 'lora_only'"),
    ({"alpha_pattern": {"q_proj": 3}, "rank_pattern": {"v_proj": 1}}, r"alpha_pattern = .*rank_pattern = "),
    ({"layers_to_transform": [0]}, r"layers_to_transform = \[0\]"),
    ({"init_lora_weights": "pissa"}, "init_lora_weights = 'pissa'"),
    ({"modules_to_save": ["score", "embed_tokens"]}, "modules_to_save = "),
    ({"peft_type": "IA3"}, "peft_type is 'IA3'; supported is 'LORA'"),
]


@pytest.mark.parametrize(("changes", "message"), OPTIONS)
def test_options_that_are_not_supported_are_listed(changes, message, tmp_path):
    kind, _, _ = written(tmp_path, "qwen2", SOME)
    path = tmp_path / "adapter_config.json"
    about = json.loads(path.read_text())
    plain = {
        "use_dora": False,
        "rank_pattern": {},
        "layers_to_transform": None,
        "modules_to_save": ["classifier", "score"],
    }
    path.write_text(json.dumps(about | plain))
    PeftAdapter(tmp_path, kind)
    path.write_text(json.dumps(about | plain | changes))
    with pytest.raises(HuggingFaceError, match=message):
        PeftAdapter(tmp_path, kind)


def test_files_and_tensors_that_are_not_there_or_too_many_are_said(tmp_path):
    with pytest.raises(HuggingFaceError, match=r"adapter_config\.json doesn't exist"):
        PeftAdapter(tmp_path, "qwen2")
    kind, _, _ = written(tmp_path, "qwen2", SOME)
    path = tmp_path / "adapter_model.safetensors"
    tensors, missing = load_file(path), "base_model.model.model.layers.1.mlp.down_proj.lora_B.weight"

    def onto():
        adapter = PeftAdapter(tmp_path, kind)
        _, template, fresh = adapted("qwen2", adapter.adapters)
        return adapter.onto(fresh, template)

    save_file({name: value for name, value in tensors.items() if name != missing}, path)
    with pytest.raises(HuggingFaceError, match=r"there is no .*layers\.1\.mlp\.down_proj\.lora_B\.weight; every layer"):
        onto()
    save_file(tensors | {missing: np.zeros((5, 3), np.float32)}, path)
    with pytest.raises(
        HuggingFaceError, match=r"lora_B\.weight has shape \(5, 3\); for this base it would be \(16, 3\)"
    ):
        onto()
    save_file(tensors | {"base_model.model.model.norm.weight": np.zeros(3, np.float32)}, path)
    with pytest.raises(HuggingFaceError, match=r"nothing takes base_model\.model\.model\.norm\.weight"):
        onto()
    path.unlink()
    with pytest.raises(HuggingFaceError, match=r"adapter_model\.safetensors doesn't exist"):
        onto()


def test_of_every_family_all_that_is_not_fused_has_a_module():
    from rmjax.models.huggingface_names import FAMILIES

    for kind, family in FAMILIES.items():
        there = UNFUSED if kind in ("gpt2", "gpt_neox") else PROJECTIONS
        assert len(set(target_modules(family, there).values())) == len(there)
