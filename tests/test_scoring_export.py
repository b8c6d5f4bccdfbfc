"""An exported run is the same reward model, for rmjax here and for transformers in tests/test_peers_export.py."""

import dataclasses
import gc
import json

import jax
import numpy as np
import pytest
from test_models_huggingface import loaded
from tiny_run import tiny_config, write_rows
from untrained import random_text, untrained_config, write_run

from rmjax.batches.template import RoleTemplate
from rmjax.batches.tokenize import tokenize
from rmjax.batches.tokenizer import load_tokenizer
from rmjax.config import ParallelConfig, Strategy
from rmjax.evaluation.golden import check_golden
from rmjax.evaluation.rewards import RewardComputer
from rmjax.evaluation.validation import make_evaluator
from rmjax.model_config import Norm
from rmjax.models.huggingface import HuggingFaceModel
from rmjax.models.huggingface_config import HuggingFaceError
from rmjax.preferences.record import Comparison, Preference, Source
from rmjax.scoring.export import ExportError, chat_template, export
from rmjax.training.loop import train
from rmjax.training.trained import load_trained


def some_preferences(seed, count):
    rng = np.random.default_rng(seed)
    comparison = Comparison(left=0, right=1, probability=1.0)
    return [
        Preference(
            prompt=random_text(rng, 9),
            responses=(" " + random_text(rng, 9), " " + random_text(rng, 9) + "."),
            comparisons=(comparison,),
            dimension="helpfulness",
            source=Source.SIMULATED,
        )
        for _ in range(count)
    ]


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize(("heads", "head", "number"), [((), None, 0), (("a",), None, 0), (("a", "b"), "b", 1)])
def test_an_exported_model_gives_the_same_rewards(tmp_path, heads, head, number, members):
    config = untrained_config(heads=heads)
    config.model.ensemble = members
    workdir = write_run(tmp_path / "run", config)
    folder = export(workdir, tmp_path / "out", head=head)
    trained = load_trained(workdir)
    tokenized = tokenize(some_preferences(0, 12), trained.contract)
    before = RewardComputer(trained.model, trained.config)(trained.params, tokenized)[:, number]
    theirs = HuggingFaceModel(folder)
    model, params = loaded(folder)
    config = dataclasses.replace(trained.config, model=theirs.config)
    after = RewardComputer(model, config)(params, tokenized)[:, 0]
    assert before.std() > 0.01
    np.testing.assert_allclose(after, before, atol=1e-6)
    written = json.loads((folder / "config.json").read_text())
    assert (written["num_labels"], written["pad_token_id"], written["eos_token_id"]) == (1, 0, 1)
    assert written["id2label"] == {"0": (*heads, "helpfulness")[number]}
    assert load_tokenizer(folder / "tokenizer.json").get_vocab() == trained.contract.tokenizer.get_vocab()


def test_what_cannot_be_exported_leaves_nothing_behind(tmp_path):
    workdir = write_run(tmp_path / "run", untrained_config(heads=("a", "b")))
    with pytest.raises(ExportError, match="has several reward heads; --head must be one of a, b"):
        export(workdir, tmp_path / "out")
    with pytest.raises(ExportError, match="has no reward head 'c'; --head must be one of a, b"):
        export(workdir, tmp_path / "out", head="c")
    (tmp_path / "there").mkdir()
    with pytest.raises(ExportError, match="there exists already; right would be the name of a new folder"):
        export(workdir, tmp_path / "there", head="a")
    with pytest.raises(ExportError, match="gs://bucket/out is no folder of this machine"):
        export(workdir, "gs://bucket/out", head="a")
    config = untrained_config()
    config.model.norm = Norm.LAYER
    other = write_run(tmp_path / "other", config)
    with pytest.raises(HuggingFaceError, match="no architecture"):
        export(other, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "run", "there"]


def test_a_failure_while_writing_leaves_nothing_behind(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError("no space left on device")

    monkeypatch.setattr("rmjax.models.huggingface_export.save_file", full)
    workdir = write_run(tmp_path / "run", untrained_config())
    with pytest.raises(OSError, match="no space left"):
        export(workdir, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_what_was_written_is_read_back_as_the_run_was_laid_out_and_alone(tmp_path, monkeypatch, dtype):
    write_rows(tmp_path / "rows.jsonl", rows=60)
    config = tiny_config(str(tmp_path / "rows.jsonl"), steps=1, evaluate_every=1)
    config.parallel = ParallelConfig(strategy=Strategy.MESH, fsdp=2, tensor=2)
    train(config, tmp_path / "run", make_evaluator=make_evaluator)
    seen = []

    def checked(exported, *arguments, **options):
        leaves = jax.tree.leaves(exported.params)
        gc.collect()
        seen.append((exported.params, held(jax.live_arrays()) - before - held(leaves)))
        return check_golden(exported, *arguments, **options)

    monkeypatch.setattr("rmjax.scoring.export.check_golden", checked)
    gc.collect()
    before = held(jax.live_arrays())
    export(tmp_path / "run", tmp_path / "out", dtype=dtype)
    ((params, others),) = seen
    kernel = params["backbone"]["layers"]["mlp_branch"]["up"]["kernel"]
    assert kernel.dtype == dtype
    assert params["reward_head"]["kernel"].dtype == np.float32
    assert kernel.addressable_shards[0].data.size == kernel.size / 4
    assert others < held(jax.tree.leaves(params)) / 20


def held(leaves):
    return sum(part.data.nbytes for leaf in leaves for part in leaf.addressable_shards)


def test_the_template_names_its_roles_and_quotes_what_it_must():
    template = RoleTemplate(
        turns=(("system", "<s>'\"\n", ""), ("assistant", "\nA: ", "\\é")), generation_prompt="\nA:", beginning="<b>"
    )
    found = chat_template(template, "<|end|>")
    for part in ("<b>", r"\nA: ", "add_generation_prompt", "the roles are system, assistant"):
        assert part in found
