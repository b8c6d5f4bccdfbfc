"""Paid answers, kept: a SQLite file with one row for each body that an endpoint sent.

An answer counts once it is on the disk (a commit in write-ahead mode with ``synchronous=FULL``), so whatever ends a
run, no answer that it had is asked for again. Bodies are stored as they came, and are read anew each time. One run
at a time: the file stays locked while it is open, and the system unlocks it when the process ends, however it ends.

    CREATE TABLE answers (question TEXT, vote INTEGER, attempt INTEGER, model TEXT, body TEXT, seconds REAL,
                          judged_at TEXT, PRIMARY KEY (question, vote, attempt)) WITHOUT ROWID

``question`` is the digest that ``question.question_key`` gives; ``vote`` counts from 0, and so does ``attempt``,
of which those before the last were nonsense.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType

from rmjax.labeling.sqlite_file import explained, opened

_VERSION = 1
_APPLICATION = 0x524D4A41
_TABLE = """CREATE TABLE answers (question TEXT, vote INTEGER, attempt INTEGER, model TEXT NOT NULL,
body TEXT NOT NULL, seconds REAL NOT NULL, judged_at TEXT NOT NULL,
PRIMARY KEY (question, vote, attempt)) WITHOUT ROWID;"""


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredAnswer:
    """One body, with the seconds that it took and the time at which it came (ISO 8601, UTC)."""

    body: object
    seconds: float
    judged_at: str


class AnswerStore:
    """The answers in the file, which is made where there is none.

    UserError where the file is none of ours, another run has it open, or SQLite can't use it.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self._path = path
        self._connection = opened(path, application=_APPLICATION, version=_VERSION, schema=_TABLE, exclusive=True)

    def __enter__(self) -> "AnswerStore":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._connection.close()

    def add(self, question: str, *, vote: int, attempt: int, model: str, answer: StoredAnswer) -> None:
        """Keeps an answer; it is on the disk when this returns. UserError where the disk is full."""
        body = json.dumps(answer.body)
        with explained(self._path):
            self._connection.execute(
                "INSERT INTO answers VALUES (?, ?, ?, ?, ?, ?, ?)",
                (question, vote, attempt, model, body, answer.seconds, answer.judged_at),
            )

    def attempts(self, question: str, vote: int) -> list[StoredAnswer]:
        """The answers to a question as one vote, in order; all but the last are nonsense."""
        return [
            StoredAnswer(body=json.loads(body), seconds=seconds, judged_at=judged_at)
            for body, seconds, judged_at in self._connection.execute(
                "SELECT body, seconds, judged_at FROM answers WHERE question=? AND vote=? ORDER BY attempt",
                (question, vote),
            )
        ]

    def times(self, model: str) -> set[str]:
        """When the answers of a model came."""
        return {time for (time,) in self._connection.execute("SELECT judged_at FROM answers WHERE model=?", (model,))}

    def bodies(self, question: str) -> Iterator[object]:
        """Yields all bodies that answer a question."""
        for (body,) in self._connection.execute("SELECT body FROM answers WHERE question=?", (question,)):
            yield json.loads(body)
