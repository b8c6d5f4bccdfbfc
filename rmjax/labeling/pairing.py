"""From K responses to the pairs that are shown, by a stated rule."""

import enum
import hashlib
import random
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from types import MappingProxyType

from rmjax.config import ConfigError
from rmjax.errors import UserError
from rmjax.preferences.fields import Fields
from rmjax.preferences.record import Preference
from rmjax.preferences.tasks import Task

Square = Sequence[Sequence[float]]
Sureness = Callable[[Sequence[Task]], Sequence[Square]]
"""Of each task, in order, how sure a model is which of two responses is the better one: a row for each response, with a
number for each other one, comparable over tasks and the same either way round."""


class PairRule(enum.Enum):
    """Which of a task's pairs (``Task.pairs``) are judged, and in which order.

    ALL: all of them. ROUND_ROBIN: in rounds of which each has every response at most once (the circle method), so that
    the responses come up about equally often wherever it ends. LEAST_SURE: first those of which a model
    is least sure which response is better, over all tasks; where there are rewards alone, those with the closest.
    """

    ALL = "all"
    ROUND_ROBIN = "round_robin"
    LEAST_SURE = "least_sure"


@dataclass(frozen=True, slots=True)
class Pair:
    """Two responses of a task, by their indices."""

    task: Task
    left: int
    right: int


@dataclass(frozen=True, slots=True)
class Round:
    """By what the pairs of a labeling job are chosen.

    Attributes:
      rule: that chooses.
      per_task: the most pairs of a task; None for all.
      scorer: the run whose model chooses, for LEAST_SURE; None where none does.
    """

    rule: PairRule
    per_task: int | None = None
    scorer: str | None = None

    def __str__(self) -> str:
        """The flags that ask for it."""
        words = [f"--pairs={self.rule.value}"]
        words += [] if self.per_task is None else [f"--pairs_per_task={self.per_task}"]
        return " ".join([*words, *([] if self.scorer is None else [f"--scorer_workdir={self.scorer}"])])


Held = Mapping[str, Set[tuple[int, int]]]
"""By the task's id the pairs of it that there are, the smaller index first."""


def choose_pairs(
    tasks: Sequence[Task],
    rule: PairRule,
    *,
    per_task: int | None = None,
    sureness: Sureness | None = None,
    held: Held = MappingProxyType({}),
) -> list[Pair]:
    """The pairs of the tasks, in the order in which they are handed out.

    By ALL and ROUND_ROBIN every task has its first pair before any has its second, so that the work can end anywhere.

    Args:
      tasks: with their responses.
      rule: that chooses.
      per_task: the most pairs of a task; None for all.
      sureness: of a model, for LEAST_SURE; None for the rewards that the tasks have themselves.
      held: pairs that are not to be chosen again; they don't count for ``per_task``.

    Raises:
      ConfigError: for a budget beside ALL, or one below 1.
      UserError: where LEAST_SURE has neither a model nor rewards of a task.
      RowError: where it has no model, and a task's rewards aren't a finite number for each response.
    """
    if per_task is not None and (rule is PairRule.ALL or per_task < 1):
        right = "left out with --pairs=all" if rule is PairRule.ALL else "at least 1"
        raise ConfigError(f"--pairs_per_task is {per_task}; it must be {right}")
    remaining = [(task, pairs) for task in tasks if (pairs := _without(task, held))]
    tasks = [task for task, _ in remaining]
    sure: Sequence[Square] = [()] * len(tasks)
    if rule is PairRule.LEAST_SURE and tasks:
        sure = list(map(_of_rewards, tasks)) if sureness is None else sureness(tasks)
    ranked: list[tuple[float, Pair]] = []
    for (task, pairs), known in zip(remaining, sure, strict=True):
        for key, one, other in _ordered(task, pairs, rule, known)[:per_task]:
            ranked.append((key, Pair(task, one, other)))
    return [pair for _, pair in sorted(ranked, key=lambda entry: entry[0])]  # equal keys keep the order of the tasks


def to_judge(pairs: Sequence[Pair], dimension: str) -> tuple[Preference, ...]:
    """The pairs as a labeler takes them: a preference for each task, in the order in which their first pairs stand.

    The pairs of a task share a weight of 1 (``Task.to_judge``).
    """
    chosen: dict[int, tuple[Task, list[tuple[int, int]]]] = {}  # by identity, since equal rows are judged each
    for pair in pairs:
        chosen.setdefault(id(pair.task), (pair.task, []))[1].append((pair.left, pair.right))
    return tuple(task.to_judge(places, dimension) for task, places in chosen.values())


def _without(task: Task, held: Held) -> list[tuple[int, int]]:
    """The task's pairs but those that are held."""
    there = held.get(task.id, ())
    return [pair for pair in task.pairs() if (min(pair), max(pair)) not in there]


def _ordered(task: Task, pairs: list[tuple[int, int]], rule: PairRule, sure: Square) -> list[tuple[float, int, int]]:
    """These pairs of the task, the first to be shown first, with the key by which those of all tasks are ordered."""
    if rule is PairRule.LEAST_SURE:
        return sorted((sure[left][right], left, right) for left, right in pairs)
    if rule is PairRule.ROUND_ROBIN:
        place = {pair: number for number, pair in enumerate(_rounds(task.id, len(task.responses)))}
        pairs = sorted(pairs, key=lambda pair: place[min(pair), max(pair)])
    return [(float(place), left, right) for place, (left, right) in enumerate(pairs)]


def _of_rewards(task: Task) -> Square:
    """How far the task's own rewards are apart."""
    if task.rewards is None:
        raise UserError(
            f"{task.origin}: --pairs=least_sure needs a reward for each response; give --scorer_workdir, or rows with "
            "the field 'rewards' (python -m rmjax.score writes it)"
        )
    known = Fields({"rewards": task.rewards}, task.origin).numbers("rewards", len(task.responses))
    return [[abs(one - other) for other in known] for one in known]


def _rounds(task_id: str, count: int) -> list[tuple[int, int]]:
    """All pairs of so many responses in rounds; which response stands where on the circle is drawn by the id, so that
    no place among the responses is favoured by a budget that ends within a round."""
    seats: list[int | None] = list(range(count))
    # Of a digest, since Python's hash of a text is another one in every process.
    random.Random(hashlib.sha256(task_id.encode()).digest()).shuffle(seats)
    if count % 2:
        seats.append(None)  # whoever meets it rests in this round
    pairs = []
    for _ in range(len(seats) - 1):
        for first, second in zip(seats[: len(seats) // 2], reversed(seats[len(seats) // 2 :]), strict=True):
            if first is not None and second is not None:
                pairs.append((min(first, second), max(first, second)))
        seats = [seats[0], seats[-1], *seats[1:-1]]
    return pairs
