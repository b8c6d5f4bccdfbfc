"""Which comparisons of several data sets are there more than once."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from rmjax.preferences.record import Preference, PreferenceSet, Side, Text

_Made = tuple[str, str, Text | None]  # the file, its name, and the response that was shown first


def repeated(sets: Iterable[PreferenceSet]) -> Counter[tuple[str, str]]:
    """How many comparisons are there again, by (the file that has them first, the one that has them again).

    A row is there again where its file is, by whatever name, unless another labeler has judged it anew. A judgment is
    there again where another file has one of the same annotator, pair and time: an older export, a copy, or the labels
    of an AI judge beside their ``.orders.jsonl``, of which they are the mean. In one file a stored answer may stand at
    several equal tasks, and judgments of both orders of a pair are two.

    Args:
      sets: with the rows as their files have them, not merged by prompt.
    """
    found: Counter[tuple[str, str]] = Counter()
    files: dict[str, str] = {}
    rows: dict[tuple[object, ...], str] = {}
    made: dict[tuple[object, ...], list[_Made]] = {}
    for preference in (preference for entry in sets for preference in entry):
        name, comma, place = preference.origin.rpartition(", ")
        if not comma:
            continue
        if name not in files:
            files[name] = os.path.realpath(name)
        row = (files[name], place, preference.dimension, preference.source)
        if row in rows:
            found[rows[row], name] += len(preference.comparisons)
            continue
        rows[row] = name
        for key, first in _judgments(preference):
            earlier = made.setdefault(key, [])
            one = (files[name], name, first)
            if (other := _same(one, earlier)) is not None:
                found[other, name] += 1
            earlier.append(one)
    return found


def _judgments(preference: Preference) -> Iterator[tuple[tuple[object, ...], Text | None]]:
    """By what a judgment is known again and what was shown first, of each whose time is known."""
    for one in preference.comparisons:
        if one.judged_at is not None:
            left, right = preference.responses[one.left], preference.responses[one.right]
            about = (preference.dimension, preference.source, preference.prompt, frozenset((left, right)))
            first = {None: None, Side.LEFT: left, Side.RIGHT: right}[one.shown_first]
            yield (*about, one.annotator, one.judged_at), first


def _same(one: _Made, earlier: Sequence[_Made]) -> str | None:
    """The name of the file that has the judgment already; a mean, which was shown in no order, is that of both."""
    file, _, first = one
    for other, name, shown in earlier:
        if other != file and (first == shown or first is None or shown is None):
            return name
    return None
