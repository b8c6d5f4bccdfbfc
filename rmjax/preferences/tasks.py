"""What is to be judged: prompts with responses, whether anybody has compared them before or not."""

import dataclasses
import hashlib
import itertools
import json
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from absl import logging

from rmjax.config import OnError
from rmjax.preferences.conversations import read_text
from rmjax.preferences.fields import Fields, shown
from rmjax.preferences.groups import RowDefaults, build, read_responses
from rmjax.preferences.read import read_rows
from rmjax.preferences.record import Comparison, Message, Preference, RowError, Source, Text
from rmjax.preferences.row_forms import ROW_FORMS, RowForm
from rmjax.preferences.write import plain

GOLD = "gold:"  # begins the ids of pairs with a known answer, and no others
_DIGITS = 16  # of a digest


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """One prompt and K >= 2 different responses to it, some pairs of which are to be judged.

    Attributes:
      id: the row's own ``id``, or else a digest of the texts.
      id_error: where the row has an ``id`` that can't be one: then the digest stands for it, except where people are
        asked (``each_once``).
      prompt, responses: as a ``Preference`` has them.
      rewards: the row's field ``rewards`` as it is: whoever chooses by it checks it.
      compared: earlier judgments: their pairs are judged anew, and no others. Without any, every two responses are.
      dimension, utilities: of the row, where the true utilities are known.
      origin, fields: where the task came from, as ``Preference`` has them.
    """

    id: str
    prompt: Text
    responses: tuple[Text, ...]
    id_error: RowError | None = field(default=None, compare=False)
    rewards: object = field(default=None, compare=False)
    compared: tuple[Comparison, ...] = field(default=(), compare=False)
    dimension: str | None = field(default=None, compare=False)
    utilities: tuple[float, ...] | None = field(default=None, compare=False)
    origin: str = field(default="", compare=False)
    fields: tuple[str, ...] = field(default=(), compare=False)

    def pairs(self) -> tuple[tuple[int, int], ...]:
        """The pairs to be judged, each once, as the first judgment of it has left and right."""
        if not self.compared:
            return tuple(itertools.combinations(range(len(self.responses)), 2))
        return tuple(compared_pairs(self.compared))

    @property
    def own_id(self) -> str | None:
        """The id that the row had itself."""
        if self.id.startswith(GOLD):
            return self.id[len(GOLD) + _DIGITS + 1 :] or None
        return None if self.id == digest(self) else self.id

    def as_gold(self, own_id: str | None) -> "Task":
        """The task of a pair with a known answer, whose row may have an id of its own."""
        return dataclasses.replace(self, id=f"{GOLD}{digest(self)}" + (f":{own_id}" if own_id else ""))

    def to_judge(self, pairs: Iterable[tuple[int, int]], dimension: str) -> Preference:
        """The task with some of its pairs, each with probability 0.5, for a labeler that judges that dimension.

        With n pairs each weighs 1/n, as in what people judged, so that no prompt counts more than another. The row's
        own id stays, and so do utilities where they are of that dimension.
        """
        chosen = list(pairs)
        return Preference(
            prompt=self.prompt, responses=self.responses, dimension=dimension, source=Source.HUMAN, origin=self.origin,
            id=self.own_id, fields=self.fields, utilities=self.utilities if self.dimension == dimension else None,
            comparisons=tuple(
                Comparison(left=left, right=right, probability=0.5, weight=1 / len(chosen)) for left, right in chosen
            ),
        )  # fmt: skip

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


def compared_pairs(comparisons: Iterable[Comparison]) -> dict[tuple[int, int], float]:
    """The pairs (left, right) that were compared, each once, in order, with the sum of its comparisons' weights.

    Which response is left is as the first comparison of a pair has it.
    """
    weights: dict[tuple[int, int], float] = {}
    for one in comparisons:
        turned = (one.right, one.left)
        pair = turned if turned in weights else (one.left, one.right)
        weights[pair] = weights.get(pair, 0.0) + one.weight
    return weights


