"""Which rows and judgments of several data sets are there again, though they were made once."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rmjax.preferences.record import Comparison, Preference, PreferenceSet, Side, Text


@dataclass(frozen=True, slots=True)
class Stand:
    """Where a row stands, or one of its judgments.

    Attributes:
      spec: of the data set.
      name: of the file or data set that the row is of.
      preference: the row.
      comparison: the place of the judgment in it; None for the whole row.
    """

    spec: str
    name: str
    preference: Preference
    comparison: int | None = None

    @property
    def judgment(self) -> Comparison:
        """The judgment; only of one."""
        assert self.comparison is not None
        return self.preference.comparisons[self.comparison]

    @property
    def shown_first(self) -> Text | None:
        """The response that the labeler saw first; None where nothing is known of it."""
        one = self.judgment
        if one.shown_first is None:
            return None
        return self.preference.responses[one.left if one.shown_first is Side.LEFT else one.right]


def repeats(sets: Iterable[PreferenceSet]) -> Iterator[tuple[Stand, Stand]]:
    """Yields (where it stood first, where it stands again), of whole rows and of judgments.

    A row is there again where its file is, by whatever name, unless another labeler has judged it anew
    (``SPEC@LABELER``). A judgment is there again where another file has one of the same annotator, pair and time: an
    older export, a copy, or the labels of an AI judge beside their ``.orders.jsonl``, of which they are the mean. In
    one file a stored answer may stand at several equal tasks, and judgments of both orders of a pair are two.

    Args:
      sets: with the rows as their files have them, not merged by prompt.
    """
    places: dict[str, str] = {}
    rows: dict[tuple[object, ...], Stand] = {}
    made: dict[tuple[object, ...], list[Stand]] = {}
    for spec, preference in ((entry.spec, row) for entry in sets for row in entry):
        name, comma, line = preference.origin.rpartition(", ")
        stand = Stand(spec, name, preference)
        if name not in places:
            places[name] = os.path.realpath(name)
        row = (places[name], line, preference.dimension, preference.source)
        if comma and (earlier := rows.setdefault(row, stand)) is not stand:
            yield earlier, stand
            continue
        for key, one in _judgments(stand):
            others = made.setdefault(key, [])
            if (other := _same(one, others, places)) is not None:
                yield other, one
            others.append(one)


def repeated(sets: Iterable[PreferenceSet]) -> Counter[tuple[str, str]]:
    """How many comparisons are there again, by (the file that has them first, the one that has them again)."""
    found: Counter[tuple[str, str]] = Counter()
    for earlier, again in repeats(sets):
        found[earlier.name, again.name] += len(again.preference.comparisons) if again.comparison is None else 1
    return found


def _judgments(stand: Stand) -> Iterator[tuple[tuple[object, ...], Stand]]:
    """Each judgment of a row whose time is known, after what it is known again by."""
    preference = stand.preference
    for place, one in enumerate(preference.comparisons):
        if one.judged_at is not None:
            about = (preference.dimension, preference.source, *preference.pair(one.left, one.right))
            yield (*about, one.annotator, one.judged_at), Stand(stand.spec, stand.name, preference, place)


def _same(one: Stand, others: Sequence[Stand], places: dict[str, str]) -> Stand | None:
    """The judgment in another file that is this one; a mean, which was shown in no order, is that of both."""
    for other in others:
        if places[other.name] != places[one.name] and (
            None in (one.shown_first, other.shown_first) or one.shown_first == other.shown_first
        ):
            return other
    return None
