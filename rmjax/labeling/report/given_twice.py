"""What is given twice would count twice, and agree with itself: the report on labels refuses it.

Two rounds of an AI judge from one store are the exception: a judgment that both files have counts once.
"""

import dataclasses
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from absl import logging

from rmjax.errors import UserError
from rmjax.preferences.record import Comparison, Preference, PreferenceSet, Side, Source, Text


@dataclass(frozen=True, slots=True)
class _Made:
    """A judgment whose time is known: where it stands, which response its labeler saw first, and the probability that
    the response ``left`` is preferred."""

    file: str
    origin: str
    first: Text | None
    left: Text
    probability: float


def given_once(sets: Sequence[PreferenceSet]) -> tuple[PreferenceSet, ...]:
    """The sets with each judgment once; UserError where a row or a judgment is given twice, however its file is called.

    A row is known again by its place, unless another labeler has judged it anew (``SPEC@LABELER``). A judgment is by
    annotator, pair and time, over different files: an older export, a copy, or the labels of an AI judge beside
    their ``.orders.jsonl``, of which they are the mean. In one file a stored answer may stand at several equal tasks.

    A judgment of an AI judge that another file has too, with the same order and probability, is left out there: a
    second round from the first one's store has such.
    """
    files: dict[str, str] = {}
    rows: dict[tuple[object, ...], str] = {}
    made: dict[tuple[object, ...], list[_Made]] = {}
    once, left_out = [], 0
    for entry in sets:
        kept = []
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
            new = tuple(_new(preference, files[name], made))
            left_out += len(preference.comparisons) - len(new)
            if new:
                kept.append(dataclasses.replace(preference, comparisons=new))
        once.append(dataclasses.replace(entry, preferences=tuple(kept)))
    if left_out:
        logging.info("%d judgments of an AI judge stand in two files, and count once", left_out)
    return tuple(once)


def _new(preference: Preference, file: str, made: dict[tuple[object, ...], list[_Made]]) -> Iterator[Comparison]:
    """Yields the judgments of a preference that no other file has had; they are put into ``made``."""
    for comparison in preference.comparisons:
        if comparison.judged_at is None:
            yield comparison
            continue
        key, one = _known(preference, comparison, file)
        others = made.setdefault(key, [])
        if not any(_again(one, other, preference.source) for other in others):
            others.append(one)
            yield comparison


def _known(preference: Preference, comparison: Comparison, file: str) -> tuple[tuple[object, ...], _Made]:
    """By what a judgment whose time is known is known again, and the judgment."""
    left, right = preference.responses[comparison.left], preference.responses[comparison.right]
    about = (preference.dimension, preference.source, preference.prompt, frozenset((left, right)))
    first = {None: None, Side.LEFT: left, Side.RIGHT: right}[comparison.shown_first]
    key = (*about, comparison.annotator, comparison.judged_at)
    return key, _Made(file, preference.origin, first, left, comparison.probability)


def _again(one: _Made, other: _Made, source: Source) -> bool:
    """Whether a judgment is that of an AI judge which another file has had; both have annotator, pair and time alike.

    UserError where it would count twice: both orders of a pair don't.
    """
    if one.file == other.file:
        return False
    if one.first == other.first:
        probability = other.probability if one.left == other.left else 1 - other.probability
        if source is Source.AI and math.isclose(one.probability, probability, abs_tol=1e-9):
            return True
        right = "one of the two files"
    elif one.first is None or other.first is None:
        right = "an AI judge's .orders.jsonl, or the labels that are its mean, and not both"
    else:
        return False
    raise UserError(
        f"{one.origin} has a judgment that {other.origin} has too, and would count twice; right would be {right}"
    )
