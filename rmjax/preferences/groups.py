"""What all row forms share: the checks and defaults that turn a prompt, responses and comparisons into a record."""

import datetime
import enum
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from rmjax.preferences.conversations import checked_text, is_blank, reply
from rmjax.preferences.fields import LARGEST, Fields, shown
from rmjax.preferences.record import Comparison, Preference, Side, Source, Strength, Text

JUDGMENT_FIELDS = (
    "probability", "margin", "weight", "annotator", "true_probability",
    "strength", "shown_first", "seconds", "judged_at",
)  # fmt: skip
COMPARISON_FIELDS = ("left", "right", *JUDGMENT_FIELDS)


Choice = TypeVar("Choice", bound=enum.Enum)


@dataclass(frozen=True, slots=True)
class RowDefaults:
    """What rows that don't say it themselves were judged on, and by whom."""

    dimension: str
    source: Source = Source.HUMAN


def read_judgment(fields: Fields, left: int, right: int, annotator: str | None) -> Comparison:
    """The comparison of two responses whose judgment the fields hold; absent fields take Comparison's defaults."""
    values: dict[str, Any] = {}
    for name in ("probability", "true_probability"):
        if fields.has(name):
            values[name] = fields.number(
                name, low=0.0, high=1.0, right="a probability from 0 to 1 that left is preferred"
            )
    if fields.has("margin"):
        values["margin"] = fields.number("margin", right="a finite number, in units of reward")
    if fields.has("weight"):
        values["weight"] = fields.number("weight", low=1e-30, high=LARGEST, right="a finite number above 0")
    if fields.has("annotator"):
        annotator = fields.string("annotator", right="the annotator's name as text")
    if fields.has("strength"):
        values["strength"] = _read_choice(fields, "strength", Strength)
    if fields.has("shown_first"):
        values["shown_first"] = _read_choice(fields, "shown_first", Side)
    if fields.has("seconds"):
        values["seconds"] = fields.number("seconds", low=0.0, high=LARGEST, right="a finite number of at least 0")
    if fields.has("judged_at"):
        values["judged_at"] = _read_time(fields)
    return Comparison(left=left, right=right, annotator=annotator, **values)


def _read_choice(fields: Fields, name: str, choices: type[Choice]) -> Choice:
    right = "one of " + ", ".join(repr(choice.value) for choice in choices)
    value = fields.string(name, right=right)
    try:
        return choices(value)
    except ValueError:
        raise fields.error(name, f"unknown {name}", found=shown(value), right=right) from None


def _read_time(fields: Fields) -> str:
    right = "a time in ISO 8601 with its offset, as '2026-01-31T09:30:00+00:00'"
    value = fields.string("judged_at", right=right)
    try:
        offset = datetime.datetime.fromisoformat(value).utcoffset()
    except ValueError:
        offset = None
    if offset is None:
        raise fields.error("judged_at", "no time", found=shown(value), right=right)
    return value


def read_responses(fields: Fields) -> list[tuple[str, Text]]:
    """The field ``responses``, each with its name for messages."""
    for name in JUDGMENT_FIELDS:
        if name != "annotator" and fields.has(name):
            right = "no such field beside responses: it belongs inside of comparisons"
            raise fields.error(name, "misplaced field", found=shown(fields.values[name]), right=right)
    right = "a list of at least 2 responses"
    values = fields.sequence("responses", right=right)
    if len(values) < 2:
        raise fields.error("responses", "too few responses", found=f"{len(values)} of them", right=right)
    names = (f"responses[{i}]" for i in range(len(values)))
    return [(name, checked_text(fields, name, value)) for name, value in zip(names, values, strict=True)]


def read_comparisons(fields: Fields, count: int) -> tuple[Comparison, ...]:
    """The field ``comparisons`` of a row with so many responses."""
    right = 'a list of comparisons, as [{"left": 0, "right": 1, "probability": 0.8}]'
    values = fields.sequence("comparisons", right=right)
    if not values:
        raise fields.error("comparisons", "empty field", found="[]", right=right)
    annotator = read_annotator(fields)
    return tuple(_read_comparison(fields, position, value, count, annotator) for position, value in enumerate(values))


def _read_comparison(fields: Fields, position: int, value: object, count: int, annotator: str | None) -> Comparison:
    place = f"comparisons[{position}]"
    if not isinstance(value, Mapping):
        raise fields.error(place, "wrong type", found=shown(value), right='an object, as {"left": 0, "right": 1}')
    inner = Fields(value, fields.origin, f"{place}.")
    for name in value:
        if name not in COMPARISON_FIELDS:  # a misspelt probability would be a wrong label
            raise inner.error(str(name), "unknown field", found=shown(name), right=", ".join(COMPARISON_FIELDS))
    right = f"the index of a response, from 0 to {count - 1}"
    first = inner.integer("left", low=0, high=count - 1, right=right)
    second = inner.integer("right", low=0, high=count - 1, right=right)
    if first == second:
        raise inner.error(
            "right", "same response twice", found=shown(second), right=f"another index than left, {first}"
        )
    return read_judgment(inner, first, second, annotator)


