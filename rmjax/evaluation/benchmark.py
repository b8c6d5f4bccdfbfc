"""Every model on a benchmark of the field: what ``python -m rmjax.evaluate --benchmark=…`` runs."""

import enum
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
from absl import logging
from jaxtyping import Float64

from rmjax.batches.contract import TextContract, TextGroup
from rmjax.batches.limits import LimitError
from rmjax.batches.tokenize import tokenize_responses, warn_of_cut_prompts
from rmjax.config import OnError
from rmjax.errors import remedied
from rmjax.evaluation import reward_bench, reward_bench_2, rm_bench
from rmjax.evaluation.benchmark_result import BenchmarkResult, in_words
from rmjax.evaluation.benchmark_rows import BenchmarkData, read_benchmark
from rmjax.evaluation.benchmark_rule import BenchmarkRow, BenchmarkRule, ScoredRow
from rmjax.evaluation.evaluate import EvaluationError, check_names
from rmjax.evaluation.golden import trusted_computer
from rmjax.files import check_bucket
from rmjax.model_config import ComputeDtype, fault_of_head
from rmjax.preferences.record import Message, RowError
from rmjax.training.portable import config_of, load_model
from rmjax.training.trained import TrainedModel

SKIPPING = "--on_error=skip leaves such rows out, and the score is a partial one then"


class Benchmark(enum.Enum):
    """The benchmarks of the field that can be run."""

    REWARD_BENCH = "reward_bench"
    REWARD_BENCH_2 = "reward_bench_2"
    RM_BENCH = "rm_bench"


RULES: dict[Benchmark, BenchmarkRule] = {
    Benchmark.REWARD_BENCH: reward_bench.RULE,
    Benchmark.REWARD_BENCH_2: reward_bench_2.RULE,
    Benchmark.RM_BENCH: rm_bench.RULE,
}


def evaluate_benchmark(
    workdirs: Sequence[str],
    paths: Sequence[str],
    *,
    benchmark: Benchmark,
    head: str | None = None,
    step: int | None = None,
    on_error: OnError | None = None,
    compute_dtype: ComputeDtype = ComputeDtype.FLOAT32,
    each: Callable[[BenchmarkResult], None] = lambda result: None,
) -> list[BenchmarkResult]:
    """Evaluates every model on a benchmark, one model at a time in memory.

    Prompts and responses are read as messages of user and assistant, through each model's own text contract. Of a
    prompt beyond the model's limit the last tokens are read, as always, and such prompts are counted.

    Args:
      workdirs: runs; of each the best checkpoint by the run's ``config.best_by``, unless ``step`` says otherwise.
      paths: the published files, globs or folders of them, all together the benchmark.
      benchmark: which one.
      head: the reward head that is read; needed where a model has several.
      step: the checkpoint of every run that is evaluated.
      on_error: ``SKIP`` leaves rows out that can't be used, or have a response beyond a model's limit, and counts
        them; else the first is an error.
      compute_dtype: as ``load_trained`` has it, whatever the runs were trained in.
      each: called with every result as soon as it is there.

    Returns:
      The results, models in order.

    Raises:
      EvaluationError: for names given twice, for a head that a model doesn't have, and where no row is left.
      FileError, RowError: for files that can't be read.
      WorkdirError, CheckpointError: where there is no trained model.
      NonFiniteRewardsError: where a reward is NaN or infinite.
    """
    check_names("workdir", workdirs)
    check_names("data", paths)
    for workdir in workdirs:
        check_bucket(workdir)
    on_error = on_error or OnError.ERROR
    rule, results = RULES[benchmark], []
    numbers = {workdir: _head_number(workdir, config_of(workdir).model.reward_heads, head) for workdir in workdirs}
    with remedied(RowError, lambda _: SKIPPING):
        data = read_benchmark(paths, rule, on_error=on_error)
    for workdir in workdirs:
        trained = load_model(workdir, step, compute_dtype=compute_dtype)
        logging.info("%s: evaluating step %d on %s", workdir, trained.step, benchmark.value)
        scored, left_out, cut = score_rows(trained, data, numbers[workdir], on_error)
        if not scored:
            raise EvaluationError(f"model {workdir}: no row is left to evaluate, all were left out ({dict(left_out)})")
        warn_of_cut_prompts(benchmark.value, cut, trained.contract.max_prompt_tokens)
        for kind, count in sorted(left_out.items()):
            logging.warning("%s: %d rows left out: %s", benchmark.value, count, kind)
        result = BenchmarkResult(
            model=workdir, benchmark=benchmark.value, data=tuple(paths), step=trained.step, head=head, rule=rule,
            scores=rule.score(scored), rows=Counter(row.subset for row in scored), left_out=left_out, cut_prompts=cut,
        )  # fmt: skip
        results.append(result)
        each(result)
    for result in results:
        logging.info("%s", in_words(result))
    return results


