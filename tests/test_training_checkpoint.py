"""Checkpoints: what comes back is what went in, which ones stay, and what is never picked or saved."""

import logging as standard_logging
import math
import os
import pathlib
import random
import resource
import shutil
import signal
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from forked import Server

from rmjax.config import BestBy, ConfigError
from rmjax.files import absolute
from rmjax.training.checkpoint import CheckpointError, Checkpoints, CheckpointWriteError
from rmjax.training.state import TrainState, all_finite


def make_state(seed: int) -> TrainState:
    weights, bias = jax.random.split(jax.random.key(seed))
    params = {
        "dense": {"kernel": jax.random.normal(weights, (17, 5)), "bias": jax.random.normal(bias, (5,), jnp.bfloat16)}
    }
    opt_state = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-3)).init(params)
    return TrainState(
        step=jnp.asarray(seed, jnp.int32), params=params, opt_state=opt_state, key=jax.random.PRNGKey(seed + 1)
    )


def assert_same_bits(left: Any, right: Any) -> None:
    assert jax.tree.structure(left) == jax.tree.structure(right)
    for a, b in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
        assert a.dtype == b.dtype
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


def save_all(checkpoints: Checkpoints, accuracies: list[float | None]) -> None:
    for step, accuracy in enumerate(accuracies, start=1):
        validation = None if accuracy is None else {"accuracy": accuracy, "loss": 0.5}
        checkpoints.save(step, make_state(step), data={"epoch": 0, "step": step}, validation=validation)
    checkpoints.wait()


