"""What is given twice would count twice, and agree with itself: the report on labels refuses it.

Two rounds of an AI judge from one store are the exception: a judgment that both files have counts once.
"""

import dataclasses
import math
from collections.abc import Iterator, Sequence

from absl import logging

from rmjax.errors import UserError
from rmjax.preferences.record import Preference, PreferenceSet, Source
from rmjax.preferences.repeated import Stand, repeats


def given_once(sets: Sequence[PreferenceSet]) -> tuple[PreferenceSet, ...]:
    """The sets with each judgment once; UserError where a row or a judgment is given twice, however its file is called.

    What is given twice is what ``rmjax.preferences.repeated.repeats`` finds. A judgment of an AI judge that another
    file has too, with the same order and probability, is left out there: a second round from the first one's store has
    such.
    """
    left_out: dict[int, set[int]] = {}
    for earlier, again in repeats(sets):
        if again.comparison is None:
            raise UserError(
                f"{again.preference.origin} is given twice, by {earlier.spec!r} and by {again.spec!r}, and would count "
                "twice; right would be each file, and each part of a data set, once"
            )
        if not _is_of_another_round(earlier, again):
            right = "one of the two files"
            if (earlier.shown_first is None) != (again.shown_first is None):
                right = "an AI judge's .orders.jsonl, or the labels that are its mean, and not both"
            raise UserError(
                f"{again.preference.origin} has a judgment that {earlier.preference.origin} has too, and would count "
                f"twice; right would be {right}"
            )
        left_out.setdefault(id(again.preference), set()).add(again.comparison)
    if not left_out:
        return tuple(sets)
    logging.info("%d judgments of an AI judge stand in two files, and count once", sum(map(len, left_out.values())))
    return tuple(dataclasses.replace(entry, preferences=tuple(_without(entry, left_out))) for entry in sets)


def _without(entry: PreferenceSet, left_out: dict[int, set[int]]) -> Iterator[Preference]:
    """The rows without the judgments that are left out, by the identity of the row; those with none are gone."""
    for preference in entry:
        dropped = left_out.get(id(preference), ())
        kept = tuple(one for place, one in enumerate(preference.comparisons) if place not in dropped)
        if kept:
            yield preference if not dropped else dataclasses.replace(preference, comparisons=kept)


def _is_of_another_round(earlier: Stand, again: Stand) -> bool:
    """Whether an AI judge's answer stands in the files of two rounds: the same order, or the same mean."""
    if again.preference.source is not Source.AI or earlier.shown_first != again.shown_first:
        return False
    probabilities = [
        one.judgment.probability
        if one.preference.responses[one.judgment.left] == again.preference.responses[again.judgment.left]
        else 1 - one.judgment.probability
        for one in (earlier, again)
    ]
    return math.isclose(*probabilities, abs_tol=1e-9)