def read_annotator(fields: Fields) -> str | None:
    """The annotator of a whole row, where the row names one."""
    return fields.string("annotator", right="the annotator's name as text") if fields.has("annotator") else None


def build(
    fields: Fields,
    defaults: RowDefaults,
    *,
    prompt: tuple[str, Text],
    responses: Sequence[tuple[str, Text]],
    comparisons: tuple[Comparison, ...],
    accepts_empty: bool = False,
) -> Preference:
    """The record of a row.

    Args:
      fields: the row; its dimension, source and utilities go before the defaults.
      defaults: what the row was judged on and by whom, where it doesn't say so itself.
      prompt: the prompt, after the name of the field that it came from.
      responses: likewise the responses.
      comparisons: between them.
      accepts_empty: whether the form allows empty responses, of which the end token alone is scored. Any row allows
        them by its own field ``allow_empty``.

    Raises:
      RowError: for an empty prompt, an empty response that isn't allowed, a response of messages to a prompt that is
        text, one that doesn't begin with an assistant message, and for two identical responses.
    """
    check_prompt(fields, *prompt)
    responses = [(name, reply(response, prompt[1])) for name, response in responses]
    accepts_empty = fields.flag("allow_empty") or accepts_empty
    for name, response in responses:
        check_response(fields, name, response, prompt[1], accepts_empty)
    _check_distinct(fields, responses)
    return Preference(
        prompt=prompt[1],
        responses=tuple(response for _, response in responses),
        comparisons=comparisons,
        dimension=_read_dimension(fields, defaults),
        source=_read_source(fields, defaults),
        utilities=fields.numbers("utilities", len(responses)) if fields.has("utilities") else None,
        known_answer=_read_known_answer(fields, len(responses)),
        id=read_id(fields),
        origin=fields.origin,
        fields=_shared((prompt[0], *(name for name, _ in responses))),
    )


def read_id(fields: Fields) -> str | None:
    """The row's ``id``: text, or a whole number as text. None for anything else, of which published data have a lot."""
    value = fields.values.get("id")
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not value or any("\ud800" <= letter <= "\udfff" for letter in value):
        return None
    return value


def _read_known_answer(fields: Fields, count: int) -> Side | None:
    if not fields.has("known_answer"):
        return None
    answer = _read_choice(fields, "known_answer", Side)
    if count != 2:
        right = "it beside two responses, of which the first is left"
        raise fields.error("known_answer", "misplaced field", found=f"{count} responses", right=right)
    return answer


@functools.lru_cache(maxsize=256)
def _shared(names: tuple[str, ...]) -> tuple[str, ...]:
    """One object for equal names: of millions of rows most have the same."""
    return names


def check_prompt(fields: Fields, name: str, prompt: Text) -> None:
    """RowError for a prompt in which there is nothing to read."""
    if is_blank(prompt):
        raise fields.error(name, "empty field", found=_shown(prompt), right="a prompt that is not blank")


def check_response(fields: Fields, name: str, response: Text, prompt: Text, accepts_empty: bool) -> None:
    """RowError for a response, as ``reply`` gives it, that can't follow the prompt."""
    if isinstance(prompt, str) and not isinstance(response, str):
        raise fields.error(name, "mixed kinds", found=_shown(response), right="text, as the prompt is")
    if is_blank(response) and not accepts_empty:
        right = 'a response that is not blank, or "allow_empty": true in the row where a blank one is meant'
        raise fields.error(name, "empty field", found=_shown(response), right=right)
    if not isinstance(response, str) and (not response or response[0].role != "assistant"):
        right = "messages that go on after the prompt, from an assistant message on"
        raise fields.error(name, "wrong role", found=_shown(response), right=right)


def _check_distinct(fields: Fields, responses: Sequence[tuple[str, Text]]) -> None:
    first_names: dict[Text, str] = {}
    for name, response in responses:
        first = first_names.setdefault(response, name)
        if first != name:
            right = f"another response than {first!r}"
            raise fields.error(name, "identical responses", found=_shown(response), right=right)


def _shown(text: Text) -> str:
    return shown(text if isinstance(text, str) else [f"{message.role}: {message.content}" for message in text])


def _read_dimension(fields: Fields, defaults: RowDefaults) -> str:
    if not fields.has("dimension"):
        return defaults.dimension
    right = "the name of a dimension, as 'helpfulness'"
    dimension = fields.string("dimension", right=right)
    if is_blank(dimension):
        raise fields.error("dimension", "empty field", found=shown(dimension), right=right)
    return dimension


def _read_source(fields: Fields, defaults: RowDefaults) -> Source:
    if not fields.has("source"):
        return defaults.source
    return _read_choice(fields, "source", Source)
