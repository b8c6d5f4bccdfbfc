"""The training loop: steps, metrics, validations and checkpoints, from a config to a trained model in a workdir.

A run resumes by itself from the newest checkpoint of its workdir and goes on as if it had never stopped: train state,
data state, learning rate and randomness are functions of the checkpoint, and ``metrics.jsonl`` is taken back to its
step. It may go on on other devices, in other processes, or under another strategy: the same run but for rounding and
for what dropout drops. At a SIGTERM or Ctrl-C the run saves after the step under way and ends the process with code 143
or 130 (see ``rmjax.training.preemption``). Where that step is one of validation, the run validates it when it resumes;
only a validation that has begun is finished first.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import jax
from absl import logging
from etils import epath

from rmjax.batches.batch import PreferenceBatch
from rmjax.batches.pipeline import DataState
from rmjax.batches.tokenized import TokenizedPreferences
from rmjax.config import ExperimentConfig, validate
from rmjax.files import check_bucket
from rmjax.models.reward import Params, RewardModel, parameter_count
from rmjax.training.begin import batches_from, begin
from rmjax.training.checkpoint import Checkpoints
from rmjax.training.data import TrainingData, prepare_data
from rmjax.training.environment import record_start
from rmjax.training.loss import Loss, pairwise_loss
from rmjax.training.meter import Meter, NonFiniteError
from rmjax.training.metrics_writer import MetricsWriter, check_sinks
from rmjax.training.optimizer import make_optimizer
from rmjax.training.parallel import make_model, make_parallel
from rmjax.training.preemption import Preempted, PreemptionNotice
from rmjax.training.pretrained import embedding_rows, with_architecture
from rmjax.training.processes import ended_by_a_lost_process
from rmjax.training.progress import Progress, in_words, warn_of_warmup
from rmjax.training.scoring_record import ScoringRecord, Validation, make_record
from rmjax.training.state import TrainState, all_finite
from rmjax.training.step import make_train_step
from rmjax.training.strategy import CompiledStep, Parallel
from rmjax.training.tuning import adapters_of, check_tuning, split
from rmjax.training.workdir import CHECKPOINTS, check_still_ours, open_workdir

Evaluator = Callable[[Params], Validation]
MakeEvaluator = Callable[[RewardModel, TokenizedPreferences, ExperimentConfig], Evaluator]


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainResult:
    """How a run ended.

    Attributes:
      step: the last step taken.
      best_step: the step of the best validation by ``config.best_by``, the earlier of equal ones.
      best_validation: the validation metrics of that step.
      workdir: where everything lies.
    """

    step: int
    best_step: int
    best_validation: dict[str, float]
    workdir: epath.Path


@dataclass(frozen=True, kw_only=True, slots=True)
class _Run:
    """What stays the same from step to step."""

    config: ExperimentConfig
    parallel: Parallel
    take_step: CompiledStep
    evaluate: Evaluator
    data: TrainingData
    meter: Meter
    writer: MetricsWriter
    checkpoints: Checkpoints
    progress: Progress
    preemption: PreemptionNotice


def train(
    config: ExperimentConfig, workdir: epath.PathLike, *, make_evaluator: MakeEvaluator, loss: Loss = pairwise_loss
) -> TrainResult:
    """Trains a reward model in ``workdir``, from its newest checkpoint if there is one.

    Args:
      config: validated first; a workdir of another config is refused.
      workdir: a folder, which is made where it doesn't exist.
      make_evaluator: given model, validation data and config, returns the function of the parameters that computes the
        validation metrics and rewards; ``config.best_by`` names the metric that the best checkpoint is chosen by.
        Rewards that are not finite are a FloatingPointError of that function.
      loss: of a batch's rewards.

    Raises:
      ConfigError, WorkdirError, RowError, FileError, DataSpecError, TokenizerError: for what can't be run, before
        anything is computed.
      NonFiniteError: where a loss, gradient, parameter or validation reward is NaN or infinite.
      CheckpointWriteError: where a checkpoint can't be written.
      WorkdirError: also where another run has taken the workdir before this one's first checkpoint.
      Preempted: (a SystemExit) after a SIGTERM or Ctrl-C, when everything has been saved.
    """
    validate(config)
    check_bucket(workdir)
    config = with_architecture(config, workdir)
    check_tuning(config)
    warn_of_warmup(config)
    check_sinks(config.logging)
    check_bucket(config.text.tokenizer or "")
    parallel = make_parallel(config)
    parallel.check_rows()
    with ended_by_a_lost_process(lambda: "nothing of this start has been computed yet"):
        folder = open_workdir(workdir, config)
        record_start(folder)
        data = prepare_data(config, folder)
    model = make_model(config.model, embedding_rows(config.model, data.contract), adapters_of(config))
    with (
        Checkpoints(folder / CHECKPOINTS, best_by=config.best_by) as checkpoints,
        ended_by_a_lost_process(checkpoints.last_good),
    ):
        _train(config, folder, data, model, loss, make_evaluator(model, data.validation, config), checkpoints, parallel)
        return _result(checkpoints, folder)


def _train(
    config: ExperimentConfig,
    folder: epath.Path,
    data: TrainingData,
    model: RewardModel,
    loss: Loss,
    evaluate: Evaluator,
    checkpoints: Checkpoints,
    parallel: Parallel,
) -> None:
    """From the newest checkpoint to the last step."""
    optimizer = make_optimizer(config.optimizer, config.steps)
    state, data_state = begin(config, model, optimizer, checkpoints, parallel)
    trained = parameter_count(jax.eval_shape(lambda params: split(params, config.tuning)[0], state.params))
    logging.info("the model has %d parameters, of which %d are trained", parameter_count(state.params), trained)
    start = int(state.step)
    if start >= config.steps:
        logging.info("the run is complete: all of its %d steps have been taken", start)
    validated = start > 0 and checkpoints.validation(start) is not None
    with (
        MetricsWriter(folder, config.logging, step=start, validated=validated) as writer,
        Progress(steps=config.steps, start=start) as progress,
        PreemptionNotice() as preemption,
        contextlib.closing(batches_from(config, data.train, data_state, parallel)) as batches,
    ):
        run = _Run(
            config=config,
            parallel=parallel,
            take_step=parallel.compile_train(make_train_step(parallel.fit(model), config, optimizer, loss)),
            evaluate=evaluate,
            data=data,
            meter=Meter(),
            writer=writer,
            checkpoints=checkpoints,
            progress=progress,
            preemption=preemption,
        )
        _loop(run, state, batches)
        checkpoints.wait()  # here, where a SIGTERM doesn't end the process before the last one is written


def _loop(run: _Run, state: TrainState, batches: Iterator[tuple[DataState, PreferenceBatch]]) -> None:
    """Takes the steps that are left."""
    steps, start = run.config.steps, int(state.step)
    if _lacks_validation(run.checkpoints, run.config):
        validation, record = _validate(run, start, state)
        run.writer.flush()
        run.checkpoints.add_validation(start, validation, record)
    run.meter.restart_clock()
    for step in range(start + 1, steps + 1):
        data_state, batch = next(batches)
        state, result = run.take_step(state, batch)
        run.meter.add(step, result)
        preempted = run.preemption.reached()
        validates = _is_validated(run.config, step)
        if validates or preempted:
            _save(run, step, state, data_state, validates=validates and not preempted)
            if preempted:
                run.checkpoints.wait()
                run.progress.say(f"{run.preemption.cause}: saved step {step}; the same command resumes from there")
                raise Preempted(step, run.preemption.number)
        elif step == start + 1:
            _report(run)  # alone, because its time is mostly that of compiling
        elif step % run.config.logging.progress_every == 0:
            _report(run, leave=1)


def _is_validated(config: ExperimentConfig, step: int) -> bool:
    """Whether it is a step's turn to be validated."""
    return step % config.evaluate_every == 0 or step == config.steps


