"""The same losses as TRL's RewardTrainer, step by step, from the same weights on TRL's own batches in its order.

    python -m benchmarks.parity --manual_dir=FOLDER [--models=4x256] [--steps=20]

TRL trains first and notes which 16 pairs each step had (they come to it as ``chosen_ids`` and ``rejected_ids``) and
its loss. rmjax then lays exactly those pairs into as many rows as they need. Both have AdamW with transformers'
defaults (0.9, 0.999, 1e-8, no decay unless ``--weight_decay`` says so, norms never decayed), a learning rate that falls
in a line to zero, gradients clipped to norm 1, float32, no dropout.

One JSON line for each step: ``model, step, trl, rmjax, relative_difference``; a last one with the largest difference.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from absl import app, flags

from benchmarks import workload
from benchmarks.side_training import prepare
from benchmarks.sides import PEERS
from benchmarks.trl_options import LEARNING_RATE, TrlOptions
from rmjax.batches.batch import PreferenceBatch
from rmjax.batches.lengths import measure
from rmjax.batches.packing import pack, plan_epoch
from rmjax.batches.row_shape import RowShape
from rmjax.config import BatchConfig, ExperimentConfig, Schedule

_MANUAL_DIR = flags.DEFINE_string("manual_dir", None, "HH in the published layout.", required=True)
_MODELS = flags.DEFINE_list("models", ["4x256"], "Which models.")
_STEPS = flags.DEFINE_integer("steps", 20, "Steps of both.")
_LEARNING_RATE = flags.DEFINE_float("learning_rate", LEARNING_RATE, "Of the first step.")
_WEIGHT_DECAY = flags.DEFINE_float("weight_decay", 0.0, "Of matrices.")
_THREADS = flags.DEFINE_integer("threads", 2, "Processors of each side.")
_SEED = flags.DEFINE_integer("seed", 0, "Of the weights and the shuffling.")


def make_config(name: str, pairs: workload.Pairs) -> ExperimentConfig:
    """rmjax's experiment with TRL's optimizer."""
    config = ExperimentConfig(seed=_SEED.value, steps=_STEPS.value, model=workload.MODELS[name])
    config.batch = workload.choose_batch(pairs, None, None)
    config.text.max_prompt_tokens = config.text.max_response_tokens = workload.LONGEST
    optimizer = config.optimizer = workload.optimizer_of_trl()
    optimizer.learning_rate, optimizer.weight_decay = _LEARNING_RATE.value, _WEIGHT_DECAY.value
    optimizer.warmup_steps, optimizer.schedule = 0, Schedule.LINEAR
    return config


def trl_steps(stage: workload.Stage) -> tuple[list[float], list[list[int]]]:
    """The loss of each of TRL's steps, and the pairs it was of."""
    options = TrlOptions(
        total_steps=_STEPS.value,
        pairs_per_step=workload.PAIRS_PER_STEP,
        gradient_checkpointing=False,
        learning_rate=_LEARNING_RATE.value,
        weight_decay=_WEIGHT_DECAY.value,
        seed=_SEED.value,
        threads=_THREADS.value,
    )
    with stage.side("benchmarks.peer_trl", options.to_json(), python=PEERS) as peer:
        answer = peer.ask(steps=_STEPS.value)
    return answer["losses"], answer["batches"]


def lay(pairs: workload.Pairs, steps: list[list[int]], batch: BatchConfig) -> list[PreferenceBatch]:
    """The pairs of each step in rows, all steps in as many rows as the fullest needs: one shape, compiled once."""
    assert batch.row_length is not None, "choose_batch has chosen it"
    count = max(map(len, steps))
    shape = RowShape(length=batch.row_length, responses=2 * count, comparisons=count)
    laid = [pairs.taken(step).tokenized() for step in steps]
    plans = [plan_epoch(measure(tokenized), shape, seed=0, epoch=0) for tokenized in laid]
    rows = max(plan.rows for plan in plans)
    return [
        pack(tokenized, plan, np.where(np.arange(rows) < plan.rows, np.arange(rows), -1))
        for tokenized, plan in zip(laid, plans, strict=True)
    ]


def rmjax_losses(config: ExperimentConfig, folder: Path, batches: list[PreferenceBatch]) -> Iterator[float]:
    """The mean loss of each step, before its update."""
    _, _, _, params = workload.read_folder(folder)
    _, take_step, state = prepare(config, params)
    for batch in batches:
        state, result = take_step(state, batch)
        yield float(result.sums.loss) / float(result.sums.weight)


def compare(name: str, config: ExperimentConfig, stage: workload.Stage, pairs: workload.Pairs) -> None:
    """Prints the lines of a model."""
    trl, steps = trl_steps(stage)
    ours = rmjax_losses(config, stage.folder, lay(pairs, steps[: len(trl)], config.batch))
    worst = 0.0
    for number, (theirs, own) in enumerate(zip(trl, ours, strict=True), 1):
        difference = abs(own - theirs) / abs(theirs)
        worst = max(worst, difference)
        line = {"model": name, "step": number, "trl": theirs, "rmjax": own, "relative_difference": difference}
        print(json.dumps(line), flush=True)
    print(json.dumps({"model": name, "steps": len(trl), "largest_relative_difference": worst}), flush=True)


def main(_: list[str]) -> None:
    hh = workload.open_hh(_MANUAL_DIR.value, seed=_SEED.value, threads=_THREADS.value)
    for name in _MODELS.value:
        config = make_config(name, hh.pairs)
        with workload.set_stage(hh, name, config) as stage:
            compare(name, config, stage, hh.pairs)


if __name__ == "__main__":
    app.run(main)
