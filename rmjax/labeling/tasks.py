"""What people are asked to judge: prompts with the responses to compare, read from files."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from absl import logging

from rmjax.preferences.fields import Fields, shown
from rmjax.preferences.files import find_files, read_file
from rmjax.preferences.groups import RowDefaults
from rmjax.preferences.read import read_preferences
from rmjax.preferences.record import FileError, Message, RowError, Side, Text
from rmjax.preferences.row_forms import find_form
from rmjax.preferences.tasks import TASK_FORMS
from rmjax.preferences.write import plain


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """One prompt and K >= 2 different responses to it.

    Attributes:
      id: the row's own ``id``, or else a digest of the texts.
      prompt, responses: as a ``Preference`` has them.
      rewards: of each response, where the row has the field ``rewards``, as ``rmjax.score`` writes it.
      origin: where the task came from, as messages show it.
    """

    id: str
    prompt: Text
    responses: tuple[Text, ...]
    rewards: tuple[float, ...] | None = field(default=None, compare=False)
    origin: str = field(default="", compare=False)

    def texts(self) -> str:
        """Prompt and responses as JSON; equal texts give equal JSON."""
        row = {"prompt": plain(self.prompt), "responses": [plain(response) for response in self.responses]}
        return json.dumps(row, ensure_ascii=False)

    @classmethod
    def of_texts(cls, task_id: str, texts: str) -> "Task":
        """The task whose ``texts()`` these are."""
        row = json.loads(texts)
        return cls(
            id=task_id,
            prompt=_text(row["prompt"]),
            responses=tuple(_text(response) for response in row["responses"]),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class GoldPair:
    """A pair whose answer is known, by which the annotators' attention is checked.

    ``task`` has exactly the two responses, and ``answer`` is the one that is better: left the first, right the second.
    """

    task: Task
    answer: Side


def read_tasks(path: str) -> tuple[Task, ...]:
    """The tasks of a file, or of all files that a glob matches, in order.

    A row is ``{"prompt": TEXT or MESSAGES, "responses": [K >= 2 of them]}`` or any row that preferences are read from,
    whose judgments are ignored. Text in reply to messages is the assistant's message. ``id`` (text or a whole number)
    and ``rewards`` (a number for each response) are read where a row has them.

    Raises:
      RowError: for a bad row; those of a form whose published files are known to hold some are skipped and counted.
      FileError: where there is no such file, or no task in it.
    """
    tasks: list[Task] = []
    places: dict[str, str] = {}
    skipped: Counter[str] = Counter()
    for file in find_files(path):
        for origin, row in read_file(file):
            task = _read_task(row, origin, skipped)
            if task is None:
                continue
            if task.id in places:
                right = f"another id or other texts than those of {places[task.id]}"
                raise RowError(origin=origin, field="id", kind="task twice", found=shown(task.id), right=right)
            places[task.id] = origin
            tasks.append(task)
    if skipped:
        counts = ", ".join(f"{count} {kind}" for kind, count in skipped.most_common())
        logging.warning("%s: skipped %d rows: %s", path, skipped.total(), counts)
    if not tasks:
        raise FileError(path, found="no row that can be used", right="at least one prompt with two responses")
    return tuple(tasks)


def _read_task(row: Mapping[str, object] | RowError, origin: str, skipped: Counter[str]) -> Task | None:
    """The task of a row; None where the row is bad and was counted in skipped."""
    if isinstance(row, RowError):
        raise row
    fields = Fields(row, origin)
    form = find_form(fields, TASK_FORMS if isinstance(row.get("responses"), list) else ())
    try:
        # The dimension is only what the reader asks for: the row's judgments are ignored.
        preference = form.parse(fields, RowDefaults("any"))
    except RowError as error:
        if not form.skips_by_default:
            raise
        skipped[error.kind] += 1
        return None
    task = Task(id="", prompt=preference.prompt, responses=preference.responses, origin=origin)
    rewards = fields.numbers("rewards", len(task.responses)) if fields.has("rewards") else None
    return Task(
        id=_read_id(fields) or digest(task), prompt=task.prompt, responses=task.responses, rewards=rewards,
        origin=origin,
    )  # fmt: skip


def _read_id(fields: Fields) -> str | None:
    if not fields.has("id"):
        return None
    value = fields.values["id"]
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    name = fields.string("id", right="text or a whole number")
    if not name or name.startswith(_GOLD):
        right = f"text that is not empty and doesn't begin with {_GOLD!r}"
        raise fields.error("id", "bad id", found=shown(name), right=right)
    return name


def digest(task: Task) -> str:
    """A name for the task's texts: 64 bits of their SHA-256, in hexadecimal."""
    return hashlib.sha256(task.texts().encode()).hexdigest()[:16]


_GOLD = "gold:"


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
            task = Task(id=_GOLD + digest(task), prompt=task.prompt, responses=pair, origin=preference.origin)
            answer = Side.LEFT if comparison.probability > 0.5 else Side.RIGHT
            if found.setdefault(task.id, GoldPair(task=task, answer=answer)).answer is not answer:
                raise RowError(
                    origin=preference.origin, field="probability", kind="two answers", found="both responses preferred",
                    right="one known answer for each pair",
                )  # fmt: skip
    return tuple(found.values())


def _text(value: str | list[dict[str, str]]) -> Text:
    if isinstance(value, str):
        return value
    return tuple(Message(role=message["role"], content=message["content"]) for message in value)
