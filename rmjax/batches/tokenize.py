"""Preferences to token arrays, with every dropped comparison counted."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
from absl import logging

from rmjax.batches.contract import EncodedGroup, TextContract, TextGroup
from rmjax.batches.limits import LimitError, cut_prompts_message
from rmjax.batches.tokenized import TokenizedPreferences
from rmjax.config import ConfigError, OnError
from rmjax.preferences.record import Comparison, Preference

_GROUPS_AT_ONCE = 1024  # enough to keep all tokenizer threads busy, few enough to stay small in memory


def tokenize(
    preferences: Iterable[Preference],
    contract: TextContract,
    *,
    heads: tuple[str, ...] = (),
    on_error: OnError = OnError.DEFAULT,
) -> TokenizedPreferences:
    """Tokenizes preferences, each a group of conversations with its comparisons.

    A response or prompt outside the contract's limits is a LimitError, and with ``OnError.SKIP`` its comparisons are
    dropped and counted (nothing is logged: whoever asks has more to say of them). A comparison's head is the index of
    its preference's dimension in ``heads``, 0 where ``heads`` is empty; a dimension that has no head is a ConfigError.
    """
    columns = _Columns()
    head_of = {dimension: index for index, dimension in enumerate(heads)}
    for index, (preference, encoded) in enumerate(_encoded(preferences, contract)):
        if heads and preference.dimension not in head_of:
            raise ConfigError(
                f"config.model.reward_heads is {heads!r}; it must have a head for the dimension "
                f"{preference.dimension!r} of {preference.origin or f'preference {index}'}"
            )
        usable = _usable(encoded, on_error)
        kept = []
        for place, comparison in enumerate(preference.comparisons):
            fault = encoded.faults[comparison.left] or encoded.faults[comparison.right]
            if fault is None:
                kept.append((place, comparison))
            else:
                columns.skipped[fault.kind] += 1
        if kept:
            columns.add_group(index, encoded, usable)
            columns.add_comparisons(index, kept, usable, head_of.get(preference.dimension, 0))
    return columns.arrays()


def tokenize_responses(
    requests: Iterable[TextGroup],
    contract: TextContract,
    *,
    on_error: OnError = OnError.DEFAULT,
) -> TokenizedPreferences:
    """The same for prompts with responses, without comparisons, as scoring has them.

    ``response_origin`` says which response of which request each is; ``skipped`` counts responses.
    """
    named = (
        request if request.origin else request._replace(origin=f"request {index}")
        for index, request in enumerate(requests)
    )

    def encoded() -> Iterator[EncodedGroup]:
        while chunk := list(islice(named, _GROUPS_AT_ONCE)):
            yield from contract.encode_many(chunk)

    return tokenized_responses(encoded(), on_error=on_error)


def tokenized_responses(groups: Iterable[EncodedGroup], *, on_error: OnError = OnError.DEFAULT) -> TokenizedPreferences:
    """The same for groups that the contract has encoded already."""
    columns = _Columns()
    for index, encoded in enumerate(groups):
        usable = _usable(encoded, on_error)
        columns.skipped.update(fault.kind for fault in encoded.faults if fault is not None)
        if usable:
            columns.add_group(index, encoded, usable)
            columns.comparison_counts.append(0)
    return columns.arrays()


def survey(error: LimitError, preferences: Iterable[Preference], contract: TextContract) -> None:
    """Lets an error that ``tokenize`` raised know of all texts that are too long as its own is."""
    error.survey(fault for _, encoded in _encoded(preferences, contract) for fault in encoded.faults)


def warn_of_cut_prompts(name: str, cut: int, limit: int) -> None:
    """Logs the message of that; nothing where none lost any."""
    if cut:
        logging.warning("%s", cut_prompts_message(name, cut, limit))


def _encoded(preferences: Iterable[Preference], contract: TextContract) -> Iterator[tuple[Preference, EncodedGroup]]:
    remaining = iter(preferences)
    while chunk := list(islice(remaining, _GROUPS_AT_ONCE)):
        groups = [TextGroup(entry.prompt, entry.responses, entry.origin, entry.fields) for entry in chunk]
        yield from zip(chunk, contract.encode_many(groups), strict=True)


def _usable(encoded: EncodedGroup, on_error: OnError) -> list[int]:
    """The responses without a fault; a fault is raised unless faults are skipped."""
    usable = []
    for index, fault in enumerate(encoded.faults):
        if fault is None:
            usable.append(index)
        elif on_error is not OnError.SKIP:
            raise fault
    return usable


@dataclass
class _Columns:
    """The flat arrays while they grow."""

    tokens: list[np.ndarray] = field(default_factory=list)
    group_sizes: list[int] = field(default_factory=list)
    comparison_counts: list[int] = field(default_factory=list)
    pairs: list[tuple[int, int]] = field(default_factory=list)
    heads: list[int] = field(default_factory=list)
    labels: list[tuple[float, float, float]] = field(default_factory=list)
    response_origin: list[tuple[int, int]] = field(default_factory=list)
    comparison_origin: list[tuple[int, int]] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    cut_prompts: int = 0

    def add_group(self, index: int, encoded: EncodedGroup, usable: list[int]) -> None:
        self.tokens.extend(np.asarray(encoded.conversations[response], np.int32) for response in usable)
        self.group_sizes.append(len(usable))
        self.response_origin.extend((index, response) for response in usable)
        self.cut_prompts += encoded.cut > 0

    def add_comparisons(self, index: int, kept: list[tuple[int, Comparison]], usable: list[int], head: int) -> None:
        first = len(self.tokens) - len(usable)
        number = {response: first + place for place, response in enumerate(usable)}
        self.comparison_counts.append(len(kept))
        for place, comparison in kept:
            self.pairs.append((number[comparison.left], number[comparison.right]))
            self.heads.append(head)
            self.labels.append((comparison.probability, comparison.margin, comparison.weight))
            self.comparison_origin.append((index, place))

    def arrays(self) -> TokenizedPreferences:
        left, right = np.asarray(self.pairs, np.int64).reshape(-1, 2).T
        probability, margin, weight = np.asarray(self.labels, np.float32).reshape(-1, 3).T
        return TokenizedPreferences(
            tokens=np.concatenate(self.tokens) if self.tokens else np.zeros(0, np.int32),
            response_offsets=_offsets([len(tokens) for tokens in self.tokens]),
            group_offsets=_offsets(self.group_sizes),
            comparison_offsets=_offsets(self.comparison_counts),
            left=left,
            right=right,
            head=np.asarray(self.heads, np.int32),
            probability=probability,
            margin=margin,
            weight=weight,
            response_origin=np.asarray(self.response_origin, np.int32).reshape(-1, 2),
            comparison_origin=np.asarray(self.comparison_origin, np.int32).reshape(-1, 2),
            skipped=self.skipped,
            cut_prompts=self.cut_prompts,
        )


def _offsets(sizes: list[int]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]).astype(np.int64)
