"""The workdir: made once, resumed by the same config alone, with errors that say what to do."""

import importlib.util
import json
import pathlib
import subprocess
import sys
from collections.abc import Callable

import jax
import pytest

from rmjax.batches.template import RoleTemplate
from rmjax.batches.tokenizer import load_tokenizer, train_tokenizer
from rmjax.config import ExperimentConfig, ParallelConfig, Strategy, TextConfig
from rmjax.errors import UserError
from rmjax.evaluation import evaluate
from rmjax.model_config import AttentionKind, Remat
from rmjax.preferences.files import find_files
from rmjax.training import environment
from rmjax.training.checkpoint import CheckpointError
from rmjax.training.loop import train
from rmjax.training.trained import load_trained
from rmjax.training.workdir import (
    WorkdirError,
    check_data,
    check_still_ours,
    open_workdir,
    read_config,
    read_contract,
    write_contract,
)


def test_a_new_workdir_holds_the_config_and_opens_again(tmp_path: pathlib.Path):
    config = ExperimentConfig(seed=3)
    workdir = open_workdir(tmp_path / "deep" / "run", config)
    assert read_config(workdir) == config
    stored = (workdir / "config.json").read_text()
    assert open_workdir(str(workdir), ExperimentConfig(seed=3)) == workdir
    assert (workdir / "config.json").read_text() == stored


def test_a_run_may_go_on_laid_over_devices_in_another_way(tmp_path: pathlib.Path):
    config = ExperimentConfig()
    open_workdir(tmp_path, config)
    (tmp_path / "checkpoints" / "5").mkdir(parents=True)
    config.parallel = ParallelConfig(strategy=Strategy.MESH, fsdp=2, microbatches=4)
    config.model.attention, config.model.remat, config.model.unroll = AttentionKind.DENSE, Remat.FULL, 4
    open_workdir(tmp_path, config)
    assert read_config(tmp_path) == ExperimentConfig()  # as the run began


def change_seed(config: ExperimentConfig) -> None:
    config.seed = 4


def change_steps(config: ExperimentConfig) -> None:
    config.steps = 2000


def change_nested(config: ExperimentConfig) -> None:
    config.optimizer.learning_rate = 0.5
    config.data.train = ("a", "b")


@pytest.mark.parametrize(
    ("change", "lines"),
    [
        (change_seed, ["config.seed: 0 -> 4"]),
        (change_steps, ["config.steps: 1000 -> 2000"]),
        (
            change_nested,
            [
                "config.data.train: ('synthetic/helpfulness:train',) -> ('a', 'b')",
                "config.optimizer.learning_rate: 0.001 -> 0.5",
            ],
        ),
    ],
)
def test_another_config_is_refused_with_the_difference(
    tmp_path: pathlib.Path, change: Callable[[ExperimentConfig], None], lines: list[str]
):
    open_workdir(tmp_path, ExperimentConfig())
    make_checkpoint(tmp_path)
    other = ExperimentConfig()
    change(other)
    with pytest.raises(WorkdirError) as error:
        open_workdir(tmp_path, other)
    assert [line.strip() for line in str(error.value).splitlines() if " -> " in line and "config." in line] == lines
    assert str(tmp_path) in str(error.value)
    assert ("steps of a run can't be changed, for the schedule" in str(error.value)) == (change is change_steps)
    assert str(error.value).endswith("Give another --workdir, or the stored config.")
    assert read_config(tmp_path) == ExperimentConfig()


def make_file(path: pathlib.Path) -> None:
    path.write_text("")


def make_checkpoint(path: pathlib.Path) -> None:
    (path / "checkpoints" / "7").mkdir(parents=True)


def make_broken_config(path: pathlib.Path) -> None:
    path.mkdir()
    (path / "config.json").write_text('{"seed": ')


def make_unknown_field(path: pathlib.Path) -> None:
    path.mkdir()
    (path / "config.json").write_text('{"sead": 1}')


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (make_file, "is a file"),
        (make_checkpoint, "holds checkpoints but no config.json"),
        (make_broken_config, r"config\.json can't be read as a config: .*not JSON"),
        (make_unknown_field, r"config\.json can't be read as a config: config has no field 'sead'"),
    ],
)
def test_what_is_no_workdir_is_refused(tmp_path: pathlib.Path, prepare: Callable[[pathlib.Path], None], message: str):
    prepare(tmp_path / "run")
    with pytest.raises(WorkdirError, match=message):
        open_workdir(tmp_path / "run", ExperimentConfig())


