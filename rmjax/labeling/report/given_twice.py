"""What is given twice would count twice, and agree with itself: the report on labels refuses it."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rmjax.errors import UserError
from rmjax.preferences.record import Preference, PreferenceSet, Side, Text


@dataclass(frozen=True, slots=True)
class _Made:
    """A judgment whose time is known: where it stands, and which response its labeler saw first."""

    file: str
    origin: str
    first: Text | None


def check_given_once(sets: Sequence[PreferenceSet]) -> None:
    """UserError where a row or a judgment is given twice, however its file is called.

    A row is known again by its place, unless another labeler has judged it anew (``SPEC@LABELER``). A judgment is by
    annotator, pair and time, over different files: an older export, a copy, or the labels of an AI judge beside
    their ``.orders.jsonl``, of which they are the mean. In one file a stored answer may stand at several equal tasks.
    """
    files: dict[str, str] = {}
    rows: dict[tuple[object, ...], str] = {}
    made: dict[tuple[object, ...], list[_Made]] = {}
    for entry in sets:
        for preference in entry:
            name, comma, place = preference.origin.rpartition(", ")
            if name not in files:
                files[name] = os.path.realpath(name)
            row = (files[name], place, preference.dimension, preference.source)
            if comma and row in rows:
                raise UserError(
                    f"{preference.origin} is given twice, by {rows[row]!r} and by {entry.spec!r}, and would count "
                    "twice; right would be each file, and each part of a data set, once"
                )
            rows[row] = entry.spec
            for key, one in _judgments(preference, files[name]):
                for other in made.setdefault(key, []):
                    _check_another(one, other)
                made[key].append(one)


def _judgments(preference: Preference, file: str) -> Iterator[tuple[tuple[object, ...], _Made]]:
    """By what a judgment is known again, and the judgment, of each whose time is known."""
    for one in preference.comparisons:
        if one.judged_at is None:
            continue
        left, right = preference.responses[one.left], preference.responses[one.right]
        about = (preference.dimension, preference.source, preference.prompt, frozenset((left, right)))
        first = {None: None, Side.LEFT: left, Side.RIGHT: right}[one.shown_first]
        yield (*about, one.annotator, one.judged_at), _Made(file, preference.origin, first)


def _check_another(one: _Made, other: _Made) -> None:
    """UserError where two judgments of one annotator, pair and time are the same: both orders of a pair aren't."""
    if one.file == other.file:
        return
    if one.first == other.first:
        right = "one of the two files"
    elif one.first is None or other.first is None:
        right = "an AI judge's .orders.jsonl, or the labels that are its mean, and not both"
    else:
        return
    raise UserError(
        f"{one.origin} has a judgment that {other.origin} has too, and would count twice; right would be {right}"
    )