def test_a_relative_folder_will_do_and_a_bucket_stays_what_it_is(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    with Checkpoints("runs/c") as checkpoints:
        checkpoints.save(1, make_state(1), data={"epoch": 0, "step": 1}, validation=None)
    with Checkpoints(tmp_path / "runs" / "c", read_only=True) as checkpoints:
        assert checkpoints.latest_step() == 1
    assert os.fspath(absolute("gs://bucket/runs/c")) == "gs://bucket/runs/c"


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_what_is_saved_comes_back_bit_for_bit_in_another_manager(tmp_path: pathlib.Path, seed: int):
    state = make_state(seed)
    with Checkpoints(tmp_path / "c") as checkpoints:
        checkpoints.save(7, state, data={"epoch": 2, "step": seed}, validation={"accuracy": 0.75, "loss": 0.5})
    with Checkpoints(tmp_path / "c") as checkpoints:
        restored = checkpoints.restore(7, make_state(seed + 10))
        params = checkpoints.restore_params(7, jax.eval_shape(lambda: state.params))
    assert_same_bits(restored.state, state)
    assert_same_bits(params, state.params)
    assert (restored.step, restored.data) == (7, {"epoch": 2, "step": seed})
    assert restored.validation == {"accuracy": 0.75, "loss": 0.5}


def test_a_state_donated_right_after_the_save_is_saved_as_it_was(tmp_path: pathlib.Path):
    advance = jax.jit(lambda state: jax.tree.map(lambda leaf: leaf + 1, state), donate_argnums=0)
    params = {"kernel": jnp.zeros((512, 512))}
    state = make_state(0).replace(params=params)
    with Checkpoints(tmp_path / "c") as checkpoints:
        for step in range(1, 4):
            state = advance(state)
            checkpoints.save(step, state, data={}, validation={"accuracy": step / 10})
            kept = advance(state)  # the saved buffers are given away while Orbax still writes them
            state = kept.replace(params={"kernel": jnp.full((512, 512), float(step))})
        checkpoints.wait()
        for step in checkpoints.steps():
            assert np.unique(checkpoints.restore(step, state).state.params["kernel"]) == [step]


@pytest.mark.parametrize("seed", range(4))
def test_the_latest_two_and_the_best_stay(tmp_path: pathlib.Path, seed: int):
    random_numbers = random.Random(seed)
    accuracies: list[float | None] = [random_numbers.choice([None, 0.5, 0.6, 0.7]) for _ in range(8)]
    accuracies[random_numbers.randrange(8)] = 0.7
    best = accuracies.index(0.7) + 1  # of equal ones the earlier
    with Checkpoints(tmp_path / "c") as checkpoints:
        save_all(checkpoints, accuracies)
        assert checkpoints.steps() == sorted({best, 7, 8})
    with Checkpoints(tmp_path / "c") as checkpoints:
        assert checkpoints.steps() == sorted({best, 7, 8})
        assert checkpoints.best_step() == best
        assert checkpoints.latest_step() == 8
        for step in checkpoints.steps():
            assert int(checkpoints.restore(step, make_state(0)).state.step) == step


@pytest.mark.parametrize(("best_by", "best"), [(BestBy.ACCURACY, 1), (BestBy.NLL, 2)])
def test_the_best_is_that_of_the_metric_asked_for(tmp_path: pathlib.Path, best_by: BestBy, best: int):
    """Of equal ones the earlier, on disk and when listed, before and after the folder is opened again."""
    validations = [(0.7, 0.5), (0.6, 0.4), (0.7, 0.45), (0.5, math.nan), (0.1, 0.4), (0.2, 0.6)]
    with Checkpoints(tmp_path / "c", best_by=best_by) as checkpoints:
        for step, (accuracy, nll) in enumerate(validations, start=1):
            checkpoints.save(step, make_state(step), data={}, validation={"accuracy": accuracy, "nll": nll})
        checkpoints.wait()
        assert (checkpoints.steps(), checkpoints.best_step()) == ([best, 5, 6], best)
    with Checkpoints(tmp_path / "c", best_by=best_by) as checkpoints:
        assert (checkpoints.steps(), checkpoints.best_step()) == ([best, 5, 6], best)


def test_a_validation_without_the_metric_that_decides_is_an_error(tmp_path: pathlib.Path):
    with Checkpoints(tmp_path / "c", best_by=BestBy.NLL) as checkpoints:
        with pytest.raises(
            ConfigError, match=r"config\.best_by is NLL, but validation gave accuracy, ece; it must give"
        ):
            checkpoints.save(1, make_state(1), data={}, validation={"accuracy": 0.5, "ece": 0.1})
        assert checkpoints.steps() == []


def test_an_accuracy_of_nothing_ranks_below_every_accuracy(tmp_path: pathlib.Path):
    with Checkpoints(tmp_path / "c") as checkpoints:
        save_all(checkpoints, [math.nan, 0.0, math.nan, None])
        assert checkpoints.best_step() == 2


def test_a_missing_step_lists_the_steps_there_are(tmp_path: pathlib.Path):
    with Checkpoints(tmp_path / "c") as checkpoints:
        with pytest.raises(CheckpointError, match=r"no checkpoint of step 3 in .*there is none yet"):
            checkpoints.restore(3, make_state(0))
        assert checkpoints.best_step() is None
        assert checkpoints.latest_step() is None
        save_all(checkpoints, [0.5, 0.6])
        with pytest.raises(CheckpointError, match=r"no checkpoint of step 3 in .*the steps there are: 1, 2"):
            checkpoints.restore_params(3, make_state(0).params)


@pytest.mark.parametrize(("accuracy", "kept", "best"), [(0.9, [3, 4], 4), (0.8, [1, 3, 4], 1), (0.1, [1, 3, 4], 1)])
def test_metrics_that_come_later_are_as_good_as_those_that_came_with_the_save(
    tmp_path: pathlib.Path, accuracy: float, kept: list[int], best: int
):
    with Checkpoints(tmp_path / "at once") as checkpoints:
        save_all(checkpoints, [0.8, 0.5, 0.6, accuracy])
    with Checkpoints(tmp_path / "later") as checkpoints:
        save_all(checkpoints, [0.8, 0.5, 0.6, None])
    with Checkpoints(tmp_path / "later") as checkpoints:
        checkpoints.add_validation(4, {"accuracy": accuracy, "loss": 0.5})
        assert (checkpoints.steps(), checkpoints.best_step()) == (kept, best)
    for name in ("at once", "later"):
        with Checkpoints(tmp_path / name) as checkpoints:
            assert (checkpoints.steps(), checkpoints.best_step()) == (kept, best)
            assert checkpoints.validation(4) == {"accuracy": accuracy, "loss": 0.5}
            checkpoints.save(5, make_state(5), data={}, validation={"accuracy": 0.2})
            checkpoints.wait()
            assert checkpoints.steps() == sorted({best, 4, 5})


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("leaf", range(6))
def test_one_number_that_is_not_finite_is_seen_wherever_it_is(value: float, leaf: int):
    leaves, structure = jax.tree.flatten(make_state(0))
    places = [index for index, entry in enumerate(leaves) if jnp.issubdtype(entry.dtype, jnp.floating)]
    assert len(places) == 6
    place = places[leaf]
    assert all_finite(jax.tree.unflatten(structure, leaves))
    leaves[place] = leaves[place].at[(0,) * leaves[place].ndim].set(value)
    assert not all_finite(jax.tree.unflatten(structure, leaves))


def test_half_written_and_half_deleted_checkpoints_are_never_picked(tmp_path: pathlib.Path):
    folder = tmp_path / "c"
    with Checkpoints(folder) as checkpoints:
        save_all(checkpoints, [0.5, 0.6])
    shutil.copytree(folder / "2", folder / "3.orbax-checkpoint-tmp")  # the name that a save has until it is whole
    (folder / "3.orbax-checkpoint-tmp" / "params" / "_METADATA").unlink()
    (folder / ".discarded").mkdir(exist_ok=True)
    shutil.copytree(folder / "1", folder / ".discarded" / "9")
    with Checkpoints(folder) as checkpoints:
        assert checkpoints.steps() == [1, 2]
        assert checkpoints.best_step() == 2
        checkpoints.save(3, make_state(3), data={}, validation={"accuracy": 0.9})
    with Checkpoints(folder) as checkpoints:
        assert checkpoints.steps() == [2, 3]
        assert int(checkpoints.restore(3, make_state(0)).state.step) == 3
    assert not (folder / ".discarded" / "9").exists()


SAVE_FOR_EVER = """
import itertools, sys
import jax.numpy as jnp, optax
from tests.test_training_checkpoint import make_state
from rmjax.training.checkpoint import Checkpoints
checkpoints = Checkpoints(sys.argv[1])
for step in itertools.count((checkpoints.latest_step() or 0) + 1):
    checkpoints.save(step, make_state(step), data={"step": step}, validation={"accuracy": step % 7 / 7})
    print(step, flush=True)
"""


def test_a_kill_while_saving_leaves_checkpoints_that_all_load(tmp_path: pathlib.Path, server: Server):
    for seed in range(3):
        written, count = tmp_path / f"{seed}.log", random.Random(seed).randrange(4, 12)
        process = server.start(["-c", SAVE_FOR_EVER, str(tmp_path / "c")], out=written, err=tmp_path / "err")
        while written.read_text().count("\n") < count:
            assert process.poll() is None, (tmp_path / "err").read_text()
            time.sleep(0.002)
        process.kill()
        assert process.wait(timeout=60) == -signal.SIGKILL
        last = int(written.read_text().splitlines()[-1])
        with Checkpoints(tmp_path / "c") as checkpoints:
            assert checkpoints.latest_step() in (last - 1, last, last + 1, last + 2)
            for step in checkpoints.steps():
                restored = checkpoints.restore(step, make_state(0))
                assert_same_bits(restored.state, make_state(step))
                assert restored.data == {"step": step}


def test_orbax_is_silent_below_warnings(tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture):
    from absl import logging

    handler = logging.get_absl_handler()
    shown: list[standard_logging.LogRecord] = []
    logger = logging.get_absl_logger()
    level = logger.level
    logger.setLevel(standard_logging.INFO)
    probe = standard_logging.Handler()
    probe.emit = lambda record: shown.append(record) if handler.filter(record) else None
    logger.addHandler(probe)
    try:
        with Checkpoints(tmp_path / "c") as checkpoints:
            save_all(checkpoints, [0.5, None])
        with Checkpoints(tmp_path / "c", read_only=True) as checkpoints:
            checkpoints.restore(2, make_state(0))
        logging.info("ours")
    finally:
        logger.removeHandler(probe)
        logger.setLevel(level)
    assert [record.getMessage() for record in shown] == ["ours"]
    assert len(caplog.records) > 10, "Orbax logs nothing, so the filter has nothing to do"


def test_a_write_that_fails_names_its_step_and_what_is_left(tmp_path: pathlib.Path):
    """Files may not grow past 4 KiB, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    message = r"^the checkpoint of step 2 can't be written to .*; the last good checkpoint is that of step 1 in "
    large = make_state(2).replace(params={"kernel": jax.random.normal(jax.random.key(0), (200, 200))})
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, make_state(1), data={"epoch": 0, "step": 1}, validation=None)
        checkpoints.wait()
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
        try:
            checkpoints.save(2, large, data={"epoch": 0, "step": 2}, validation={"accuracy": 1.0})
            with pytest.raises(CheckpointWriteError, match=message):
                checkpoints.wait()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert checkpoints.steps() == [1]
        assert checkpoints.best_step() is None
    with Checkpoints(tmp_path, read_only=True) as checkpoints:
        assert checkpoints.steps() == [1]
