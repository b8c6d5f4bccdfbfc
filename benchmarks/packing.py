"""How full rows are, what packing saves, and whether the pipeline keeps up with the step.

    GLIBC_TUNABLES=glibc.malloc.hugetlb=1 python -m benchmarks.packing --manual_dir=FOLDER \
      --alpaca_eval='FOLDER/*/annotations.json.gz' [--steps=40]

One JSON line for HH in rows of 1024 and one for AlpacaEval in rows of 2048, where the rows of one instruction are one
group:

- ``dropped_comparisons``: those that fit no row, left out of all other figures;
- ``fill``: the share of token slots of an epoch that hold a token, the empty rows of the last step included;
- ``distinct_tokens``: each prompt once; ``laid_tokens``: with the prompts that parts of a split group repeat;
- ``padded_tokens``: what a trainer computes that pads batches of 16 comparisons, shuffled, to the longest of both
  sides; ``repeated_tokens``: the same without any padding;
- ``host_tokens_per_second``: of the pipeline alone over an epoch, its planning included (``plan_seconds`` of it);
- ``step_tokens_per_second``, ``waiting``: of ``--steps`` training steps, each waited for before the next batch is
  taken: the share of their time that ``next(batches)`` took; ``host_over_step``: how many times faster the pipeline is.
"""

import contextlib
import dataclasses
import json
import time
from collections.abc import Iterable
from itertools import islice

import jax
import numpy as np
from absl import app, flags, logging

from benchmarks import workload
from benchmarks.arithmetic import distinct_tokens
from benchmarks.representative import padded_tokens
from benchmarks.side_training import prepare
from benchmarks.sides import Answer, use_threads
from rmjax.batches.choose_row import choose_row_shape
from rmjax.batches.contract import TextContract
from rmjax.batches.lengths import measure
from rmjax.batches.pipeline import DataState, PreferencePipeline
from rmjax.batches.tokenize import tokenize
from rmjax.batches.tokenized import TokenizedPreferences
from rmjax.config import ExperimentConfig, OnError
from rmjax.preferences.groups import RowDefaults
from rmjax.preferences.merge import merge_prompts
from rmjax.preferences.read import read_preferences
from rmjax.preferences.record import Preference, Source
from rmjax.training.processors import use_processors

_MANUAL_DIR = flags.DEFINE_string("manual_dir", None, "HH in the published layout.", required=True)
_ALPACA_EVAL = flags.DEFINE_string("alpaca_eval", None, "Annotation files of AlpacaEval, a glob.", required=True)
_MODEL = flags.DEFINE_string("model", "4x256", "The model whose step the pipeline must keep up with.")
_STEPS = flags.DEFINE_integer("steps", 40, "Training steps that are timed, after two of warm-up; 0 for none.")
_ROW_TOKENS = flags.DEFINE_integer("step_tokens", 4096, "Token slots of a step, in rows of either length.")
_THREADS = flags.DEFINE_integer("threads", 2, "Processors.")

_SHORT, _LONG = 1024, 2048  # row lengths; a step has twice as many of the short ones, so both go round over the devices


def read_alpaca_eval(pattern: str) -> list[Preference]:
    """One group for each instruction, with the responses of all generators, shuffled."""
    defaults = RowDefaults(dimension="helpfulness", source=Source.AI)
    groups = merge_prompts(read_preferences(pattern, defaults=defaults))
    order = np.random.default_rng(0).permutation(len(groups))
    return [groups[place] for place in order.tolist()]


def fitting(
    preferences: Iterable[Preference], contract: TextContract, row_length: int
) -> tuple[TokenizedPreferences, int]:
    """Tokenized, without the comparisons that no row can hold, and how many these are."""
    limits = dataclasses.replace(contract, max_prompt_tokens=1 << 20, max_response_tokens=1 << 20)
    listed = list(preferences)
    found = tokenize(listed, limits, on_error=OnError.SKIP)
    too_long = measure(found).comparison_tokens > row_length
    dropped = {tuple(origin) for origin in found.comparison_origin[too_long].tolist()}
    kept = []
    for index, preference in enumerate(listed):
        comparisons = tuple(
            comparison for place, comparison in enumerate(preference.comparisons) if (index, place) not in dropped
        )
        if comparisons:
            kept.append(dataclasses.replace(preference, comparisons=comparisons))
    return tokenize(kept, limits, on_error=OnError.SKIP), len(dropped)


