"""Every model on every data set: what ``python -m rmjax.evaluate`` runs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from absl import logging
from etils import epath
from jaxtyping import Float32

from rmjax.batches.contract import TextContract
from rmjax.batches.tokenize import tokenize, warn_of_cut_prompts
from rmjax.batches.tokenized import TokenizedPreferences
from rmjax.config import ExperimentConfig, OnError
from rmjax.datasets.open import open_preferences
from rmjax.errors import UserError
from rmjax.evaluation.golden import trusted_computer
from rmjax.evaluation.measure import (
    Evaluation,
    JudgedPairs,
    Measurement,
    in_words,
    judged_pairs,
    measure,
    measure_heads,
)
from rmjax.evaluation.report import read_curve, write_report
from rmjax.evaluation.rewards import RewardComputer
from rmjax.files import check_bucket
from rmjax.model_config import ComputeDtype, fault_of_head
from rmjax.models.reward import mean_of_members
from rmjax.preferences.labels import check_labels
from rmjax.preferences.record import PreferenceSet, sources
from rmjax.training.portable import config_of, load_model, run_of
from rmjax.training.trained import TrainedModel

ALL_HEADS = "all"


class EvaluationError(UserError):
    """A model that can't be evaluated on a data set: the message names both and says what would be right."""


class DataSets:
    """Data sets that are opened once, and tokenized once for each text contract that differs.

    A model's own config says of which dimension rows are that name none, and what happens to rows that can't be used.
    Rows of one prompt stay apart, for every model: a group's comparisons say the same of a model as the rows do, and
    models that merged their rows are evaluated on the same ones as models that didn't.
    """

    def __init__(self, *, data_dir: str | None, manual_dir: str | None):
        self._places = {"data_dir": data_dir, "manual_dir": manual_dir, "merge_prompts": False}
        self._opened: dict[tuple[str, str, OnError, bool], PreferenceSet] = {}
        self._tokenized: dict[tuple, tuple[TokenizedPreferences, JudgedPairs]] = {}

    def open(self, spec: str, config: ExperimentConfig) -> PreferenceSet:
        """The preferences of a data spec; a data set with nothing in it is an error, and so are checks of attention."""
        key = (spec, config.dimension, config.data.on_error, config.data.transcripts_as_messages)
        if key not in self._opened:
            data = replace(config.data, **self._places)
            opened = open_preferences(spec, data, dimension=config.dimension)
            check_labels(opened)
            self._opened[key] = opened
        return self._opened[key]

    def tokenize(
        self, spec: str, config: ExperimentConfig, contract: TextContract, heads: tuple[str, ...] = ()
    ) -> tuple[TokenizedPreferences, JudgedPairs]:
        """The data set as a model reads it, each comparison on the head of its dimension among ``heads``, if any."""
        on_error = config.data.on_error
        limits = (contract.max_prompt_tokens, contract.max_response_tokens, contract.template, contract.special)
        read = (spec, config.dimension, on_error, config.data.transcripts_as_messages)
        key = (*read, contract.tokenizer.to_str(), *limits, heads)
        if key not in self._tokenized:
            preferences = self.open(spec, config).preferences
            tokenized = tokenize(preferences, contract, heads=heads, on_error=on_error)
            warn_of_cut_prompts(spec, tokenized.cut_prompts, contract.max_prompt_tokens)
            for kind, count in sorted(tokenized.skipped.items()):
                logging.warning("%s: %d comparisons skipped: %s", spec, count, kind)
            self._tokenized[key] = tokenized, judged_pairs(tokenized, preferences)
        return self._tokenized[key]


