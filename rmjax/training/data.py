"""From data specs to what the loop reads: the run's text contract, tokenized training and validation preferences."""

import dataclasses
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import numpy as np
from absl import logging
from etils import epath

from rmjax.batches.contract import TextContract
from rmjax.batches.limits import LimitError
from rmjax.batches.pretrained import PretrainedText, load_pretrained_text
from rmjax.batches.template import RoleTemplate
from rmjax.batches.tokenize import survey, tokenize, warn_of_cut_prompts
from rmjax.batches.tokenized import TokenizedPreferences
from rmjax.batches.tokenizer import OWN_TOKENS, load_tokenizer, train_tokenizer
from rmjax.config import ConfigError, ExperimentConfig
from rmjax.datasets.open import open_many
from rmjax.datasets.split import split_by_prompt
from rmjax.labels_config import LabelsConfig
from rmjax.preferences.labels import check_annotators, check_labels, learned_from
from rmjax.preferences.merge import merge_sets
from rmjax.preferences.record import Preference, PreferenceSet
from rmjax.training.data_warnings import warn_of_dimension, warn_of_repeated
from rmjax.training.pretrained import text_folder
from rmjax.training.processes import process_zero_first
from rmjax.training.scoring_record import Conversation, golden_conversations
from rmjax.training.workdir import check_data, has_checkpoint, has_contract, read_contract, write_contract

FEW = 100  # validation comparisons: their accuracy is known to about 10 points there


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingData:
    """Everything that a run reads; the same at every start of the run."""

    contract: TextContract
    train: TokenizedPreferences
    validation: TokenizedPreferences
    golden: tuple[Conversation, ...]


def prepare_data(config: ExperimentConfig, workdir: epath.Path) -> TrainingData:
    """Opens, splits and tokenizes the data of a run, and logs what was skipped and cut.

    A run that is resumed takes its tokenizer and template from the workdir, and must find the same data as at its first
    start; a new one trains or loads the tokenizer and stores all of that there.

    Raises:
      ConfigError: where there is nothing to learn from, or nothing to choose the best checkpoint by.
      UserError: for judgments of pairs whose answers were known, which only checked the labelers' attention.
      WorkdirError: where the data have changed since the run's first start.
    """
    with process_zero_first("data"):  # it prepares data sets and trains the tokenizer; the others find both
        rows, validation, opened = _open(config)
        train = _learned_from(rows, config)
        contract = _contract(config, workdir, train)
    heads, on_error = config.model.reward_heads, config.data.on_error
    try:
        tokenized = tokenize(validation, contract, heads=heads, on_error=on_error)
        data = TrainingData(
            contract=contract,
            train=tokenize(train, contract, heads=heads, on_error=on_error),
            validation=tokenized,
            golden=golden_conversations(tokenized, validation),
        )
    except LimitError as error:
        survey(error, itertools.chain(train, validation), contract)
        raise
    _check_and_log("train", data.train, train, config)
    _check_and_log("validation", data.validation, validation, config)
    decided = int((data.validation.probability != 0.5).sum())
    if not decided:
        raise ConfigError(
            f"config.data leaves {data.validation.comparisons} validation comparisons, all of them ties (probability "
            "0.5), which no checkpoint can be the best at; at least one must have a preferred response"
        )
    _warn_of_few(decided, config)
    used = {"trained on": _used(rows, train, data.train), "held out": _used(validation, validation, tokenized)}
    about = [_about(entry, used) for entry in opened]
    check_data(workdir, {"train": data.train.digest(), "validation": data.validation.digest()}, about)
    return data


def _check_and_log(
    name: str, tokenized: TokenizedPreferences, preferences: Sequence[Preference], config: ExperimentConfig
) -> None:
    """Logs how many comparisons there are, on which dimensions and by whom, and what was left out of them."""
    logging.info(
        "%s: %d prompts, %d responses, %d comparisons; %d comparisons skipped%s",
        name, tokenized.groups, tokenized.responses, tokenized.comparisons, tokenized.skipped.total(),
        f" ({dict(tokenized.skipped)})" if tokenized.skipped else "",
    )  # fmt: skip
    warn_of_cut_prompts(name, tokenized.cut_prompts, config.text.max_prompt_tokens)
    if not tokenized.comparisons:
        raise ConfigError(f"config.data leaves no {name} comparisons; it must leave at least one")
    judged = (preferences[index] for index in tokenized.comparison_origin[:, 0])
    counts = Counter((preference.dimension, preference.source.value) for preference in judged)
    logging.info("%s: %s", name, ", ".join(f"{'/'.join(kind)} {count}" for kind, count in sorted(counts.items())))
    dimensions = sorted({dimension for dimension, _ in counts})
    if name == "train" and not config.model.reward_heads and len(dimensions) > 1:
        logging.warning(
            "one reward head learns %d dimensions: %s; --config.model.reward_heads=\"%s\" would give each its own",
            len(dimensions), ", ".join(dimensions), tuple(dimensions),
        )  # fmt: skip


