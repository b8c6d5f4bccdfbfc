"""Paid answers, kept: a SQLite file with one row for each body that an endpoint sent.

An answer counts once it is on the disk (a commit in write-ahead mode with ``synchronous=FULL``), so whatever ends a
run, no answer that it had is asked for again. Bodies are stored as they came, and are read anew each time. One run
at a time: the file stays locked while it is open, and the system unlocks it when the process ends, however it ends.

    CREATE TABLE answers (question TEXT, vote INTEGER, attempt INTEGER, model TEXT, body TEXT, seconds REAL,
                          judged_at TEXT, PRIMARY KEY (question, vote, attempt)) WITHOUT ROWID

``question`` is the digest that ``judge_question.question_key`` gives; ``vote`` counts from 0, and so does ``attempt``,
of which those before the last were nonsense.
"""

import json
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from rmjax.errors import UserError

_VERSION = 1
_APPLICATION = 0x524D4A41
_TABLE = """CREATE TABLE answers (question TEXT, vote INTEGER, attempt INTEGER, model TEXT NOT NULL,
body TEXT NOT NULL, seconds REAL NOT NULL, judged_at TEXT NOT NULL,
PRIMARY KEY (question, vote, attempt)) WITHOUT ROWID"""


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredAnswer:
    """One body, with the seconds that it took and the time at which it came (ISO 8601, UTC)."""

    body: object
    seconds: float
    judged_at: str


class AnswerStore:
    """The answers in the file, which is made where there is none.

    UserError where the file is none of ours, or another run has it open.
    """

    def __init__(self, path: str | os.PathLike[str]):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(path, timeout=0.0, isolation_level=None)
        try:
            self._open(path)
        except sqlite3.OperationalError as error:
            self._connection.close()
            if "locked" in str(error):
                raise UserError(f"{path} is open in another run; wait for its end, or take another --store") from None
            raise
        except sqlite3.DatabaseError as error:
            self._connection.close()
            raise UserError(f"{path}: found no SQLite file ({error}); right would be a new file or a store") from None
        except UserError:
            self._connection.close()
            raise

    def _open(self, path: str | os.PathLike[str]) -> None:
        execute = self._connection.execute
        execute("PRAGMA locking_mode=EXCLUSIVE")
        (application,) = execute("PRAGMA application_id").fetchone()
        (version,) = execute("PRAGMA user_version").fetchone()
        (tables,) = execute("SELECT count(*) FROM sqlite_master").fetchone()
        is_new = not tables and not application
        if not is_new and (application, version) != (_APPLICATION, _VERSION):
            raise UserError(
                f"{path}: found another program's SQLite file, or another version's (version {version}); right would "
                f"be a new file or a store of version {_VERSION}"
            )
        execute("PRAGMA journal_mode=WAL")
        execute("PRAGMA synchronous=FULL")
        execute("BEGIN EXCLUSIVE")  # the locking mode holds the lock from here on
        if is_new:
            execute(_TABLE)
            execute(f"PRAGMA application_id={_APPLICATION}")
            execute(f"PRAGMA user_version={_VERSION}")
        execute("COMMIT")

    def __enter__(self) -> "AnswerStore":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._connection.close()

    def add(self, question: str, *, vote: int, attempt: int, model: str, answer: StoredAnswer) -> None:
        """Keeps an answer; it is on the disk when this returns."""
        body = json.dumps(answer.body)
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

    def bodies(self, question: str) -> Iterator[object]:
        """Yields all bodies that answer a question."""
        for (body,) in self._connection.execute("SELECT body FROM answers WHERE question=?", (question,)):
            yield json.loads(body)