def evaluate(
    workdirs: Sequence[str],
    specs: Sequence[str],
    *,
    heads: Sequence[str] | None = None,
    step: int | None = None,
    data_dir: str | None = None,
    manual_dir: str | None = None,
    on_error: OnError | None = None,
    compute_dtype: ComputeDtype = ComputeDtype.FLOAT32,
    report: epath.PathLike | None = None,
    each: Callable[[Evaluation], None] = lambda evaluation: None,
) -> list[Evaluation]:
    """Evaluates every model on every data set, one model at a time in memory.

    Args:
      workdirs: runs, or models in Hugging Face's format; of each run the best checkpoint by its ``config.best_by``,
        unless ``step`` says otherwise.
      specs: data specs. What they were judged on may differ from what a model was trained on: that is the
        cross-dimension matrix. Rows that name no dimension are taken to be of each model's own.
      heads: the reward heads on each of which all comparisons of every data set are read, whatever they were judged on:
        that is the matrix from one model. ``["all"]`` stands for all that a model has. A single head without a name
        has that of the dimension it was trained on. None reads each comparison on the head of its dimension.
      step: the checkpoint of every run that is evaluated.
      data_dir, manual_dir: where data sets lie; None is where the first model's config has them.
      on_error: what happens to rows that can't be used and to responses beyond a model's limits; None is what each
        model's config says of its own data.
      compute_dtype: as ``load_trained`` has it, whatever the runs were trained in.
      report: a folder for the report; None writes none.
      each: called with every evaluation as soon as it is there.

    Returns:
      The evaluations, models in order, the data sets of each in order, and of each of these the heads in order.

    Raises:
      EvaluationError: for names given twice, for a head that a model doesn't have, for data that it has none for where
        none is chosen, or that it can't read a row of.
      WorkdirError, CheckpointError: where there is no trained model.
      DataSpecError, FileError, RowError: for data that can't be read.
      NonFiniteRewardsError: where a reward is NaN or infinite.
    """
    check_names("workdir", workdirs)
    check_names("data", specs)
    for path in (*workdirs, *specs, data_dir, manual_dir, report):
        check_bucket(path or "")
    chosen = _chosen_heads(workdirs, heads)
    evaluations, sets = [], None
    for workdir in workdirs:
        trained = load_model(workdir, step, compute_dtype=compute_dtype)
        logging.info("%s: evaluating step %d", workdir, trained.step)
        own = trained.config.data
        sets = sets or DataSets(data_dir=data_dir or own.data_dir, manual_dir=manual_dir or own.manual_dir)
        compute = trusted_computer(trained)
        for spec in specs:
            for found in evaluate_one(workdir, trained, compute, spec, sets, heads=chosen[workdir], on_error=on_error):
                evaluations.append(found)
                each(found)
    _log_differences(evaluations)
    page = None
    if report is not None:
        curves = [curve for curve in map(read_curve, workdirs) if curve is not None]
        page = write_report(report, evaluations, curves)
    for evaluation in evaluations:
        logging.info("%s", in_words(evaluation))
    if page is not None:
        logging.info("report: %s", page)
    return evaluations


def check_names(flag: str, given: Sequence[str]) -> None:
    """EvaluationError where nothing was given, or an empty name, or one twice."""
    if not given or len(set(given)) != len(given) or not all(given):
        raise EvaluationError(f"--{flag} is {','.join(given)!r}; it must be one or more that differ from each other")


def _chosen_heads(workdirs: Sequence[str], heads: Sequence[str] | None) -> dict[str, dict[str, int] | None]:
    """By model which of its outputs the heads are, None of None; EvaluationError for one that a model doesn't have.

    Of all models before any of them is loaded, so that the last one's fault is not found after hours.
    """
    if heads is not None:
        check_names("head", heads)
    return {workdir: _chosen(workdir, config_of(workdir), heads) for workdir in workdirs}


def _chosen(workdir: str, config: ExperimentConfig, heads: Sequence[str] | None) -> dict[str, int] | None:
    if heads is None:
        return None
    own = config.model.reward_heads or (config.dimension,)
    wanted = own if list(heads) == [ALL_HEADS] else heads
    for head in wanted:
        if fault := fault_of_head(head, own):
            raise EvaluationError(f"model {workdir} {fault}, or {ALL_HEADS} alone")
    return {head: own.index(head) for head in wanted}


