"""The loop: what it leaves in the workdir, what comes back from it, and how it stops."""

import json
import os
import pathlib
import signal
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from tiny_run import tiny_config, write_rows

from rmjax.batches.tokenized import TokenizedPreferences
from rmjax.config import ConfigError, ExperimentConfig
from rmjax.evaluation.rewards import RewardComputer
from rmjax.evaluation.validation import make_evaluator
from rmjax.models.reward import RewardModel
from rmjax.training.checkpoint import CheckpointError, Checkpoints, all_finite
from rmjax.training.loop import train
from rmjax.training.loss import pairwise_loss
from rmjax.training.meter import NonFiniteError
from rmjax.training.preemption import Preempted
from rmjax.training.trained import load_trained


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("data") / "rows.jsonl"
    write_rows(path)
    return str(path)


class Listener:
    """Makes the real evaluator and keeps the rewards that it is called on."""

    def __init__(self):
        self.rewards: list[np.ndarray] = []
        self.tokenized: TokenizedPreferences | None = None

    def __call__(self, model: RewardModel, tokenized: TokenizedPreferences, config: ExperimentConfig):
        self.tokenized = tokenized
        compute, evaluate = RewardComputer(model, config), make_evaluator(model, tokenized, config)

        def listen(params: Any) -> dict[str, float]:
            self.rewards.append(compute(params, tokenized))
            return evaluate(params)

        return listen


def read_lines(workdir: pathlib.Path) -> list[dict]:
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def test_a_loaded_model_scores_bit_for_bit_as_it_did_in_training(tmp_path: pathlib.Path, rows: str):
    listener = Listener()
    result = train(tiny_config(rows), tmp_path, make_evaluator=listener)
    assert result.step == 20
    validations = {line["step"]: line["validation"] for line in read_lines(tmp_path) if "validation" in line}
    assert list(validations) == [7, 14, 20]
    assert result.best_validation == validations[result.best_step]
    best = max(validations.values(), key=lambda values: values["accuracy"])["accuracy"]
    assert result.best_step == min(step for step, values in validations.items() if values["accuracy"] == best)
    for step in sorted({result.best_step, 14, 20}):
        trained = load_trained(tmp_path, step)
        assert trained.step == step
        assert listener.tokenized is not None
        scored = RewardComputer(trained.model, trained.config)(trained.params, listener.tokenized)
        assert scored.tobytes() == listener.rewards[list(validations).index(step)].tobytes()
    assert load_trained(tmp_path).step == result.best_step
    with pytest.raises(CheckpointError, match=r"no checkpoint of step 13 in .*the steps there are: .*14, 20"):
        load_trained(tmp_path, 13)
    assert {path.name.split(".")[0] for path in tmp_path.iterdir()} == {
        "checkpoints", "config", "environment", "events", "metrics", "tokenizer",
    }  # fmt: skip


@pytest.mark.parametrize("comparison", [2, 77])
def test_a_loss_that_is_not_finite_stops_the_run_and_nothing_of_it_is_saved(
    tmp_path: pathlib.Path, rows: str, comparison: int
):
    def loss(rewards, batch, config):
        total, sums = pairwise_loss(rewards, batch, config)
        bad = jnp.where((batch.comparison_id == comparison).any(), jnp.nan, 0.0)
        return total + bad, sums._replace(loss=sums.loss + bad)

    config = tiny_config(rows, evaluate_every=2)
    with pytest.raises(NonFiniteError, match=r"the loss of step \d+ is nan.* try, in a new workdir, a lower") as error:
        train(config, tmp_path, make_evaluator=make_evaluator, loss=loss)
    step, last = error.value.step, (error.value.step - 1) // 2 * 2
    expected = f"the last good checkpoint is that of step {last}" if last else "there is no checkpoint yet"
    assert f"the loss of step {step} is nan" in str(error.value)
    assert expected in str(error.value)
    assert [line["step"] for line in read_lines(tmp_path) if "validation" not in line] == list(range(1, step))
    with Checkpoints(tmp_path / "checkpoints", read_only=True) as checkpoints:
        assert (checkpoints.latest_step() or 0) == last
    if last:
        assert all_finite(load_trained(tmp_path, last).params)


def test_the_handler_of_sigterm_is_given_back_and_the_run_goes_on_where_it_left(tmp_path: pathlib.Path, rows: str):
    before = signal.getsignal(signal.SIGTERM)

    def make_terminating(model: RewardModel, tokenized: TokenizedPreferences, config: ExperimentConfig):
        evaluate = make_evaluator(model, tokenized, config)

        def terminate(params: Any) -> dict[str, float]:
            os.kill(os.getpid(), signal.SIGTERM)
            return evaluate(params)

        return terminate

    with pytest.raises(Preempted) as error:
        train(tiny_config(rows), tmp_path, make_evaluator=make_terminating)
    assert (error.value.code, error.value.step) == (143, 8)  # noticed after the step that follows the validation
    assert signal.getsignal(signal.SIGTERM) is before
    assert load_trained(tmp_path, 8).step == 8
    assert load_trained(tmp_path).step == 7  # step 8 was saved without validation: it can't be the best
    assert train(tiny_config(rows), tmp_path, make_evaluator=make_evaluator).step == 20
    assert [line["step"] for line in read_lines(tmp_path) if "validation" not in line] == list(range(1, 21))


def test_a_config_that_cannot_be_right_leaves_no_workdir(tmp_path: pathlib.Path, rows: str):
    config = tiny_config(rows)
    config.steps = 0
    with pytest.raises(ConfigError, match=r"config\.steps is 0; it must be at least 1"):
        train(config, tmp_path / "run", make_evaluator=make_evaluator)
    config = tiny_config(rows)
    config.logging.wandb_project = "mine"
    if not (pathlib.Path(jnp.__file__).parents[2] / "wandb").exists():
        with pytest.raises(ConfigError, match="wandb is not installed"):
            train(config, tmp_path / "run", make_evaluator=make_evaluator)
    assert not (tmp_path / "run").exists()