OF_A_START = (
    "tokenizer.json", "template.json", "data.json", "environment.json", "metrics.jsonl", "wandb_id.txt",
    "events.out.tfevents.1",
)  # fmt: skip


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("leftover", ["", "checkpoints", "checkpoints/7.orbax-checkpoint-tmp-1"])
def test_a_start_that_left_no_checkpoint_leaves_the_workdir_to_anybody(
    tmp_path: pathlib.Path, seed: int, leftover: str
):
    open_workdir(tmp_path, ExperimentConfig())
    (tmp_path / leftover).mkdir(parents=True, exist_ok=True)
    for name in (*OF_A_START, "notes.txt"):
        (tmp_path / name).write_text("of the dead start")
    open_workdir(tmp_path, ExperimentConfig(seed=seed))
    assert read_config(tmp_path) == ExperimentConfig(seed=seed)
    assert {path.name for path in tmp_path.iterdir() if path.is_file()} == {"config.json", "notes.txt"}


def test_what_a_run_with_a_checkpoint_holds_stays(tmp_path: pathlib.Path):
    open_workdir(tmp_path, ExperimentConfig())
    make_checkpoint(tmp_path)
    for name in OF_A_START:
        (tmp_path / name).write_text("of the run")
    open_workdir(tmp_path, ExperimentConfig())
    assert all((tmp_path / name).read_text() == "of the run" for name in OF_A_START)


def test_other_processes_leave_what_process_zero_has_begun(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch):
    open_workdir(tmp_path, ExperimentConfig())
    (tmp_path / "environment.json").write_text("of process 0")
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    open_workdir(tmp_path, ExperimentConfig())
    assert (tmp_path / "environment.json").read_text() == "of process 0"
    with pytest.raises(WorkdirError, match=r"config\.seed: 0 -> 1"):
        open_workdir(tmp_path, ExperimentConfig(seed=1))


def test_the_contract_comes_back(tmp_path: pathlib.Path):
    tokenizer, config = train_tokenizer(["hello hello world"], 300), ExperimentConfig()
    template = RoleTemplate(turns=(("user", "U: ", "\n"), ("assistant", "A: ", "\n")), generation_prompt="A: ")
    for stored in (RoleTemplate(), template):
        write_contract(tmp_path, tokenizer, stored)
        contract = read_contract(tmp_path, config)
        assert contract.tokenizer.to_str() == tokenizer.to_str()
        assert contract.template == stored
        limits = (contract.max_prompt_tokens, contract.max_response_tokens)
        assert limits == (config.text.max_prompt_tokens, config.text.max_response_tokens)
    (tmp_path / "template.json").write_text('{"roles": 3}')
    with pytest.raises(WorkdirError, match=r"template\.json can't be read as a template: "):
        read_contract(tmp_path, config)
    (tmp_path / "template.json").unlink()
    with pytest.raises(WorkdirError, match=r"template\.json is missing: without the template of the run"):
        read_contract(tmp_path, config)


def test_data_are_noted_at_the_first_start_and_compared_at_the_next(tmp_path: pathlib.Path):
    first = {"train": "a", "validation": "b"}
    check_data(tmp_path, first)
    check_data(tmp_path, first)
    with pytest.raises(WorkdirError, match=r"^the validation data are not those that the run in .* began with"):
        check_data(tmp_path, {"train": "a", "validation": "c"})
    check_data(tmp_path, first)
    (tmp_path / "data.json").unlink()
    make_checkpoint(tmp_path)
    with pytest.raises(WorkdirError, match=r"holds checkpoints but no data\.json"):
        check_data(tmp_path, first)


