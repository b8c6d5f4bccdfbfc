"""What the commands share: exit codes, one message for bad input, logs that can be read."""

import ast
import errno
import logging as standard_logging
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from absl import flags, logging
from ml_collections import config_flags

from rmjax import command
from rmjax.config import ConfigError, ExperimentConfig, to_json
from rmjax.errors import remedied
from rmjax.evaluation.calibration import reliability
from rmjax.evaluation.measure import Evaluation, Measurement, in_words
from rmjax.training.meter import NonFiniteError

ROOT = pathlib.Path(__file__).parents[1]


def run(main, monkeypatch) -> int | str:
    """The exit code of a command whose flags are absl's own."""
    values = flags.FLAGS
    monkeypatch.setattr(logging.get_absl_handler(), "formatter", logging.get_absl_handler().formatter)
    monkeypatch.setattr(logging.get_absl_handler(), "filters", list(logging.get_absl_handler().filters))
    parsed, verbosity = values.is_parsed(), logging.get_verbosity()
    try:
        with pytest.raises(SystemExit) as ended:
            command.run(main, ["command"])
    finally:
        logging.set_verbosity(verbosity)
        if not parsed:
            values.unparse_flags()
    return ended.value.code or 0


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("config.steps is 0"), 2),
        (NonFiniteError(3, "nan"), 1),
        (PermissionError(errno.EACCES, "denied", "a/b"), 2),
        (FileNotFoundError(errno.ENOENT, "none", "a/b"), 2),
        (OSError(errno.ENOSPC, "full", "a/b"), 1),
        (OSError(errno.EIO, "broken"), 1),
        (ConnectionResetError(errno.ECONNRESET, "reset"), 1),
        (BrokenPipeError(errno.EPIPE, "not that of stdout"), 1),
    ],
)
def test_a_user_gets_the_message_alone(monkeypatch, capsys, error, code):
    def main():
        raise error

    assert run(main, monkeypatch) == code
    shown = capsys.readouterr()
    assert shown.err == f"error: {error}\n"
    assert shown.out == ""


def test_an_error_says_what_helps_in_the_command_that_runs():
    with (
        pytest.raises(ConfigError, match=r"^7 is too long; not 7 but 3$"),
        remedied(NonFiniteError, lambda error: "another"),
        remedied(ConfigError, lambda error: f"not {str(error)[0]} but 3"),
    ):
        raise ConfigError("7 is too long")


def test_whoever_knew_first_what_helps_knew_more():
    with (
        pytest.raises(ConfigError, match=r"^7 is too long; have 3$"),
        remedied(ConfigError, lambda error: "have less"),
        remedied(ConfigError, lambda error: "have 3"),
    ):
        raise ConfigError("7 is too long")


def test_results_have_stdout_alone(capsys):
    class Found:
        def to_json(self) -> str:
            return '{"accuracy": 1}'

    with command.results_alone() as write:
        print("what a library says")
        write(Found())
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ('{"accuracy": 1}\n', "what a library says\n")


@pytest.mark.parametrize("rows", [1, 100_000])
def test_a_reader_that_has_gone_ends_the_command_quietly(rows):
    """Output of one row is written when the command ends, that of many while it runs."""
    code = (
        "import sys\nfrom rmjax.command import run\nsys.stdin.read()\n"
        f"run(lambda: sys.stdout.writelines('a line\\n' for _ in range({rows})), ['command'])"
    )
    command = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    assert command.stdin is not None
    assert command.stdout is not None
    assert command.stderr is not None
    command.stdout.close()
    command.stdin.close()
    assert command.stderr.read() == ""
    assert command.wait() == 141
    command.stderr.close()


def test_a_mistake_in_the_program_keeps_its_traceback(monkeypatch):
    def main():
        raise KeyError("programming")

    with pytest.raises(KeyError, match="programming"):
        run(main, monkeypatch)


def test_every_error_of_the_package_is_one_that_commands_report():
    bases = {}
    for path in (ROOT / "rmjax").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and node.name.endswith("Error") and node.name[0] != "_":
                bases[node.name] = {base.id for base in node.bases if isinstance(base, ast.Name)}
    del bases["OnError"]  # an enum
    bases = {name: found for name, found in bases.items() if "HTTPException" not in found}  # answers of the server
    reported, before = {"ReportedError"}, set()
    while reported != before:
        before, reported = reported, reported | {name for name, found in bases.items() if found & reported}
    assert len(reported) > 10
    assert set(bases) - reported == set()


