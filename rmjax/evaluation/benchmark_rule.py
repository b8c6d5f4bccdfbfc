"""What a benchmark of the field is: rows with right and wrong responses, and the published rule that scores them."""

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float64

from rmjax.preferences.conversations import read_text
from rmjax.preferences.fields import Fields, shown
from rmjax.preferences.groups import check_prompt
from rmjax.preferences.record import Message


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchmarkRow:
    """One row of a published file.

    Attributes:
      prompt: the messages that all responses answer.
      chosen: the right responses, each of one message or more.
      rejected: the wrong ones.
      subset: the part of the benchmark that the row belongs to.
      key: what no other row of the subset may have; empty where the rule asks for nothing.
      origin: the row's place, as messages show it.
    """

    prompt: tuple[Message, ...]
    chosen: tuple[tuple[Message, ...], ...]
    rejected: tuple[tuple[Message, ...], ...]
    subset: str
    key: str = ""
    origin: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoredRow:
    """The rewards of a row's responses; all that a rule may depend on."""

    subset: str
    chosen: Float64[np.ndarray, "chosen"]
    rejected: Float64[np.ndarray, "rejected"]
    key: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scores:
    """What a rule makes of rewards, each score from 0 to 1; what no row was there for is left out.

    Attributes:
      subsets: the score of each subset.
      sections: the scores between them and the whole.
      totals: the scores of the whole; the first is ``overall``.
    """

    subsets: dict[str, float]
    sections: dict[str, float]
    totals: dict[str, float]


def all_files(files: Sequence[str]) -> list[str]:
    """Every file of a folder."""
    return list(files)


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchmarkRule:
    """A benchmark as it was published.

    Attributes:
      published: how many rows each subset has.
      sections, totals: the subsets that each of them is made of; it is the published number only where all of these
        are there with all their rows.
      optional: subsets that are no part of the overall score, and that nobody misses.
      parse: reads a row of a file (whose name is the second argument), or raises RowError.
      score: scores the rows that are there, of whatever subsets; their order makes no difference.
      files_of_folder: which of a published folder's files are the benchmark.
    """

    published: Mapping[str, int]
    sections: Mapping[str, tuple[str, ...]]
    totals: Mapping[str, tuple[str, ...]]
    parse: Callable[[Fields, str], BenchmarkRow]
    score: Callable[[Sequence[ScoredRow]], Scores]
    optional: frozenset[str] = field(default=frozenset())
    files_of_folder: Callable[[Sequence[str]], list[str]] = all_files


def by_subset(rows: Iterable[ScoredRow]) -> dict[str, list[ScoredRow]]:
    """The rows of each subset, in their order."""
    found: dict[str, list[ScoredRow]] = {}
    for row in rows:
        found.setdefault(row.subset, []).append(row)
    return found


def base_name(file: str) -> str:
    """The name of a file without its folder."""
    return os.path.basename(file)


def read_prompt(fields: Fields) -> tuple[Message, ...]:
    """The field ``prompt``: messages, or text, which is what a user says."""
    prompt = read_text(fields, "prompt")
    messages = (Message(role="user", content=prompt),) if isinstance(prompt, str) else prompt
    check_prompt(fields, "prompt", messages)
    return messages


def answer(text: str) -> tuple[Message, ...]:
    """A text as the assistant's message. It may be empty: its end token is scored then."""
    return (Message(role="assistant", content=text),)


def read_answers(fields: Fields, name: str, *, right: str) -> tuple[tuple[Message, ...], ...]:
    """A field that is a list of at least one text, each the answer of an assistant."""
    values = fields.sequence(name, right=right)
    if not values:
        raise fields.error(name, "empty field", found="[]", right=right)
    return tuple(answer(fields.checked_string(f"{name}[{i}]", value)) for i, value in enumerate(values))


def read_subset(fields: Fields, name: str, known: Collection[str]) -> str:
    """The field that names the row's subset, which must be one of those known."""
    right = "one of " + ", ".join(repr(subset) for subset in known)
    subset = fields.string(name, right=right)
    if subset not in known:
        raise fields.error(name, "unknown subset", found=shown(subset), right=right)
    return subset
