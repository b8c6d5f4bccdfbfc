"""Pairs whose answer is known, which people are asked among their tasks."""

from dataclasses import dataclass

from rmjax.preferences.fields import shown
from rmjax.preferences.groups import RowDefaults
from rmjax.preferences.read import read_preferences
from rmjax.preferences.record import RowError, Side
from rmjax.preferences.tasks import Task, gold_name


@dataclass(frozen=True, kw_only=True, slots=True)
class GoldPair:
    """A pair whose answer is known, by which the annotators' attention is checked.

    ``task`` has exactly the two responses and the row's own id, and ``answer`` is the one that is better: left the
    first, right the second.
    """

    task: Task
    answer: Side


def read_gold(path: str, dimension: str) -> tuple[GoldPair, ...]:
    """The pairs with known answers of a file of preferences: the response of probability above 0.5 is the better one.

    Raises:
      RowError: for a row of another dimension, a tie, or what ``read_preferences`` can't read.
      FileError: as ``read_preferences``.
    """
    found: dict[str, GoldPair] = {}
    for preference in read_preferences(path, defaults=RowDefaults(dimension)):
        if preference.dimension != dimension:
            raise RowError(
                origin=preference.origin, field="dimension", kind="another dimension",
                found=shown(preference.dimension), right=f"{dimension!r}, which is what the annotators are asked",
            )  # fmt: skip
        for comparison in preference.comparisons:
            if comparison.probability == 0.5:
                raise RowError(
                    origin=preference.origin, field="probability", kind="no known answer", found="0.5, a tie",
                    right="a pair of which one response is known to be better",
                )  # fmt: skip
            pair = (preference.responses[comparison.left], preference.responses[comparison.right])
            task = Task(id="", prompt=preference.prompt, responses=pair, origin=preference.origin)
            task = task.as_gold(preference.id)
            answer = Side.LEFT if comparison.probability > 0.5 else Side.RIGHT
            if found.setdefault(gold_name(task.id), GoldPair(task=task, answer=answer)).answer is not answer:
                raise RowError(
                    origin=preference.origin, field="probability", kind="two answers", found="both responses preferred",
                    right="one known answer for each pair",
                )  # fmt: skip
    return tuple(found.values())
