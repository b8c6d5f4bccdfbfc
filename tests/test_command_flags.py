"""The flags of a command: what is wrong with them is said in a line, and --help names every field."""

import pathlib
import shlex
import subprocess
import sys

import pytest
from absl import flags
from ml_collections import config_flags

from rmjax import command_flags, config_json
from rmjax.config import ExperimentConfig
from rmjax.errors import UserError

ROOT = pathlib.Path(__file__).parents[1]
LOADED = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")  # ml_collections loads files so


def parsed(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> ExperimentConfig:
    """The config of a command with these flags."""
    values = flags.FlagValues()
    config = config_flags.DEFINE_config_file("config", flag_values=values)
    monkeypatch.setattr(flags, "FLAGS", values)
    monkeypatch.setattr(sys, "argv", ["command", *arguments])  # where ml_collections looks for overrides
    command_flags.parse(["command", *arguments])
    return config.value


@LOADED
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--config=base.py", "--config.model.widht=3"],
            "--config.model.widht=3: the config has no such field; did you mean --config.model.width? --help lists",
        ),
        (
            ["--config=base.py", "--config.seed=1", "--config.optimzer.learning_rate", "1"],
            "--config.optimzer.learning_rate: the config has no such field; did you mean "
            "--config.optimizer.learning_rate or ",
        ),
        (["--config=base.py", "--config.what=1"], "--config.what=1: the config has no such field; --help lists those"),
        (["--config=base.py", "--config.steps.x=1"], "--config.steps.x=1: the config has no such field; did you mean"),
        (["--config=base.py", "--config.data.train.x=1"], "--config.data.train.x=1: the config has no such field; did"),
        (["--config=base.py", "--config.steps=many"], "flag --config.steps=many: invalid literal for int"),
        (
            ["--config=base.py", "--config.batch.row_length=None"],
            "flag --config.batch.row_length=None: invalid literal for int() with base 10: 'None' (no flag can say",
        ),
        (["--config=from_json.py:base.py"], "base.py can't be read as a config: the config is not JSON"),
        (["--config=from_json.py"], "'' is no file; right would be --config=experiments/from_json.py:WORKDIR"),
        (["--cofnig=base.py"], "Unknown command line flag 'cofnig'. Did you mean: config"),
        (["--config=base.py", "--stpes=2"], "Unknown command line flag 'stpes'. Did you mean: --config.steps? (--help"),
    ],
)
def test_what_is_wrong_with_the_flags_is_said_in_one_line(monkeypatch, arguments, message):
    monkeypatch.chdir(ROOT / "experiments")
    with pytest.raises(UserError) as error:
        parsed(monkeypatch, *arguments)
    assert str(error.value).startswith(message)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("stepz", ["steps"]),
        ("learning_rate", ["optimizer.learning_rate"]),
        ("data.max_response_tokens", ["text.max_response_tokens"]),
        ("text.vocab_size", ["text.vocabulary_size"]),
        ("batch_size", []),
        ("optimizer.lr", []),
        ("steps.x", ["steps"]),
    ],
)
def test_the_closest_fields_are_spelt_alike_or_have_the_same_name_elsewhere(name, meant):
    known = ["steps", "seed", "optimizer.learning_rate", "optimizer.b1", "optimizer.b2",
             "text.max_response_tokens", "text.vocabulary_size",
             "model.head_size"]  # fmt: skip
    assert command_flags.closest(name, known) == meant


@LOADED
def test_the_flags_that_help_explains_are_the_defaults_and_can_be_given(monkeypatch, tmp_path):
    (tmp_path / "plain.py").write_text("import rmjax.config\ndef get_config(): return rmjax.config.ExperimentConfig()")
    first, second, *lines = command_flags.explained_fields()
    assert "--" not in first + second
    words = [shlex.split(line, comments=True)[0] for line in lines]
    assert "--config.optimizer.learning_rate=0.001" in words
    given = [word for word in words if "=" in word]
    unset = [value for _, value in config_json.flat(ExperimentConfig(), "config") if value is None]
    assert len(words) - len(given) == sum("None unless" in line for line in lines) == len(unset) > 0
    config = parsed(monkeypatch, f"--config={tmp_path / 'plain.py'}", *given)
    assert config == ExperimentConfig()


@pytest.mark.parametrize(("flag", "fields"), [("--help", True), ("--help=true", True), ("--helpfull", False)])
def test_help_lists_the_flags_and_ends_well(flag, fields, server):
    done = server.run("-m", "rmjax.train", flag)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.index("--workdir:") > 0
    assert ("\n  --config.steps=1000\n" in done.stdout) == fields


@pytest.mark.parametrize("name", ["evaluate", "export", "score"])
def test_a_command_that_nothing_was_imported_for_starts(name):
    line = [sys.executable, "-m", f"rmjax.{name}", "--help"]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "--workdir:" in done.stdout
    assert "--config." not in done.stdout


@LOADED
def test_an_experiment_that_ends_the_process_keeps_its_code(monkeypatch, tmp_path):
    (tmp_path / "ending.py").write_text("import sys\ndef get_config(): sys.exit('no such cluster')")
    with pytest.raises(SystemExit, match="no such cluster"):
        parsed(monkeypatch, f"--config={tmp_path / 'ending.py'}")


@LOADED
def test_an_experiment_finds_its_siblings_from_any_folder(monkeypatch, tmp_path):
    """As in a checkout that was installed with ``pip install -e .``."""
    inner = tmp_path / "elsewhere" / "own_trials" / "first"
    inner.mkdir(parents=True)
    for folder in (inner.parent, inner):
        (folder / "__init__.py").write_text("")
    (inner.parent / "shared.py").write_text("from rmjax.config import ExperimentConfig as Config")
    trial = "from own_trials.shared import Config\ndef get_config(seed='7'): return Config(seed=int(seed))"
    (inner / "trial.py").write_text(trial)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    assert parsed(monkeypatch, "--config=elsewhere/own_trials/first/trial.py:8").seed == 8
    assert parsed(monkeypatch, "--config", str(inner / "trial.py")).seed == 7
    assert sys.path.count(str(tmp_path / "elsewhere")) == 1


def test_unexpected_arguments_are_refused():
    with pytest.raises(UserError, match="unexpected arguments: there; every option begins with --"):
        command_flags.parse(["command", "there"])
