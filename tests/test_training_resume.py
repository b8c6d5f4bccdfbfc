"""Resumed = uninterrupted, bit for bit: the real command, killed at random points by SIGTERM and by SIGKILL."""

import functools
import json
import os
import pathlib
import random
import re
import signal
import time
from collections.abc import Callable

import jax
import numpy as np
import pytest
from forked import Server
from tiny_run import tiny_config, write_rows

from rmjax.training.checkpoint import Checkpoints, Restored
from rmjax.training.loop import train
from rmjax.training.optimizer import make_optimizer
from rmjax.training.state import new_state
from rmjax.training.trained import load_trained
from rmjax.training.workdir import WorkdirError, read_config

STEPS, EVALUATE_EVERY = 120, 15
TIMING = ("tokens_per_second", "comparisons_per_second")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A folder with the data, an experiment file and a compilation cache that all starts of the command share."""
    folder = tmp_path_factory.mktemp("resume")
    write_rows(folder / "rows.jsonl")
    (folder / "experiment.py").write_text(
        "from tiny_run import tiny_config\n\n\n"
        "def get_config():\n"
        f"    return tiny_config({str(folder / 'rows.jsonl')!r}, steps={STEPS}, evaluate_every={EVALUATE_EVERY})\n"
    )
    return folder


class Command:
    """``python -m rmjax.train`` in a process of its own."""

    def __init__(self, server: Server, home: pathlib.Path, workdir: pathlib.Path):
        self.workdir = workdir
        self._log = home / f"{workdir.name}.log"
        arguments = ["-m", "rmjax.train", f"--config={home / 'experiment.py'}", f"--workdir={workdir}"]
        self.process = server.start(
            arguments, out=self._log, folder=home,
            XLA_FLAGS=os.environ["XLA_FLAGS"] + " --xla_force_host_platform_device_count=1",  # starts quicker
            JAX_ENABLE_COMPILATION_CACHE="true", JAX_COMPILATION_CACHE_DIR=str(home / "cache"),
        )  # fmt: skip

    def finish(self) -> str:
        """Waits for the end, and returns what the command said."""
        self.process.wait(timeout=300)
        return self._log.read_text()

    def steps_written(self) -> int:
        path = self.workdir / "metrics.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return max((json.loads(line)["step"] for line in lines[:-1]), default=0)

    def signal_after(self, step: int, pause: float, number: signal.Signals) -> str:
        """Sends a signal a short pause after the step has been written; fails when the run is over by then."""
        while self.steps_written() < step and self.process.poll() is None:
            time.sleep(0.002)
        time.sleep(pause)
        assert self.process.poll() is None, f"the run ended before it was killed:\n{self.finish()}"
        self.process.send_signal(number)
        return self.finish()


@pytest.fixture(scope="module")
def train_in(server: Server, home: pathlib.Path) -> Callable[[pathlib.Path], Command]:
    """Starts the command, in a workdir."""
    return functools.partial(Command, server, home)


@pytest.fixture(scope="module")
def whole(home: pathlib.Path, train_in: Callable[[pathlib.Path], Command]) -> pathlib.Path:
    """The workdir of a run that nothing interrupted."""
    command = train_in(home / "whole")
    said = command.finish()
    assert command.process.returncode == 0, said
    assert "resumed" not in said
    assert f"checkpoints: {home / 'whole' / 'checkpoints'}" in said
    assert re.search(r"best checkpoint: step \d+ of 120, validation accuracy 0\.\d+, nll \d", said)
    assert "python -m rmjax.evaluate --workdir=" in said
    return home / "whole"


def committed_steps(workdir: pathlib.Path) -> list[int]:
    return sorted(int(path.name) for path in (workdir / "checkpoints").glob("*") if path.name.isdecimal())


def read_lines(workdir: pathlib.Path) -> list[dict]:
    """The lines of metrics.jsonl, without what depends on the clock."""
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in TIMING} for line in lines]


def read_checkpoints(workdir: pathlib.Path) -> dict[int, Restored]:
    config = read_config(workdir)
    template = new_state(load_trained(workdir).model, make_optimizer(config.optimizer, config.steps), seed=99)
    with Checkpoints(workdir / "checkpoints", read_only=True) as checkpoints:
        return {step: checkpoints.restore(step, template) for step in checkpoints.steps()}


def assert_same_run(left: pathlib.Path, right: pathlib.Path) -> None:
    assert read_lines(left) == read_lines(right)
    for name in ("config.json", "tokenizer.json", "template.json", "data.json"):
        assert (left / name).read_bytes() == (right / name).read_bytes()
    ours, theirs = read_checkpoints(left), read_checkpoints(right)
    assert list(ours) == list(theirs)
    for a, b in zip(ours.values(), theirs.values(), strict=True):
        assert (a.step, a.data, a.validation) == (b.step, b.data, b.validation)
        assert jax.tree.structure(a.state) == jax.tree.structure(b.state)
        for one, other in zip(jax.tree.leaves(a.state), jax.tree.leaves(b.state), strict=True):
            assert one.dtype == other.dtype
            assert np.asarray(one).tobytes() == np.asarray(other).tobytes()


def test_every_step_and_every_validation_has_one_line(whole: pathlib.Path):
    lines = read_lines(whole)
    assert [line["step"] for line in lines if "validation" not in line] == list(range(1, STEPS + 1))
    validated = [line["step"] for line in lines if "validation" in line]
    assert validated == list(range(EVALUATE_EVERY, STEPS + 1, EVALUATE_EVERY))
    names = (
        "step loss accuracy reward_mean reward_std chosen_reward_mean rejected_reward_mean margin_mean gradient_norm "
        "learning_rate packing_fill"
    )
    assert all(list(line) == names.split() for line in lines if "validation" not in line)


@pytest.mark.parametrize("seed", [0, 1])
def test_killed_and_resumed_equals_uninterrupted(
    home: pathlib.Path, whole: pathlib.Path, train_in: Callable[[pathlib.Path], Command], seed: int
):
    numbers = random.Random(seed)
    workdir = home / f"killed-{seed}"
    signals = (signal.SIGKILL, signal.SIGTERM)[:: -1 if seed % 2 else 1]
    early = seed == 0  # killed before there is a checkpoint, so that it begins again
    if early:
        train_in(workdir).signal_after(1, 0.0, signal.SIGKILL)
        assert not committed_steps(workdir), "killed after the first checkpoint"
    begin = EVALUATE_EVERY
    for number in signals:
        command = train_in(workdir)
        said = command.signal_after(numbers.randrange(begin + 5, begin + 40), numbers.random() * 0.05, number)
        steps, written = committed_steps(workdir), command.steps_written()
        assert steps, f"killed before the first checkpoint:\n{said}"
        assert steps[-1] < STEPS, "killed after the last checkpoint"
        if number is signal.SIGTERM:
            assert command.process.returncode == 143, said
            assert f"SIGTERM: saved step {steps[-1]}" in said
            assert steps[-1] >= written
        else:
            assert command.process.returncode == -signal.SIGKILL
            # A save begins when the one before it is whole, and a step is written when the saves before it have begun:
            # so all of them but the last are whole.
            assert steps[-1] >= ((written - 1) // EVALUATE_EVERY - 1) * EVALUATE_EVERY
        begin = steps[-1]
        resumed = steps[-1]
    command = train_in(workdir)
    said = command.finish()
    assert command.process.returncode == 0, said
    assert f"resumed from step {resumed}" in said
    assert_same_run(workdir, whole)
    starts = json.loads((workdir / "environment.json").read_text())["starts"]
    assert len(starts) == len(signals) + 1  # of the start that left no checkpoint nothing is kept


def test_a_finished_run_is_left_as_it_is_and_another_config_is_refused(whole: pathlib.Path, home: pathlib.Path):
    config = read_config(whole)
    before = read_lines(whole)

    def make_evaluator(*_: object):
        return lambda params: 1 / 0

    result = train(config, whole, make_evaluator=make_evaluator)
    assert result.step == STEPS
    assert result.best_step in committed_steps(whole)
    assert read_lines(whole) == before
    other = tiny_config(str(home / "rows.jsonl"), steps=STEPS, evaluate_every=EVALUATE_EVERY, seed=1)
    with pytest.raises(WorkdirError, match=r"config\.seed: 0 -> 1"):
        train(other, whole, make_evaluator=make_evaluator)
