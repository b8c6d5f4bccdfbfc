"""What a run begins with, or goes on with: its state, and the batches from there on."""

from collections.abc import Generator

import optax
from absl import logging

from rmjax.batches.batch import PreferenceBatch
from rmjax.batches.choose_row import choose_row_shape
from rmjax.batches.lengths import measure
from rmjax.batches.pipeline import DataState, PreferencePipeline
from rmjax.batches.tokenized import TokenizedPreferences
from rmjax.config import ExperimentConfig
from rmjax.models.reward import RewardModel
from rmjax.training.checkpoint import Checkpoints
from rmjax.training.pretrained import pretrained_params
from rmjax.training.state import TrainState
from rmjax.training.strategy import Parallel


def begin(
    config: ExperimentConfig,
    model: RewardModel,
    optimizer: optax.GradientTransformation,
    checkpoints: Checkpoints,
    parallel: Parallel,
) -> tuple[TrainState, DataState]:
    """The newest checkpoint's states, or those that a run begins with."""
    latest = checkpoints.latest_step()
    if latest is None:
        params = pretrained_params(config, model, parallel)
        return parallel.new_state(model, optimizer, config.seed, params), DataState(epoch=0, step=0)
    restored = checkpoints.restore(latest, parallel.abstract_state(model, optimizer))
    logging.info("resumed from step %d", latest)
    return parallel.to_own(restored.state), DataState(**restored.data)


def batches_from(
    config: ExperimentConfig, tokenized: TokenizedPreferences, start: DataState, parallel: Parallel
) -> Generator[tuple[DataState, PreferenceBatch], None, None]:
    """(the data state after it, batch on the devices), endless."""
    lengths = measure(tokenized)
    shape = choose_row_shape(lengths, config.batch)
    pipeline = PreferencePipeline(
        tokenized,
        shape,
        config.batch.rows,
        seed=config.seed,
        own_rows=parallel.own_rows(config.batch.rows),
        lengths=lengths,
    )
    steps = pipeline.steps_in(start.epoch)
    logging.info(
        "rows of %d tokens for up to %d responses and %d comparisons; %d rows a step with %.1f comparisons on average, "
        "%d steps in an epoch (%.1f %% of their token slots filled, with the last one's empty rows), %.1f epochs",
        shape.length, shape.responses, shape.comparisons, config.batch.rows, len(lengths.left) / steps,
        steps, 100 * pipeline.fill(start.epoch), config.steps / steps,
    )  # fmt: skip
    yield from parallel.prefetch(pipeline.batches(start))