def test_a_bucket_without_its_packages_names_the_file_that_brings_them_before_any_work(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
):
    find = importlib.util.find_spec
    missing = ("gcsfs", "google.cloud.storage")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in missing else find(name))
    message = r"^gs://bucket/run is in a bucket, and gcsfs and google\.cloud\.storage can't .*requirements-gcs\.txt"
    monkeypatch.setattr(evaluate, "load_model", lambda *_: pytest.fail("a model was loaded first"))
    with_tokenizer = ExperimentConfig(text=TextConfig(tokenizer="gs://bucket/run"))
    for reach in (
        lambda path: open_workdir(path, ExperimentConfig()),
        read_config,
        load_trained,
        find_files,
        load_tokenizer,
        lambda path: evaluate.evaluate(["run"], ["rows.jsonl"], report=path),
        lambda path: evaluate.evaluate(["run"], ["rows.jsonl", path]),
        lambda path: evaluate.evaluate(["run", path], ["rows.jsonl"]),
        lambda _: train(with_tokenizer, tmp_path / "none", make_evaluator=lambda *_: pytest.fail("it began")),
    ):
        with pytest.raises(UserError, match=message):
            reach("gs://bucket/run")
    assert not (tmp_path / "none").exists()


def test_loading_says_what_is_missing(tmp_path: pathlib.Path):
    with pytest.raises(WorkdirError, match=r"there is no workdir .*/run; it must be the folder"):
        load_trained(tmp_path / "run")
    with pytest.raises(WorkdirError, match=r"has no config\.json"):
        load_trained(tmp_path)
    open_workdir(tmp_path, ExperimentConfig())
    with pytest.raises(WorkdirError, match=r"tokenizer\.json is missing"):
        load_trained(tmp_path)
    write_contract(tmp_path, train_tokenizer(["a"], 258), RoleTemplate())
    with pytest.raises(CheckpointError, match="has no checkpoint yet"):
        load_trained(tmp_path)
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(CheckpointError, match="has no checkpoint yet"):
        load_trained(tmp_path)
    with pytest.raises(CheckpointError, match=r"no checkpoint of step 3 in .*there is none yet"):
        load_trained(tmp_path, 3)


def test_each_start_is_recorded(tmp_path: pathlib.Path):
    environment.record_start(tmp_path)
    first = json.loads((tmp_path / "environment.json").read_text())["starts"]
    environment.record_start(tmp_path)
    starts = json.loads((tmp_path / "environment.json").read_text())["starts"]
    assert starts[:1] == first
    assert len(starts) == 2
    entry = starts[1]
    assert entry["devices"] == {"kind": "cpu", "count": 4, "processes": 1}
    assert entry["python"] == ".".join(map(str, sys.version_info[:3]))
    assert set(entry["packages"]) >= {"jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "tokenizers"}
    assert entry["command"] == [sys.executable, *sys.argv]
    assert "--xla_force_host_platform_device_count=4" in entry["variables"]["XLA_FLAGS"]


def test_the_revision_is_that_of_the_source_and_says_if_it_was_changed(tmp_path: pathlib.Path):
    def git(*arguments: str) -> str:
        names = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
        command = ["git", *names, "-C", str(tmp_path), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    package = tmp_path / "package"
    package.mkdir()
    (package / "module.py").write_text("a = 1\n")
    assert environment.revision(package) is None
    git("init")
    assert environment.revision(package) is None
    git("add", "package")
    git("commit", "-m", "first")
    assert environment.revision(package) == {"commit": git("rev-parse", "HEAD"), "dirty": False}
    (tmp_path / "untracked").write_text("")
    assert environment.revision(package) == {"commit": git("rev-parse", "HEAD"), "dirty": False}
    (package / "module.py").write_text("a = 2\n")
    assert environment.revision(package) == {"commit": git("rev-parse", "HEAD"), "dirty": True}
    installed = tmp_path / "site-packages" / "package"
    installed.mkdir(parents=True)
    assert environment.revision(installed) is None


def test_a_run_whose_folder_another_took_saves_nothing_there(tmp_path: pathlib.Path):
    mine, theirs = ExperimentConfig(), ExperimentConfig(seed=7)
    workdir = open_workdir(tmp_path / "run", mine)
    check_still_ours(workdir, mine)
    open_workdir(workdir, theirs)  # before the first checkpoint the folder is anyone's
    check_still_ours(workdir, theirs)
    with pytest.raises(WorkdirError, match=r"taken by a run of another config .*\n.*config\.seed: 7 -> 0"):
        check_still_ours(workdir, mine)