def task_of(preference: Preference) -> Task:
    """The task of judging a preference's pairs anew, or every two responses where it compares none."""
    task = Task(
        id="", prompt=preference.prompt, responses=preference.responses, compared=preference.comparisons,
        dimension=preference.dimension, utilities=preference.utilities, origin=preference.origin,
        fields=preference.fields,
    )  # fmt: skip
    name = preference.id
    return dataclasses.replace(task, id=digest(task) if name is None or name.startswith(GOLD) else name)


def digest(task: Task) -> str:
    """A name for the task's texts: 64 bits of their SHA-256, in hexadecimal."""
    return hashlib.sha256(task.texts().encode()).hexdigest()[:_DIGITS]


def gold_name(task_id: str) -> str:
    """What of a gold pair's id is by its texts alone, whichever id its row has."""
    return task_id[: len(GOLD) + _DIGITS]


def read_tasks(
    path: str | os.PathLike[str], *, defaults: RowDefaults, on_error: OnError = OnError.DEFAULT
) -> tuple[tuple[Task, ...], Counter[str]]:
    """The tasks of a file, or of all files that a glob matches, in order; and what was skipped, by kind of fault.

    A row is ``{"prompt": TEXT or MESSAGES, "responses": [K >= 2 of them]}`` or any row that preferences are read from.
    Text in reply to messages is the assistant's message. ``id`` (text or a whole number) and ``rewards`` are read where
    a row has them; what is wrong with them is an error only where they are needed. Other errors are those of
    ``read_preferences``.
    """
    return read_rows(path, defaults=defaults, on_error=on_error, forms=TASK_FORMS, made=_read_task)


def _read_task(fields: Fields, preference: Preference) -> Task:
    task = dataclasses.replace(task_of(preference), rewards=fields.values.get("rewards"))
    try:
        _check_id(fields)
    except RowError as error:
        return dataclasses.replace(task, id_error=error)
    return task


def _check_id(fields: Fields) -> None:
    """RowError for an ``id`` that ``task_of`` doesn't take."""
    value = fields.values.get("id")
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return
    name = fields.string("id", right="text or a whole number")
    if not name or name.startswith(GOLD):
        right = f"text that is not empty and doesn't begin with {GOLD!r}"
        raise fields.error("id", "bad id", found=shown(name), right=right)


def each_once(tasks: Iterable[Task], on_error: OnError = OnError.DEFAULT) -> tuple[Task, ...]:
    """The tasks, no two of one id: people are asked once.

    Raises:
      RowError: where an id comes again, or can't be one; with ``OnError.SKIP`` only where it comes with other texts, or
        no task has one that can be.
    """
    found: dict[str, Task] = {}
    bad: list[RowError] = []
    again = 0
    for task in tasks:
        if task.id_error is not None:
            bad.append(task.id_error)
            continue
        first = found.setdefault(task.id, task)
        if first is task:
            continue
        if on_error is not OnError.SKIP or first != task:
            right = f"another id or other texts than those of {first.origin}"
            raise RowError(origin=task.origin, field="id", kind="task twice", found=shown(task.id), right=right)
        again += 1
    if bad and not (on_error is OnError.SKIP and found):
        raise bad[0]
    if again or bad:
        logging.warning("skipped %d tasks that had come before, and %d with an id that can't be one", again, len(bad))
    return tuple(found.values())


def parse_unjudged(fields: Fields, defaults: RowDefaults) -> Preference:
    """Responses to one prompt that nobody has compared: a preference without comparisons, of which a task is made.

    {"prompt": "Name a prime.", "responses": [" 7", " 9", " Eleven."]}
    """
    prompt = ("prompt", read_text(fields, "prompt"))
    return build(fields, defaults, prompt=prompt, responses=read_responses(fields), comparisons=())


def _is_unjudged(fields: Fields) -> bool:
    return fields.has("responses") and not fields.has("comparisons") and not fields.has("ranking")


def _text(value: str | list[dict[str, str]]) -> Text:
    if isinstance(value, str):
        return value
    return tuple(Message(role=message["role"], content=message["content"]) for message in value)


TASK_FORMS: tuple[RowForm, ...] = (RowForm("{prompt, responses}", _is_unjudged, parse_unjudged), *ROW_FORMS)