def counts(tokenized: TokenizedPreferences) -> Answer:
    """Distinct, repeated and padded tokens."""
    lengths = np.diff(tokenized.response_offsets)
    sequences = np.stack([lengths[tokenized.left], lengths[tokenized.right]], axis=1)
    sequences = sequences[np.random.default_rng(0).permutation(len(sequences))]
    distinct, padded = distinct_tokens(measure(tokenized)), int(padded_tokens(sequences, workload.PAIRS_PER_STEP).sum())
    return {
        "groups": tokenized.groups,
        "responses": tokenized.responses,
        "comparisons": tokenized.comparisons,
        "distinct_tokens": distinct,
        "repeated_tokens": int(sequences.sum()),
        "padded_tokens": padded,
        "padded_over_distinct": padded / distinct,
    }


def pipeline_speed(pipeline: PreferencePipeline) -> Answer:
    """An epoch of the pipeline with nobody behind it; epoch 1, which hasn't been planned yet."""
    began = time.perf_counter()
    steps = pipeline.steps_in(1)
    planned = time.perf_counter()
    with contextlib.closing(pipeline.batches(DataState(epoch=1))) as batches:  # pyright: ignore[reportArgumentType] it is a generator
        tokens = sum(int((batch.visible_until > 0).sum()) for _, batch in islice(batches, steps))
    seconds = time.perf_counter() - began
    return {"host_tokens_per_second": tokens / seconds, "plan_seconds": planned - began, "laid_tokens": tokens}


def waiting(config: ExperimentConfig, pipeline: PreferencePipeline) -> Answer:
    """How long training steps wait for their batch."""
    parallel, take_step, state = prepare(config, workload.initial_params(config.model, 0))
    waited = computed = tokens = 0.0
    with contextlib.closing(parallel.prefetch(pipeline.batches(DataState()))) as batches:  # pyright: ignore[reportArgumentType] it is a generator
        for number in range(2 + _STEPS.value):
            began = time.perf_counter()
            _, batch = next(batches)
            given = time.perf_counter()
            state, result = jax.block_until_ready(take_step(state, batch))
            if number >= 2:
                waited += given - began
                computed += time.perf_counter() - given
                tokens += float(result.sums.tokens)
    return {"step_tokens_per_second": tokens / (waited + computed), "waiting": waited / (waited + computed)}


def make_config(row_length: int) -> ExperimentConfig:
    """The experiment whose step is timed, as ``benchmarks.throughput`` has it but for the shape of its rows."""
    config = workload.trained_as_trl(_MODEL.value)
    config.batch.row_length = row_length
    config.batch.rows = max(1, _ROW_TOKENS.value // _LONG) * (_LONG // row_length)
    return config


def case(name: str, preferences: Iterable[Preference], config: ExperimentConfig) -> Answer:
    """The line of a data set."""
    row_length = config.batch.row_length
    assert row_length is not None, "make_config gives it"
    listed = list(preferences)
    tokenized, dropped = fitting(listed, workload.make_contract(listed), row_length)
    shape = choose_row_shape(measure(tokenized), config.batch)
    pipeline = PreferencePipeline(tokenized, shape, config.batch.rows, seed=0)
    line = {"data": name, "row_length": row_length, "rows": config.batch.rows, "fill": pipeline.fill(0)}
    line["dropped_comparisons"] = dropped
    line |= {"split_groups": pipeline.plan(0).split_groups, "slots": [shape.responses, shape.comparisons]}
    line |= counts(tokenized) | pipeline_speed(pipeline)
    if _STEPS.value:
        line |= {"model": _MODEL.value, **waiting(config, pipeline)}
        line["host_over_step"] = line["host_tokens_per_second"] / line["step_tokens_per_second"]
    return line


def main(_: list[str]) -> None:
    logging.set_verbosity(logging.WARNING)
    use_threads(_THREADS.value)
    use_processors(make_config(_LONG))
    hh = workload.read_hh(_MANUAL_DIR.value, seed=0)
    print(json.dumps(case("hh", hh, make_config(_SHORT))), flush=True)
    alpaca = read_alpaca_eval(_ALPACA_EVAL.value)
    print(json.dumps(case("alpaca_eval", alpaca, make_config(_LONG))), flush=True)


if __name__ == "__main__":
    app.run(main)