def test_logs_are_bare_and_those_of_libraries_begin_at_warnings():
    handler = standard_logging.Handler()
    command.make_logs_readable(handler)
    library = "/x/.venv/lib/python3.11/site-packages/tensorflow_datasets/core/writer.py"
    own, mine = command.__file__, "/home/me/experiments/mine.py"
    shown = []
    for path in (library, own, mine):
        for level in (standard_logging.INFO, standard_logging.WARNING):
            record = standard_logging.LogRecord("absl", level, path, 1, "%d rows", (3,), None)
            if handler.filter(record):
                shown.append((path, handler.format(record)))
    assert shown == [
        (library, "warning: 3 rows"), (own, "3 rows"), (own, "warning: 3 rows"), (mine, "3 rows"),
        (mine, "warning: 3 rows"),
    ]  # fmt: skip


def test_a_config_of_an_earlier_run_can_be_given_back_and_changed(tmp_path, server):
    stored = tmp_path / "config.json"
    stored.write_text(to_json(ExperimentConfig(seed=7)))
    given = f"--config=experiments/from_json.py:{stored}"
    spec = str(tmp_path / "none.jsonl")
    changed = ["--config.steps=9", f"--config.data.train=('{spec}',)"]
    done = server.run("-m", "rmjax.train", f"--workdir={tmp_path / 'run'}", given, *changed)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1].startswith(f"error: {spec}: found no such file")
    assert "Traceback" not in done.stderr
    assert "warning: all of the 9 steps are warmup, so the learning rate never reaches 0.001" in done.stderr
    expected = ExperimentConfig(seed=7, steps=9)
    expected.data.train = (spec,)
    assert (tmp_path / "run" / "config.json").read_text() == to_json(expected)


def test_what_helps_against_a_bad_row_is_said_with_the_flag_of_the_command(tmp_path, server):
    (tmp_path / "bad.jsonl").write_text('{"prompt": "Q", "chosen": "A"}\n')
    given = [f"--config.data.train=('{tmp_path / 'bad.jsonl'}',)", f"--workdir={tmp_path / 'run'}"]
    done = server.run("-m", "rmjax.train", "--config=experiments/own_pairs.py", *given)
    assert done.returncode == 2
    said = done.stderr.splitlines()[-1]
    assert said.startswith(f"error: {tmp_path / 'bad.jsonl'}, line 1: field 'rejected'")
    assert said.endswith("; --config.data.on_error=skip skips and counts such rows")


@pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")  # ml_collections loads files so
def test_an_experiment_file_that_is_not_there_is_named(monkeypatch, capsys):
    values = flags.FlagValues()
    config = config_flags.DEFINE_config_file("config", flag_values=values)
    values(["command", "--config=none.py"])
    assert run(lambda: print(config.value.steps), monkeypatch) == 2
    shown = "error: the config can't be loaded: [Errno 2] No such file or directory: 'none.py'\n"
    assert capsys.readouterr().err == shown


@pytest.mark.parametrize("arguments", [("gs://bucket/rows.jsonl", "-"), ("-", "gs://bucket/rewards.jsonl")])
def test_scoring_asks_for_what_buckets_need_before_it_loads_a_model(arguments, server):
    source, target = arguments
    code = "import runpy, sys; sys.modules['gcsfs'] = None; runpy.run_module('rmjax.score', run_name='__main__')"
    done = server.run("-c", code, "--workdir=none", f"--input={source}", f"--output={target}")
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: gs://bucket/")
    assert "requirements-gcs.txt" in done.stderr


def test_an_evaluation_in_words_says_what_could_be_reached():
    found = {"accuracy": 0.81, "accuracy_low": 0.8, "accuracy_high": 0.82, "length_baseline_accuracy": 0.5}
    assert said(found) == (
        "runs/a on x:test: accuracy 0.8100 (95 % interval 0.8000 to 0.8200); the longer response wins: 0.5000 "
        "(9 comparisons)"
    )
    assert ", 90.0% of the Bayes-optimal 0.9000; the longer" in said(found | {"bayes_accuracy": 0.9})


def said(numbers) -> str:
    empty = np.zeros(0)
    table = reliability(np.ones(1), np.ones(1))
    measurement = Measurement(
        numbers=numbers, reliability=table, correct=empty, prompts=np.zeros(0, int), preferred=empty, other=empty
    )
    return in_words(
        Evaluation(
            model="runs/a", run="0", step=7, data="x:test", dimension="d", source="human", comparisons=9, skipped=0,
            measurement=measurement,
        )
    )  # fmt: skip
