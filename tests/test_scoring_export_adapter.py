"""A run with adapters leaves merged, or as an adapter of PEFT's; what neither holds is an error."""

import dataclasses
import json
import os
import shutil

import jax
import numpy as np
import pytest
from absl import logging
from pretrained_folders import write_pretrained
from random_batches import lively
from test_models_huggingface import loaded
from test_scoring_export import some_preferences
from tiny_run import tiny_config, write_rows
from untrained import untrained_config, write_run

from rmjax.batches.pretrained import load_pretrained_text
from rmjax.batches.tokenize import tokenize
from rmjax.config import ExperimentConfig, ParallelConfig, Strategy, TuningConfig
from rmjax.evaluation.rewards import RewardComputer
from rmjax.evaluation.validation import make_evaluator
from rmjax.model_config import ComputeDtype, ModelConfig
from rmjax.models.huggingface import HuggingFaceModel
from rmjax.models.peft_format import PeftAdapter
from rmjax.models.reward import RewardModel
from rmjax.models.shape import model_shape
from rmjax.scoring.export import ExportError, export
from rmjax.scoring.export_adapter import export_adapter
from rmjax.training.loop import train
from rmjax.training.parallel import make_parallel
from rmjax.training.trained import load_trained

LORA = TuningConfig(lora_rank=2, lora_alpha=3.0, frozen_dtype=ComputeDtype.BFLOAT16)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A workdir whose adapters add something."""
    home, config = tmp_path_factory.mktemp("runs"), untrained_config(tuning=LORA)
    fresh = load_trained(write_run(home / "fresh", config)).params
    return write_run(home / "run", config, checkpoints={5: (lively(fresh), 0.6)})


def test_a_merged_export_gives_the_same_rewards(run, tmp_path):
    trained, folder = load_trained(run), export(run, tmp_path / "out")
    tokenized = tokenize(some_preferences(0, 12), trained.contract)
    before = RewardComputer(trained.model, trained.config)(trained.params, tokenized)[:, 0]
    model, params = loaded(folder)
    config = dataclasses.replace(trained.config, model=HuggingFaceModel(folder).config, tuning=TuningConfig())
    after = RewardComputer(model, config)(params, tokenized)[:, 0]
    assert before.std() > 0.01
    np.testing.assert_allclose(after, before, atol=1e-6)


def test_an_adapter_is_put_on_its_base_again(run, tmp_path):
    trained, folder = load_trained(run), export_adapter(run, tmp_path / "adapter", base="somebody/base")
    adapter = PeftAdapter(folder, "llama")
    assert (adapter.base, adapter.adapters.rank, adapter.adapters.alpha) == ("somebody/base", 2, 3.0)
    config = ExperimentConfig(model=trained.config.model, parallel=ParallelConfig(strategy=Strategy.JIT), tuning=LORA)
    model = RewardModel(model_shape(config.model, adapter.adapters), trained.model.vocabulary_size)
    again = adapter.onto(trained.params, make_parallel(config).abstract_params(model))
    jax.tree.map(np.testing.assert_array_equal, again, trained.params)


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A folder that a run began with, and the run, whose adapters add something."""
    home = tmp_path_factory.mktemp("begun")
    write_pretrained(home / "base", "qwen")
    write_rows(home / "rows.jsonl", rows=60)
    config = tiny_config(str(home / "rows.jsonl"), steps=2, evaluate_every=2)
    config = dataclasses.replace(config, model=ModelConfig(dropout=0.0), pretrained=str(home / "base"), tuning=LORA)
    train(config, home / "run", make_evaluator=make_evaluator)
    return home


def warned(caplog, monkeypatch, call):
    monkeypatch.setattr(logging.get_absl_logger(), "propagate", True)
    caplog.clear()
    call()
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


