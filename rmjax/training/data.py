"""From data specs to what the loop reads: the run's tokenizer, and tokenized training and validation preferences."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import tokenizers
from absl import logging
from etils import epath

from rmjax.batches.contract import RoleTemplate, TextContract
from rmjax.batches.tokenize import tokenize
from rmjax.batches.tokenized import TokenizedPreferences
from rmjax.batches.tokenizer import load_tokenizer, train_tokenizer
from rmjax.config import ConfigError, ExperimentConfig
from rmjax.datasets.open import open_many
from rmjax.datasets.split import split_by_prompt
from rmjax.preferences.record import Preference
from rmjax.training.processes import process_zero_first
from rmjax.training.workdir import CHECKPOINTS, has_tokenizer, read_tokenizer, write_tokenizer


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingData:
    """Everything that a run reads; the same at every start of the run."""

    contract: TextContract
    train: TokenizedPreferences
    validation: TokenizedPreferences


def prepare_data(config: ExperimentConfig, workdir: epath.Path) -> TrainingData:
    """Opens, splits and tokenizes the data of a run, and logs what was skipped and cut.

    A run that is resumed takes its tokenizer from the workdir; a new one trains or loads it and stores it there.
    """
    with process_zero_first("data"):  # it prepares data sets and trains the tokenizer; the others find both
        train, validation = _open(config)
        tokenizer = _tokenizer(config, workdir, train)
    contract = TextContract.from_config(config.text, tokenizer)
    heads, on_error = config.model.reward_heads, config.data.on_error
    data = TrainingData(
        contract=contract,
        train=tokenize(train, contract, heads=heads, on_error=on_error),
        validation=tokenize(validation, contract, heads=heads, on_error=on_error),
    )
    for name, tokenized in (("train", data.train), ("validation", data.validation)):
        logging.info(
            "%s: %d prompts, %d responses, %d comparisons; %d comparisons skipped%s, %d prompts cut to %d tokens",
            name, tokenized.groups, tokenized.responses, tokenized.comparisons, tokenized.skipped.total(),
            f" ({dict(tokenized.skipped)})" if tokenized.skipped else "", tokenized.cut_prompts,
            contract.max_prompt_tokens,
        )  # fmt: skip
        if not tokenized.comparisons:
            raise ConfigError(f"config.data leaves no {name} comparisons; it must leave at least one")
    return data


def _open(config: ExperimentConfig) -> tuple[tuple[Preference, ...], tuple[Preference, ...]]:
    """(training preferences, validation preferences)."""
    data = config.data
    train = _all(config, data.train)
    if data.validation:
        return train, _all(config, data.validation)
    train, validation = split_by_prompt(train, data.validation_fraction, seed=config.seed)
    logging.info("split by prompt: %d preferences to train on, %d to validate on", len(train), len(validation))
    return train, validation


def _all(config: ExperimentConfig, specs: tuple[str, ...]) -> tuple[Preference, ...]:
    sets = open_many(specs, config.data, dimension=config.dimension)
    return tuple(preference for found in sets for preference in found)


def _tokenizer(config: ExperimentConfig, workdir: epath.Path, train: Iterable[Preference]) -> tokenizers.Tokenizer:
    if has_tokenizer(workdir) or (workdir / CHECKPOINTS).exists():  # checkpoints are of no use with another tokenizer
        return read_tokenizer(workdir)
    if config.text.tokenizer is not None:
        tokenizer = load_tokenizer(config.text.tokenizer)
    else:
        tokenizer = train_tokenizer(_texts(train), config.text.vocabulary_size)
    write_tokenizer(workdir, tokenizer)
    return tokenizer


def _texts(preferences: Iterable[Preference]) -> Iterator[str]:
    """The texts of prompts and responses, as the contract renders them."""
    template = RoleTemplate()
    for preference in preferences:
        for text in (preference.prompt, *preference.responses):
            yield text if isinstance(text, str) else template.render_turns(text, origin=preference.origin)
