"""A run over two processes of two devices each is the run of one process with four: losses, checkpoints, signals."""

import functools
import gzip
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable

import jax
import numpy as np
import pytest
from forked import ROOT, Server
from test_training_resume import committed_steps, read_checkpoints, read_lines
from tiny_run import tiny_config, write_rows

from rmjax.config import ConfigError, Strategy, from_json, to_json
from rmjax.evaluation.validation import make_evaluator
from rmjax.training.loop import train
from rmjax.training.processes import connect, process_zero_first
from rmjax.training.workdir import WorkdirError, open_workdir

STEPS, EVALUATE_EVERY = 7, 1  # so a SIGTERM in a validation is noticed after a step that is to be validated too
SECONDS = 150  # after which a run hangs; it takes ten
Start = Callable[..., list[tuple[int, str]]]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A folder with the data, the config and a compilation cache that all processes share.

    The data are a data set that has to be prepared, so the processes meet there too.
    """
    folder = tmp_path_factory.mktemp("processes")
    write_rows(folder / "rows.jsonl")
    published = folder / "published" / "helpful-base"
    published.mkdir(parents=True)
    for split in ("train", "test"):
        (published / f"{split}.jsonl.gz").write_bytes(gzip.compress((folder / "rows.jsonl").read_bytes()))
    config = tiny_config("hh_rlhf/helpful-base:train", steps=STEPS, evaluate_every=EVALUATE_EVERY)
    config.data.manual_dir, config.data.data_dir = str(folder / "published"), str(folder / "prepared")
    (folder / "config.json").write_text(to_json(config))
    return folder


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return listener.getsockname()[1]


@pytest.fixture(scope="module")
def start(home: pathlib.Path, server: Server) -> Start:
    return functools.partial(run_over_two, server, home)


def run_over_two(
    server: Server, home: pathlib.Path, workdir: str, *flags: str, **variables: str
) -> list[tuple[int, str]]:
    """Runs the command over two processes of two devices each; (exit code, what it said) of each."""
    command = ["-m", "process_of_run", f"--workdir={home / workdir}",
               f"--config={ROOT / 'experiments' / 'from_json.py'}:{home / 'config.json'}", *flags]  # fmt: skip
    variables |= {
        "XLA_FLAGS": os.environ["XLA_FLAGS"] + " --xla_force_host_platform_device_count=2",
        "JAX_CPU_COLLECTIVES_IMPLEMENTATION": "gloo",
        "JAX_ENABLE_COMPILATION_CACHE": "true",
        "JAX_COMPILATION_CACHE_DIR": str(home / "cache"),
    }
    address, logs, running = f"localhost:{free_port()}", [], []
    try:
        for index in range(2):
            logs.append(home / f"{workdir}-{time.monotonic_ns()}-{index}.log")
            which = [f"--coordinator_address={address}", "--process_count=2", f"--process_id={index}"]
            running.append(server.start(command + which, out=logs[-1], folder=home, **variables))
        end = time.monotonic() + SECONDS
        codes = [process.wait(timeout=max(0.0, end - time.monotonic())) for process in running]
    except subprocess.TimeoutExpired:
        said = "\n".join(f"== {log.name}\n{log.read_text()[-4000:]}" for log in logs)
        pytest.fail(f"not finished after {SECONDS} seconds\n{said}")
    finally:
        for process in running:
            process.kill()
    return list(zip(codes, [log.read_text() for log in logs], strict=True))


@pytest.fixture(scope="module")
def whole(home: pathlib.Path, start: Start) -> pathlib.Path:
    """The workdir of two processes that nothing interrupted."""
    outcomes = start("whole")
    assert [code for code, _ in outcomes] == [0, 0], outcomes
    assert ["best checkpoint: step" in said for _, said in outcomes] == [True, False]
    return home / "whole"


def steps_of(lines: list[dict]) -> list[int]:
    return [line["step"] for line in lines if "validation" not in line]


def test_two_processes_of_two_devices_are_one_of_four(home: pathlib.Path, whole: pathlib.Path):
    train(from_json((home / "config.json").read_text()), home / "alone", make_evaluator=make_evaluator)
    ours, theirs = read_lines(whole), read_lines(home / "alone")
    assert steps_of(ours) == list(range(1, STEPS + 1))
    assert [line["step"] for line in ours if "validation" in line] == list(range(1, STEPS + 1))
    losses, expected = ([line["loss"] for line in lines if "loss" in line] for lines in (ours, theirs))
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    for line, other in zip(ours, theirs, strict=True):
        assert (line["step"], line.keys()) == (other["step"], other.keys())
        if "validation" in line:
            np.testing.assert_allclose(
                list(line["validation"].values()), list(other["validation"].values()), rtol=1e-4, atol=1e-4
            )
    devices = json.loads((whole / "environment.json").read_text())["starts"][0]["devices"]
    assert (devices["count"], devices["processes"]) == (4, 2)


def test_sigterm_to_one_process_saves_all_at_one_step_and_they_resume(
    home: pathlib.Path, whole: pathlib.Path, start: Start
):
    workdir, step = home / "terminated", 4
    outcomes = start(workdir.name, TERMINATE="1:3")  # not process 0, which the others ask anyway
    assert [code for code, _ in outcomes] == [128 + signal.SIGTERM] * 2, outcomes
    assert committed_steps(workdir)[-1] == step
    assert read_lines(workdir)[-1].keys() > {"step", "loss"}  # its validation is left to the next start
    assert all(f"SIGTERM: saved step {step}" in said and "resumed" not in said for _, said in outcomes), outcomes
    outcomes = start(workdir.name)
    assert [code for code, _ in outcomes] == [0, 0], outcomes
    assert all(f"resumed from step {step}" in said for _, said in outcomes)
    lines = read_lines(workdir)
    assert steps_of(lines) == list(range(1, STEPS + 1))
    assert lines == read_lines(whole)
    ours, theirs = read_checkpoints(workdir)[STEPS], read_checkpoints(whole)[STEPS]
    assert ours.validation == theirs.validation
    for a, b in zip(jax.tree.leaves(ours.state), jax.tree.leaves(theirs.state), strict=True):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


def test_a_run_goes_on_on_other_devices_in_other_processes_and_under_other_strategies(home: pathlib.Path, start: Start):
    """Two processes that read the same rows, then two that read their own, then one; against one from end to end."""
    config = from_json((home / "config.json").read_text())
    config.model.attention_heads, config.model.dropout = 4, 0.0  # what dropout drops depends on the strategy
    train(config, home / "steady", make_evaluator=make_evaluator)
    model = ("--config.model.attention_heads=4", "--config.model.dropout=0.0", "--config.parallel.strategy=MESH")
    workdir = home / "moving"
    reached = []
    for layout, validation, number in (
        ("--config.parallel.tensor=4", 3, signal.SIGTERM),
        ("--config.parallel.fsdp=4", 1, signal.SIGINT),
    ):
        outcomes = start(workdir.name, *model, layout, TERMINATE=f"1:{validation}", SIGNAL=str(int(number)))
        assert [code for code, _ in outcomes] == [128 + signal.SIGTERM, 128 + number], outcomes
        reached.append(committed_steps(workdir)[-1])
    assert 3 <= reached[0] < STEPS  # at which step the processes agree is theirs to say
    assert reached[1] == reached[0] + 1  # the signal came in the validation left from before, so before the first step
    config.parallel.strategy = Strategy.JIT
    train(config, workdir, make_evaluator=make_evaluator)
    ours, theirs = read_lines(workdir), read_lines(home / "steady")
    assert steps_of(ours) == list(range(1, STEPS + 1))
    for name in ("loss", "validation"):
        values, expected = ([_numbers(line[name]) for line in lines if name in line] for lines in (ours, theirs))
        np.testing.assert_allclose(values, expected, rtol=1e-5)
    states = [read_checkpoints(path)[STEPS].state for path in (workdir, home / "steady")]
    for a, b in zip(*map(jax.tree.leaves, states), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5, rtol=1e-4)


def _numbers(value: float | dict[str, float]) -> list[float]:
    return list(value.values()) if isinstance(value, dict) else [value]


@pytest.mark.parametrize(
    ("asleep", "code", "message"),
    [
        ("0", 1, r"error: process 0 of 2 can't reach another process .*no checkpoint yet.* same command on every host"),
        ("1000", -signal.SIGABRT, r"Terminating process because .* another task died"),
    ],
)
def test_a_process_that_is_killed_ends_the_other(start: Start, asleep: str, code: int, message: str):
    outcomes = start(f"killed-{asleep}", KILL="1:1", ASLEEP=asleep, HEARTBEAT="10")
    assert [code for code, _ in outcomes] == [code, -signal.SIGKILL], outcomes
    assert re.search(message, outcomes[0][1]), outcomes


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("localhost:1234", None, 0), r"^--process_count missing; .*must be given together"),
        ((None, 2, None), r"^--coordinator_address and --process_id missing"),
        (("localhost", 2, 0), r"^--coordinator_address is 'localhost'; it must be HOST:PORT"),
        (("localhost:1234", 2, 2), r"^--process_id is 2; it must be in 0\.\.1"),
        (("localhost:1234", 0, 0), r"^--process_count is 0; it must be at least 1"),
    ],
)
def test_flags_that_cannot_be_right_are_a_config_error(arguments: tuple, message: str):
    address, count, index = arguments
    with pytest.raises(ConfigError, match=message):
        connect(coordinator_address=address, process_count=count, process_id=index)


def test_nothing_given_is_one_process():
    connect(coordinator_address=None, process_count=None, process_id=None)
    assert not jax.distributed.is_initialized()


@pytest.mark.parametrize("index", [0, 1])
def test_process_zero_goes_first_even_if_it_fails(monkeypatch: pytest.MonkeyPatch, index: int):
    order = []
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(jax, "process_index", lambda: index)
    monkeypatch.setattr("rmjax.training.processes.multihost_utils.sync_global_devices", order.append)

    def fail():
        with process_zero_first("turn"):
            order.append("block")
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        fail()
    assert order == (["block", "turn"] if index == 0 else ["turn", "block"])


def test_a_workdir_that_is_not_shared_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path):
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    with pytest.raises(WorkdirError, match=r"process 1 finds no config\.json in workdir .* all processes see"):
        open_workdir(tmp_path, tiny_config("rows.jsonl"))