def evaluate_one(
    workdir: str,
    trained: TrainedModel,
    compute: RewardComputer,
    spec: str,
    sets: DataSets,
    *,
    heads: Mapping[str, int] | None = None,
    on_error: OnError | None = None,
) -> list[Evaluation]:
    """One model on one data set, once for each of ``heads``, which names outputs of the model.

    Without them it is once: a model with several reward heads is read on that of each comparison's dimension.
    """
    config = trained.config
    by_dimension = config.model.reward_heads if heads is None and len(config.model.reward_heads) > 1 else ()
    if spec in config.data.train:
        logging.warning("%s was trained on %s: what is found there says nothing of other rows", workdir, spec)
    if on_error is not None:
        config = replace(config, data=replace(config.data, on_error=on_error))
    preferences = sets.open(spec, config)
    judged_on = {preference.dimension for preference in preferences}
    dimensions = "+".join(sorted(judged_on))
    if by_dimension and not judged_on <= {*by_dimension}:
        raise EvaluationError(
            f"model {workdir} has the reward heads {', '.join(by_dimension)}, but {spec} was judged on {dimensions}; "
            "right would be data of dimensions that it has heads for, or --head, which says on which all data are read"
        )
    tokenized, pairs = sets.tokenize(spec, config, trained.contract, by_dimension)
    if not tokenized.comparisons:
        raise EvaluationError(
            f"model {workdir} on {spec}: nothing is left to evaluate, every comparison was skipped "
            f"({dict(tokenized.skipped)})"
        )
    found = _measured(compute.members(trained.params, tokenized), pairs, by_dimension, heads)
    skipped, kept = (preferences.skipped + tokenized.skipped).total(), _kept(preferences, tokenized)
    return [
        Evaluation(
            model=workdir, head=head, run=run_of(workdir), step=trained.step, data=spec, dimension=dimensions,
            source=sources(preferences), comparisons=tokenized.comparisons, skipped=skipped, measurement=measurement,
            kept=kept,
        )
        for head, measurement in found.items()
    ]  # fmt: skip


def _measured(
    members: Float32[np.ndarray, "responses heads members"],
    pairs: JudgedPairs,
    by_dimension: Sequence[str],
    heads: Mapping[str, int] | None,
) -> dict[str | None, Measurement]:
    """By chosen head what is found there; without any, of None, what is found on those of the dimensions."""
    rewards, apart = mean_of_members(members), members if members.shape[-1] > 1 else None
    if heads is None:
        return {None: measure_heads(rewards, pairs, by_dimension, apart)}
    return {head: measure(rewards, pairs.on_head(number), apart) for head, number in heads.items()}


def _kept(preferences: PreferenceSet, tokenized: TokenizedPreferences) -> frozenset[tuple[str, int]]:
    origins = [preference.origin for preference in preferences]
    return frozenset((origins[record], index) for record, index in tokenized.comparison_origin.tolist())


def _log_differences(evaluations: Sequence[Evaluation]) -> None:
    """Says where models were not evaluated on the same comparisons, because their limits or settings skip others."""
    for spec in dict.fromkeys(entry.data for entry in evaluations):
        found = [entry for entry in evaluations if entry.data == spec]
        common = frozenset.intersection(*(entry.kept for entry in found))
        if all(entry.kept == common for entry in found):
            continue
        logging.warning(
            "%s: the models were not evaluated on the same comparisons; %d are common to all", spec, len(common)
        )
        for entry in {entry.model: entry for entry in found}.values():  # a model's heads are of the same comparisons
            own = len(entry.kept - common)
            logging.warning(
                "%s on %s: %d comparisons, %d of which other models skipped", entry.model, spec, entry.comparisons, own
            )
