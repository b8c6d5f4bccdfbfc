"""The flags of a command: what is wrong with them is said in a line, and --help names every field."""

import operator
import pathlib
import re
import shlex
import subprocess
import sys

import pytest
from absl import flags
from ml_collections import config_flags

from rmjax import command_flags, config_json
from rmjax.config import ConfigError, ExperimentConfig, validate
from rmjax.errors import UserError
from rmjax.tuning_config import targets_of

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
            "--config.model.widht=3: the config has no such field; did you mean --config.model.width? config.",
        ),
        (
            ["--config=base.py", "--config.optimizer.lr=5"],
            "--config.optimizer.lr=5: the config has no such field; did you mean --config.optimizer.learning_rate? ",
        ),
        (
            ["--config=base.py", "--config.parallel.foo=5"],
            "--config.parallel.foo=5: the config has no such field; config.parallel has strategy, fsdp, tensor, micro",
        ),
        (["--config=base.py", "--config.data.train=a,,b"], "flag --config.data.train=a,,b: one of the texts between"),
        (["--config.steps=3"], "--config is missing: path to config file."),
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


@LOADED
@pytest.mark.parametrize(
    ("values", "found"),
    [
        (["a.jsonl,b.jsonl"], ("a.jsonl", "b.jsonl")),
        (["a.jsonl", "b.jsonl,c.jsonl"], ("a.jsonl", "b.jsonl", "c.jsonl")),
        (["synthetic/brevity:train[:10%]+test, judged/*.parquet@brevity"],
         ("synthetic/brevity:train[:10%]+test", "judged/*.parquet@brevity")),
        (["('a,b.jsonl',)"], ("a,b.jsonl",)),
        (["'a,b.jsonl'"], ("a,b.jsonl",)),
        (["['a', 'b']"], ("a", "b")),
        (["1,2"], ("1", "2")),
        (["/x/y z.jsonl"], ("/x/y z.jsonl",)),
        ([""], ()),
        (["()"], ()),
    ],
)  # fmt: skip
@pytest.mark.parametrize("field", ["data.train", "data.validation", "model.reward_heads", "tuning.trained"])
def test_a_field_of_several_texts_takes_them_with_commas_or_one_at_a_time(monkeypatch, field, values, found):
    monkeypatch.chdir(ROOT)
    config = parsed(monkeypatch, "--config=experiments/base.py", *(f"--config.{field}={value}" for value in values))
    assert operator.attrgetter(field)(config) == found


@LOADED
def test_whole_numbers_are_read_as_before(monkeypatch):
    monkeypatch.chdir(ROOT)
    config = parsed(monkeypatch, "--config=experiments/base.py", "--config.model.global_layers=0,3")
    assert config.model.global_layers == (0, 3)
    config = parsed(monkeypatch, "--config=experiments/base.py", "--config.model.global_layers=1")
    assert config.model.global_layers == (1,)


def documented_flags() -> list[str]:
    """The flags of the config that the pages give values for, as a shell takes them: those of a command, and those
    between two backquotes, together. Capitals and ``$`` stand for what is the reader's."""
    found = {}
    for page in ("README.md", "BUILD.md", "docs/finetuning.md"):
        text = (ROOT / page).read_text().replace("\\\n", " ")
        fenced = re.compile(r"```\w*\n(.*?)```", re.DOTALL)
        for span in [*"\n".join(fenced.findall(text)).splitlines(), *re.findall("`([^`]+)`", fenced.sub("", text))]:
            words = re.findall(r"--config\.[\w.]+=(?:\"[^\"]*\"|[^\s;]+)", span)
            found |= dict.fromkeys([" ".join(words)] if words else [])
    return [span for span in found if not re.search(r"=(?!NLL)[A-Z]+\b(?!/)|\$", span)]


@LOADED
@pytest.mark.parametrize("given", documented_flags())
def test_the_flags_of_the_pages_can_be_given_and_make_a_config(monkeypatch, tmp_path, given):
    (tmp_path / "plain.py").write_text("import rmjax.config\ndef get_config(): return rmjax.config.ExperimentConfig()")
    config = parsed(monkeypatch, f"--config={tmp_path / 'plain.py'}", *shlex.split(given))
    config_json.check_types(config, "config")
    assert config != ExperimentConfig()


@LOADED
def test_the_documented_adapters_and_frozen_parts_are_those_that_were_meant(monkeypatch):
    monkeypatch.chdir(ROOT)
    given = ["--config=experiments/base.py", "--config.tuning.lora_rank=16", "--config.tuning.lora_targets=query,value"]
    validate(config := parsed(monkeypatch, *given, "--config.model.reward_heads=honesty,helpfulness"))
    assert targets_of(config.tuning, config.model) == ("query", "value")
    assert config.model.reward_heads == ("honesty", "helpfulness")