def _lacks_validation(checkpoints: Checkpoints, config: ExperimentConfig) -> bool:
    """Whether the newest checkpoint is of a step whose validation a SIGTERM left no time for."""
    latest = checkpoints.latest_step()
    return latest is not None and _is_validated(config, latest) and checkpoints.validation(latest) is None


def _report(run: _Run, *, leave: int = 0) -> None:
    """Writes and shows the metrics of the steps taken so far, but for the ``leave`` newest."""
    shown = None
    try:
        for shown in run.meter.take(leave=leave):
            run.writer.write_step(*shown)
    except NonFiniteError as error:
        raise _explained(run, error) from None
    if shown is not None:
        run.progress.show(*shown)


def _explained(run: _Run, error: NonFiniteError) -> NonFiniteError:
    """The error with what is left of the run, and what could be changed."""
    return NonFiniteError(
        error.step,
        f"{error}; training has stopped, and {run.checkpoints.last_good()}. The same config would meet the same batch "
        "again: try, in a new workdir, a lower config.optimizer.learning_rate, more config.optimizer.warmup_steps, a "
        "lower config.optimizer.clip_norm, or float32 as config.model.compute_dtype, and look for extreme margins or "
        "weights in the data.",
    )


def _validate(run: _Run, step: int, state: TrainState) -> tuple[dict[str, float], ScoringRecord]:
    """The validation metrics, written and shown, and the record; NonFiniteError where there can't be any."""
    try:
        validation, rewards = run.evaluate(state.params)
    except FloatingPointError as error:
        raise _explained(run, NonFiniteError(step, f"validation after step {step}: {error}")) from None
    run.writer.write_validation(step, validation)
    run.progress.say(f"step {step}: validation {in_words(validation)}")
    return validation, make_record(rewards, run.data.validation, run.data.golden)


def _save(run: _Run, step: int, state: TrainState, data_state: DataState, *, validates: bool) -> None:
    """Saves a step, validated where it is its turn. The metrics up to it are on the disk before the checkpoint is."""
    _report(run)
    if not all_finite(state):  # the loss was, but what the optimizer made of its gradient isn't
        error = NonFiniteError(step, f"the parameters or the optimizer's state after step {step} are not finite")
        raise _explained(run, error)
    validation, record = _validate(run, step, state) if validates else (None, None)
    run.writer.flush()
    check_still_ours(run.checkpoints.directory.parent, run.config)
    shared, place = run.parallel.to_shared(state), data_state._asdict()
    run.checkpoints.save(step, shared, data=place, validation=validation, record=record)
    run.meter.restart_clock()


def _result(checkpoints: Checkpoints, workdir: epath.Path) -> TrainResult:
    """The last step of a finished run was validated, so there is a best one."""
    last, best = checkpoints.latest_step(), checkpoints.best_step()
    assert last is not None
    assert best is not None
    validation = checkpoints.validation(best)
    assert validation is not None
    return TrainResult(step=last, best_step=best, best_validation=validation, workdir=workdir)