def score_rows(
    trained: TrainedModel, data: BenchmarkData, head: int, on_error: OnError
) -> tuple[list[ScoredRow], Counter[str], int]:
    """(the rows with their rewards, those left out by kind of fault, how many prompts were cut).

    Equal responses to a prompt are computed once, so that they have equal rewards to the last bit: the rules ask which
    is greater.
    """
    groups = [_group(row) for row in data.rows]
    try:
        tokenized = tokenize_responses(groups, trained.contract, on_error=on_error)
    except LimitError as error:
        raise _explained(error, trained, groups) from None
    rewards = trusted_computer(trained)(trained.params, tokenized)[:, head].astype(np.float64)
    found: list[dict[int, float]] = [{} for _ in groups]
    for (record, response), reward in zip(tokenized.response_origin.tolist(), rewards.tolist(), strict=True):
        found[record][response] = reward
    scored, left_out = [], Counter(data.left_out)
    for row, group, values in zip(data.rows, groups, found, strict=True):
        if len(values) == len(group.responses):
            reward_of = {response: values[place] for place, response in enumerate(_distinct(row))}
            scored.append(_scored(row, reward_of))
        else:
            left_out[_fault(trained.contract, group)] += 1
    return scored, left_out, tokenized.cut_prompts


def _distinct(row: BenchmarkRow) -> tuple[tuple[Message, ...], ...]:
    """The responses of a row, each once."""
    return tuple(dict.fromkeys((*row.chosen, *row.rejected)))


def _group(row: BenchmarkRow) -> TextGroup:
    responses = _distinct(row)
    return TextGroup(row.prompt, responses, row.origin, ("prompt", *(_field(row, response) for response in responses)))


def _scored(row: BenchmarkRow, reward_of: dict[tuple[Message, ...], float]) -> ScoredRow:
    def rewards(responses: tuple[tuple[Message, ...], ...]) -> Float64[np.ndarray, "responses"]:
        return np.array([reward_of[response] for response in responses], np.float64)

    return ScoredRow(subset=row.subset, key=row.key, chosen=rewards(row.chosen), rejected=rewards(row.rejected))


def _fault(contract: TextContract, group: TextGroup) -> str:
    """The kind of the first fault of a row that was left out."""
    (encoded,) = contract.encode_many([group])
    return next(fault.kind for fault in encoded.faults if fault is not None)


def _explained(error: LimitError, trained: TrainedModel, groups: Sequence[TextGroup]) -> LimitError:
    """The error with what helps against it."""
    error.survey(fault for encoded in trained.contract.encode_many(groups) for fault in encoded.faults)
    them = "it" if error.count == 1 else f"all {error.count} such texts"
    longer = f"a model trained with {error.flags(trained.config)} takes {them}"
    error.remedy = f"{longer if trained.step else f'its limits are {trained.limits}'}; {SKIPPING}"
    return error


def _field(row: BenchmarkRow, response: tuple[Message, ...]) -> str:
    """The field of a row that holds one of its responses."""
    for name, responses in (("chosen", row.chosen), ("rejected", row.rejected)):
        if response in responses:
            return name if len(row.chosen) == len(row.rejected) == 1 else f"{name}[{responses.index(response)}]"
    raise AssertionError("it is one of the row's")


def _head_number(workdir: str, heads: tuple[str, ...], head: str | None) -> int:
    if fault := fault_of_head(head, heads):
        raise EvaluationError(f"model {workdir} {fault}")
    return 0 if head is None else heads.index(head)