def _warn_of_few(comparisons: int, config: ExperimentConfig) -> None:
    """Says so where there is too little to choose the best checkpoint by, and how there would be more."""
    if comparisons >= FEW:
        return
    remedies = ["a larger --config.data.validation"]
    if not config.data.validation:
        remedies = ["--config.data.validation=FILE"]
        if config.data.validation_fraction < 0.2:
            remedies.insert(0, "--config.data.validation_fraction=0.2")
    logging.warning(
        "there are only %d validation comparisons (ties left out), fewer than %d: chance has much to say in which "
        "checkpoint is the best; %s would give more", comparisons, FEW, " or ".join(remedies),
    )  # fmt: skip


def _open(
    config: ExperimentConfig,
) -> tuple[tuple[Preference, ...], tuple[Preference, ...], tuple[PreferenceSet, ...]]:
    """(training preferences, validation preferences, the data sets that they are of), as they were judged."""
    data = config.data
    apart = dataclasses.replace(data, merge_prompts=False)  # rows are told apart by their places
    opened = open_many(data.train, apart, dimension=config.dimension)
    warn_of_repeated(opened)
    warn_of_dimension(opened, config)
    opened = merge_sets(opened) if data.merge_prompts else opened
    train = tuple(itertools.chain.from_iterable(opened))
    check_labels(train)
    check_annotators(train, config.labels)
    if data.validation:
        others = open_many(data.validation, data, dimension=config.dimension)
        validation = tuple(itertools.chain.from_iterable(others))
        check_labels(validation)
        return train, validation, (*opened, *others)
    train, validation = split_by_prompt(train, data.validation_fraction, seed=config.seed)
    logging.info("split by prompt: %d preferences to train on, %d to validate on", len(train), len(validation))
    return train, validation, opened


def _learned_from(rows: tuple[Preference, ...], config: ExperimentConfig) -> tuple[Preference, ...]:
    """The training preferences as ``config.labels`` has them learned from; ``rows`` itself where it changes nothing."""
    if config.labels == LabelsConfig():
        return rows
    found = learned_from(rows, config.labels)
    before, after = (sum(len(one.comparisons) for one in preferences) for preferences in (rows, found))
    logging.info("config.labels: of %d comparisons to train on, %d remain", before, after)
    if not found:
        raise ConfigError("config.labels leaves no training comparisons; it must leave at least one")
    return found


def _used(rows: Sequence[Preference], preferences: Sequence[Preference], tokenized: TokenizedPreferences) -> set[int]:
    """The ids of the rows of which something is left to train on, or to validate by.

    Where ``config.labels`` made other preferences of the rows, those are all rows of a prompt, dimension and source.
    """
    left = [preferences[record] for record in np.unique(tokenized.comparison_origin[:, 0])]
    if preferences is rows:
        return {id(preference) for preference in left}
    kept = {(one.prompt, one.dimension, one.source) for one in left}
    return {id(row) for row in rows if (row.prompt, row.dimension, row.source) in kept}


def _about(opened: PreferenceSet, used: Mapping[str, Set[int]]) -> dict[str, Any]:
    """What a model card says of a data set: to what use its prompts were put, by who judged them on what."""
    counts: dict[str, Counter[str]] = {use: Counter() for use in (*used, "skipped")}
    for entry in opened:
        use = next((use for use, ids in used.items() if id(entry) in ids), "skipped")
        counts[use][f"{entry.dimension}/{entry.source.value}"] += 1
    prompts = {use: dict(found) for use, found in counts.items()}
    return {"spec": opened.spec, "license": opened.license, "prompts": prompts, "unread rows": opened.skipped.total()}


def _contract(config: ExperimentConfig, workdir: epath.Path, train: Iterable[Preference]) -> TextContract:
    """The contract that the workdir holds; at a run's first start it is made and stored there."""
    if not has_contract(workdir) and not has_checkpoint(workdir):  # of no use with another tokenizer
        write_contract(workdir, *_text_of(config, train))
    return read_contract(workdir, config)


def _text_of(config: ExperimentConfig, train: Iterable[Preference]) -> PretrainedText:
    """Tokenizer, template and special tokens: somebody else's, a file of ours, or those of the training texts."""
    name = config.text.tokenizer or config.pretrained
    template = RoleTemplate()
    if name is None:
        tokenizer = train_tokenizer(_texts(train, template), config.text.vocabulary_size)
        return PretrainedText(tokenizer, template, OWN_TOKENS)
    if name == config.text.tokenizer and not epath.Path(name).is_dir() and name.endswith(".json"):
        return PretrainedText(load_tokenizer(name), template, OWN_TOKENS)
    return load_pretrained_text(text_folder(name))


def _texts(preferences: Iterable[Preference], template: RoleTemplate) -> Iterator[str]:
    """The texts of prompts and responses, as the contract renders them."""
    for preference in preferences:
        for text in (preference.prompt, *preference.responses):
            yield text if isinstance(text, str) else template.render_turns(text, origin=preference.origin)
