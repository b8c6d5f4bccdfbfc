"""The loop: what it leaves in the workdir, what comes back from it, and how it stops."""

import json
import os
import pathlib
import signal
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl import logging
from etils import epath
from test_training_resume import assert_same_run
from tiny_run import tiny_config, write_rows

from rmjax.batches.tokenized import TokenizedPreferences
from rmjax.config import ConfigError, ExperimentConfig, OnError
from rmjax.errors import UserError
from rmjax.evaluation.rewards import RewardComputer
from rmjax.evaluation.validation import make_evaluator
from rmjax.models.reward import RewardModel
from rmjax.training.checkpoint import CheckpointError, Checkpoints
from rmjax.training.data import prepare_data
from rmjax.training.loop import train
from rmjax.training.loss import pairwise_loss
from rmjax.training.meter import NonFiniteError
from rmjax.training.preemption import Preempted, PreemptionNotice
from rmjax.training.state import all_finite
from rmjax.training.trained import load_trained
from rmjax.training.workdir import WorkdirError, open_workdir, read_config


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

        def listen(params: Any) -> Any:
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
    rated = ["tokens_per_second" in line for line in read_lines(tmp_path) if "validation" not in line]
    assert rated == [False] + [True] * 19  # the first step is mostly compiling
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
        "checkpoints", "config", "data", "environment", "events", "metrics", "template", "tokenizer",
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


def test_parameters_that_overflow_stop_the_run_before_they_are_validated(tmp_path: pathlib.Path, rows: str):
    config = tiny_config(rows, evaluate_every=1)
    config.optimizer.learning_rate = 1e38
    with pytest.raises(NonFiniteError, match=r"training has stopped, and .*try, in a new workdir, a lower") as error:
        train(config, tmp_path, make_evaluator=make_evaluator)
    with Checkpoints(tmp_path / "checkpoints", read_only=True) as checkpoints:
        last = checkpoints.latest_step()
    assert (last or 0) == error.value.step - 1
    assert (f"checkpoint is that of step {last}" if last else "there is no checkpoint yet") in str(error.value)


def test_rewards_that_are_not_finite_stop_the_run_at_their_step(tmp_path: pathlib.Path, rows: str):
    def make_overflowing(model: RewardModel, tokenized: TokenizedPreferences, config: ExperimentConfig):
        evaluate, steps = make_evaluator(model, tokenized, config), iter((7, 14))

        def overflow(params: Any) -> Any:
            scale = 1.0 if next(steps) == 7 else jnp.inf
            return evaluate(jax.tree.map(lambda array: array * scale, params))

        return overflow

    expected = r"validation after step 14: the rewards of \d+ of \d+ responses are not finite; .* is that of step 7 in"
    with pytest.raises(NonFiniteError, match=expected):
        train(tiny_config(rows), tmp_path, make_evaluator=make_overflowing)
    assert [line["step"] for line in read_lines(tmp_path) if "validation" in line] == [7]


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        ({"data": {"train": ("no.jsonl",)}}, "no such file"),
        ({"text": {"max_response_tokens": 2}}, "response too long"),
        ({"data": {"on_error": OnError.SKIP}, "text": {"max_response_tokens": 1}}, "leaves no train comparisons"),
    ],
)
def test_a_start_that_failed_does_not_stand_in_the_way_of_the_corrected_command(
    tmp_path: pathlib.Path, rows: str, mistake: dict[str, dict[str, Any]], message: str
):
    wrong = tiny_config(rows)
    for part, fields in mistake.items():
        for name, value in fields.items():
            setattr(getattr(wrong, part), name, value)
    with pytest.raises(UserError, match=message):
        train(wrong, tmp_path, make_evaluator=make_evaluator)
    folder = open_workdir(tmp_path, tiny_config(rows))
    prepare_data(tiny_config(rows), folder)
    assert read_config(tmp_path) == tiny_config(rows)


def write_judged(path: pathlib.Path, *, dimensions: tuple[str, ...], probability: float = 1.0) -> str:
    """Pairs that are judged on each dimension in turn."""
    lines = []
    for number in range(60):
        comparison = {"left": 0, "right": 1, "probability": probability}
        row = {"prompt": f"q{number}", "responses": ["a", "b c"], "comparisons": [comparison]}
        lines.append(json.dumps({**row, "dimension": dimensions[number % len(dimensions)], "source": "ai"}) + "\n")
    path.write_text("".join(lines))
    return str(path)