def test_the_flags_of_the_pages_are_found():
    found = documented_flags()
    assert "--config.tuning.lora_rank=16 --config.tuning.lora_targets=query,value" in found
    assert "--config.tuning.trained=reward_head,final_norm" in found
    assert len(found) > 15


REQUIRED = {
    "train": ["config", "workdir"], "evaluate": ["data", "workdir"], "score": ["input", "output", "workdir"],
    "export": ["output", "workdir"], "serve": ["workdir"], "best_of_n": ["input", "output"],
    "dryrun": ["config", "topology"],
}  # fmt: skip


@pytest.mark.parametrize("name", REQUIRED)
def test_a_required_flag_that_is_not_given_is_named(name, server):
    done = server.run("-m", f"rmjax.{name}")
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert sorted(re.findall(r"--(\w+) is missing: [A-Z]", line)) == REQUIRED[name]
    assert "None" not in line


@LOADED
@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("config.data.train = '/x.jsonl'",
         "config.data.train is '/x.jsonl'; it must be a tuple of strings, as ('/x.jsonl',)"),
        ("config.data.train = ['a', 'b']",
         "config.data.train is ['a', 'b']; it must be a tuple of strings, as ('a', 'b')"),
        ("config.model.global_layers = ('a',)",
         "config.model.global_layers is ('a',); it must be a tuple of whole numbers"),
        ("config.steps = '7'", "config.steps is '7'; it must be a whole number"),
        ("config.steps = True", "config.steps is True; it must be a whole number"),
        ("config.batch.row_length = 2.5", "config.batch.row_length is 2.5; it must be a whole number, or None"),
        ("config.model.norm = 'rms'", "config.model.norm is 'rms'; it must be one of Norm.RMS, Norm.LAYER"),
        ("config.optimizer.learning_rate = None", "config.optimizer.learning_rate is None; it must be a number"),
        ("config.optimizer = {'b1': 0.5}", "config.optimizer is {'b1': 0.5}; it must be of type OptimizerConfig"),
        ("config.optimizer.lr = 5",
         "FILE, line 4: config.optimizer has no field 'lr'; did you mean config.optimizer.learning_rate? it"),
        ("config.optimiser.b1 = 0.5",
         "FILE, line 4: config has no field 'optimiser'; did you mean config.optimizer? it has dim"),
        ("config = None", "get_config() of the experiment gave None; it must return an ExperimentConfig"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_an_experiment_is_said_by_its_field(monkeypatch, tmp_path, body, message):
    file = tmp_path / "own.py"
    lines = ["from rmjax.config import ExperimentConfig", "def get_config():", "    config = ExperimentConfig()"]
    file.write_text("\n".join([*lines, f"    {body}", "    return config"]))
    with pytest.raises(ConfigError) as error:
        parsed(monkeypatch, f"--config={file}")
    assert str(error.value).startswith(message.replace("FILE", str(file)))
    assert len(str(error.value).splitlines()) == 1


def test_a_field_that_an_experiment_makes_a_config_with_is_suggested_too(tmp_path, server):
    file = tmp_path / "own.py"
    file.write_text("from rmjax.config import ExperimentConfig\ndef get_config():\n return ExperimentConfig(stepz=5)")
    done = server.run("-m", "rmjax.train", f"--config={file}", f"--workdir={tmp_path / 'run'}")
    assert done.returncode == 2
    said = f"error: {file}, line 3: config has no field 'stepz'; did you mean config.steps? it has dimension, seed"
    assert done.stderr.splitlines()[-1].startswith(said)


@LOADED
def test_another_mistake_in_an_experiment_keeps_its_traceback(monkeypatch, tmp_path):
    (tmp_path / "own.py").write_text("def get_config(): return [].nothing")
    with pytest.raises(AttributeError, match="'list' object has no attribute 'nothing'"):
        parsed(monkeypatch, f"--config={tmp_path / 'own.py'}")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("stepz", ["steps"]),
        ("learning_rate", ["optimizer.learning_rate"]),
        ("data.max_response_tokens", ["text.max_response_tokens"]),
        ("text.vocab_size", ["text.vocabulary_size"]),
        ("batch_size", []),
        ("optimizer.lr", ["optimizer.learning_rate"]),
        ("optimizer.foo", []),
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
    first, second, third, *lines = command_flags.explained_fields()
    assert "--" not in first + second + third
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


def test_a_command_that_nothing_was_imported_for_starts():
    line = [sys.executable, "-m", "rmjax.evaluate", "--help"]
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
