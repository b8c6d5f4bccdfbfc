"""rmjax's training as a side: ``python -m benchmarks.side_training FOLDER``.

``{"steps": n}`` trains so many steps as ``rmjax.train`` would (its step, its pipeline, prefetched, the step never
waited for until the last) and answers with the time and what ``benchmarks.sides.pace`` needs; ``{"matmul": size}``
measures what a float32 product of two square matrices of that size reaches in this process.
"""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.sides import Answer, Clock, questions
from benchmarks.workload import VOCABULARY, Pairs, mean_pairs, read_folder
from rmjax.batches.batch import PreferenceBatch
from rmjax.batches.choose_row import choose_row_shape
from rmjax.batches.lengths import measure
from rmjax.batches.pipeline import DataState, PreferencePipeline
from rmjax.config import ExperimentConfig
from rmjax.models.reward import Params, RewardModel
from rmjax.training.optimizer import make_optimizer
from rmjax.training.parallel import make_model, make_parallel
from rmjax.training.processors import use_processors
from rmjax.training.state import TrainState
from rmjax.training.step import StepResult, make_train_step
from rmjax.training.strategy import Parallel

TakeStep = Callable[[TrainState, PreferenceBatch], tuple[TrainState, StepResult]]


def prepare(config: ExperimentConfig, params: Params) -> tuple[Parallel, TakeStep, TrainState]:
    """The compiled step of a run, and its state before the first step with the given parameters."""
    parallel, compiled, state = prepare_new(config, make_model(config.model, VOCABULARY))
    placed = jax.tree.map(lambda given, new: jax.device_put(given, new.sharding), params, state.params)
    return parallel, compiled, state.replace(params=placed)


def prepare_new(config: ExperimentConfig, model: RewardModel) -> tuple[Parallel, TakeStep, TrainState]:
    """The same with the parameters that a run begins with."""
    parallel = make_parallel(config)
    optimizer = make_optimizer(config.optimizer, config.steps)
    state = parallel.new_state(model, optimizer, config.seed)
    return parallel, parallel.compile_train(make_train_step(model, config, optimizer)), state


def stream(config: ExperimentConfig, parallel: Parallel, pairs: Pairs) -> Iterator[tuple[DataState, PreferenceBatch]]:
    """The batches of a run, on the device before they are asked for."""
    tokenized = pairs.tokenized()
    shape = choose_row_shape(measure(tokenized), config.batch)
    pipeline = PreferencePipeline(tokenized, shape, config.batch.rows, seed=config.seed)
    return parallel.prefetch(pipeline.batches(DataState()))


def matmul_flops(size: int, *, seconds: float = 1.0, dtype: str = "float32") -> float:
    """Floating-point operations a second of a matrix product, called until so many seconds are over."""
    left, right = jax.random.normal(jax.random.PRNGKey(0), (2, size, size), dtype)
    product = jax.jit(jnp.matmul)
    product(left, right).block_until_ready()
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        product(left, right).block_until_ready()
        count += 1
    return 2.0 * size**3 * count / (time.perf_counter() - began)


def answer_all(
    asked: Iterator[dict[str, Any]],
    answer: Callable[[Answer], None],
    prepared: tuple[Parallel, TakeStep, TrainState],
    config: ExperimentConfig,
    pairs: Pairs,
    *,
    dtype: str = "float32",
    about: Callable[[], Answer] = dict,
) -> None:
    """Answers every question; ``dtype`` is that of the measured products, ``about`` goes with what training took."""
    parallel, take_step, state = prepared
    pairs_per_step = mean_pairs(pairs, config.batch)
    with contextlib.closing(stream(config, parallel, pairs)) as batches:  # pyright: ignore[reportArgumentType] it is a generator
        for question in asked:
            if "matmul" in question:
                answer({"flops": matmul_flops(question["matmul"], dtype=dtype)})
            else:
                state, found = _train(take_step, state, batches, question["steps"])
                answer(found | {"pairs_per_work": pairs_per_step} | about())


def _train(
    take_step: TakeStep, state: TrainState, batches: Iterator[tuple[DataState, PreferenceBatch]], steps: int
) -> tuple[TrainState, Answer]:
    """The state after so many steps, and how long they took."""
    results = []
    clock = Clock()
    for _ in range(steps):
        _, batch = next(batches)
        state, result = take_step(state, batch)
        results.append(result)
    jax.block_until_ready(state)
    found = clock.read()
    sums = [result.sums for result in jax.device_get(results)]
    return state, found | {"pairs": float(sum(entry.comparisons for entry in sums)), "steps": steps, "work": steps}


def main(folder: Path) -> None:
    asked, answer = questions()
    config, _, pairs, params = read_folder(folder)
    use_processors(config)
    answer_all(asked, answer, prepare(config, params), config, pairs)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