def test_an_adapter_is_for_the_base_that_its_run_began_with(begun, tmp_path, caplog, monkeypatch):
    def onto(base, name):
        return warned(caplog, monkeypatch, lambda: export_adapter(begun / "run", tmp_path / name, base=base))

    assert onto(str(begun / "base"), "same") == []
    shutil.copytree(begun / "base", tmp_path / "copied")
    assert onto(str(tmp_path / "copied"), "of a copy") == []
    (said,) = onto("Qwen/Qwen3-0.6B", "named")
    assert f"--adapter_on is Qwen/Qwen3-0.6B, and the run began with {begun / 'base'}: nothing here says" in said
    write_pretrained(tmp_path / "other", "qwen", seed=1)
    with pytest.raises(ExportError, match=r"other, which holds other weights than .*base\); on it the adapter"):
        onto(str(tmp_path / "other"), "wrong")
    write_pretrained(tmp_path / "wider", "qwen", mlp_width=64)
    with pytest.raises(ExportError, match=r"wider, which has another architecture \(mlp_width\) than"):
        onto(str(tmp_path / "wider"), "wrong")
    assert not (tmp_path / "wrong").exists()


def test_an_adapter_has_its_tokenizer_card_and_contract(begun, tmp_path):
    folder = export_adapter(begun / "run", tmp_path / "adapter", base=str(begun / "base"))
    contract = load_trained(begun / "run").contract
    found = load_pretrained_text(folder)
    assert found.tokenizer.get_vocab() == contract.tokenizer.get_vocab()
    assert found.special == contract.special
    stored = json.loads((folder / "scoring_contract.json").read_text())
    assert (stored["dimension"], stored["record"], stored["compute_dtype"]) == ("brevity", None, "float32")
    card = (folder / "README.md").read_text()
    for part in (
        'library_name: "peft"',
        f"from_pretrained('{begun / 'base'}', num_labels=1)",
        "PeftModel",
        "brevity/human",
    ):
        assert part in card, part
    for row in (begun / "rows.jsonl").read_text().splitlines():  # no conversation of the validation data
        assert json.loads(row)["prompt"] not in card


def test_all_files_may_be_read_by_those_who_may_read_new_files_here(run, tmp_path):
    before = os.umask(0o027)
    try:
        written = [
            *export(run, tmp_path / "out").iterdir(),
            *export_adapter(run, tmp_path / "on", base="x/y").iterdir(),
        ]
    finally:
        os.umask(before)
    assert {path.suffix for path in written} >= {".json", ".safetensors"}
    assert {path.name: path.stat().st_mode & 0o777 for path in written} == {path.name: 0o640 for path in written}


def test_what_an_adapter_does_not_hold_is_an_error_that_leaves_nothing(run, tmp_path):
    (tmp_path / "there").mkdir()
    with pytest.raises(ExportError, match="there exists already"):
        export_adapter(run, tmp_path / "there", base="x")
    plain = write_run(tmp_path / "plain", untrained_config())
    with pytest.raises(ExportError, match=r"has no adapters: its config\.tuning\.lora_rank is 0"):
        export_adapter(plain, tmp_path / "out", base="x")
    tuning = TuningConfig(lora_rank=1, trained=("reward_head", "final_norm"))
    more = write_run(tmp_path / "more", untrained_config(tuning=tuning, heads=("a", "b")))
    with pytest.raises(ExportError, match="the run trained final_norm/scale too, which an adapter doesn't hold"):
        export_adapter(more, tmp_path / "out", base="x")
    several = write_run(tmp_path / "several", untrained_config(tuning=TuningConfig(lora_rank=1), heads=("a", "b")))
    with pytest.raises(ExportError, match="has several reward heads; --head must be one of a, b"):
        export_adapter(several, tmp_path / "out", base="x")
    assert not (tmp_path / "out").exists()


def test_a_flag_that_an_adapter_is_written_without_is_an_error(server, tmp_path):
    options = (f"--workdir={tmp_path}", f"--output={tmp_path}/out", "--adapter_on=somebody/base", "--dtype=bfloat16")
    done = server.run("-m", "rmjax.export", *options)
    assert done.stderr == "error: --dtype is given with --adapter_on; an adapter is written without it\n"
    assert done.returncode == 2