def test_data_that_changed_since_the_first_start_are_refused(tmp_path: pathlib.Path):
    path = tmp_path / "rows.jsonl"
    config = tiny_config(write_judged(path, dimensions=("brevity",)))
    tokenizer = prepare_data(config, epath.Path(tmp_path)).contract.tokenizer.to_str()
    old = path.read_text()
    path.write_text(old.replace('"probability": 1.0', '"probability": 0.9'))
    with pytest.raises(WorkdirError, match=r"the train and validation data are not those .*another --workdir"):
        prepare_data(config, epath.Path(tmp_path))
    path.write_text(old)
    assert prepare_data(config, epath.Path(tmp_path)).contract.tokenizer.to_str() == tokenizer


def test_validation_of_nothing_but_ties_is_refused(tmp_path: pathlib.Path, rows: str):
    config = tiny_config(rows)
    config.data.validation = (write_judged(tmp_path / "ties.jsonl", dimensions=("brevity",), probability=0.5),)
    with pytest.raises(ConfigError, match=r"leaves 60 validation comparisons, all of them ties .* at least one must"):
        prepare_data(config, epath.Path(tmp_path))


@pytest.mark.parametrize("heads", [(), ("brevity", "wit")])
def test_what_is_learned_from_is_logged_and_one_head_for_two_dimensions_warned_of(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, heads: tuple[str, ...]
):
    monkeypatch.setattr(logging.get_absl_logger(), "propagate", True)
    config = tiny_config(write_judged(tmp_path / "rows.jsonl", dimensions=("brevity", "wit")))
    config.data.validation = (write_judged(tmp_path / "more.jsonl", dimensions=("wit",)),)
    config.model.reward_heads = heads
    with caplog.at_level("INFO", logger="absl"):
        prepare_data(config, epath.Path(tmp_path))
    assert "train: brevity/ai 30, wit/ai 30" in caplog.messages
    assert "validation: wit/ai 60" in caplog.messages
    warned = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert warned.pop().startswith("there are only 60 validation comparisons (ties left out), ")
    assert len(warned) == (0 if heads else 1)
    if not heads:
        assert "learns 2 dimensions: brevity, wit; --config.model.reward_heads=\"('brevity', 'wit')\"" in warned[0]


def test_the_handler_of_sigterm_is_given_back_and_the_run_goes_on_where_it_left(tmp_path: pathlib.Path, rows: str):
    before = signal.getsignal(signal.SIGTERM)

    def make_terminating(model: RewardModel, tokenized: TokenizedPreferences, config: ExperimentConfig):
        evaluate = make_evaluator(model, tokenized, config)

        def terminate(params: Any) -> Any:
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


def test_a_sigterm_before_a_validation_leaves_it_to_the_next_start(
    tmp_path: pathlib.Path, rows: str, monkeypatch: pytest.MonkeyPatch
):
    """Also before the last one, and if the next start is killed between the line that it writes and the checkpoint."""
    config, cut, listener = tiny_config(rows), tmp_path / "cut", Listener()

    def killed(*_: object) -> None:
        raise OSError("killed")

    for before, step, validated in ((0, 14, [7]), (14, 20, [7, 14])):
        with monkeypatch.context() as patch:
            answers = iter([False] * (step - before - 1) + [True])  # asked once after every step of a start
            patch.setattr(PreemptionNotice, "reached", lambda _, answers=answers: next(answers))
            with pytest.raises(Preempted) as error:
                train(config, cut, make_evaluator=listener)
        assert (error.value.code, error.value.step) == (143, step)
        assert [line["step"] for line in read_lines(cut) if "validation" in line] == validated
        assert load_trained(cut).step in validated
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "add_validation", killed)
        with pytest.raises(OSError, match="killed"):
            train(config, cut, make_evaluator=listener)
    assert [line["step"] for line in read_lines(cut) if "validation" in line] == [7, 14, 20]
    assert train(config, cut, make_evaluator=listener).step == 20
    assert len(listener.rewards) == 4
    train(config, tmp_path / "whole", make_evaluator=make_evaluator)
    assert_same_run(cut, tmp_path / "whole")


def test_a_sigterm_while_the_last_checkpoint_is_written_does_not_lose_it(
    tmp_path: pathlib.Path, rows: str, monkeypatch: pytest.MonkeyPatch
):
    wait, sent, killed = Checkpoints.wait, [], []

    def terminated(checkpoints: Checkpoints) -> None:
        if checkpoints._writing == 20 and not sent:
            sent.append(True)
            os.kill(os.getpid(), signal.SIGTERM)
        wait(checkpoints)

    monkeypatch.setattr(Checkpoints, "wait", terminated)
    before = signal.signal(signal.SIGTERM, lambda *_: killed.append(True))
    try:
        assert train(tiny_config(rows), tmp_path, make_evaluator=make_evaluator).step == 20
    finally:
        signal.signal(signal.SIGTERM, before)
    assert (sent, killed) == ([True], [])
    assert load_trained(tmp_path, 20).step == 20


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
