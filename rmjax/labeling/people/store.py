"""The store of a labeling job: one SQLite file that holds all of it.

A judgment is on the disk when its transaction ends: the file is in WAL mode with ``synchronous=FULL``. Judgments are
only ever added; an undo is a row too, which names the judgment that no longer stands.
"""

import contextlib
import json
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

from rmjax.errors import UserError
from rmjax.labeling.pairing import Held, Pair, PairRule, Round
from rmjax.labeling.people.gold import GoldPair
from rmjax.labeling.sqlite_file import explained, opened
from rmjax.preferences.tasks import Task, gold_name

_APPLICATION = 0x726D6C62  # "rmlb", by which SQLite files of other programs are told apart
_VERSION = 1
_WAIT_S = 10.0  # for another process's transaction
_SCHEMA = """
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE tasks (id TEXT PRIMARY KEY, texts TEXT NOT NULL) STRICT;
CREATE TABLE pairs (
  number INTEGER PRIMARY KEY,         -- handed out in this order
  task TEXT NOT NULL REFERENCES tasks(id),
  left INTEGER NOT NULL,
  right INTEGER NOT NULL,
  gold TEXT CHECK (gold IN ('left', 'right')),  -- the known answer; NULL where there is none
  judged INTEGER NOT NULL DEFAULT 0,  -- how many judgments of it stand, skips not counted
  UNIQUE (task, left, right)
) STRICT;
CREATE TABLE annotators (name TEXT PRIMARY KEY, first_seen TEXT NOT NULL) STRICT;
CREATE TABLE leases (
  pair INTEGER PRIMARY KEY REFERENCES pairs(number),               -- so one annotator has it at a time
  annotator TEXT NOT NULL UNIQUE REFERENCES annotators(name),  -- and has one pair at a time
  key TEXT NOT NULL UNIQUE,
  shown_first TEXT NOT NULL CHECK (shown_first IN ('left', 'right')),
  handed_at REAL NOT NULL,
  expires REAL NOT NULL
) STRICT;
CREATE TABLE judgments (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  pair INTEGER NOT NULL REFERENCES pairs(number),
  annotator TEXT NOT NULL REFERENCES annotators(name),
  lease TEXT NOT NULL UNIQUE,         -- so that a form sent twice is one judgment
  answer TEXT NOT NULL CHECK (answer IN ('left', 'right', 'tie', 'skip', 'undo')),
  strength TEXT CHECK (strength IN ('slightly', 'clearly', 'much')),
  shown_first TEXT NOT NULL CHECK (shown_first IN ('left', 'right')),
  seconds REAL NOT NULL,
  judged_at TEXT NOT NULL,
  undoes INTEGER UNIQUE REFERENCES judgments(number),
  CHECK ((answer = 'undo') = (undoes IS NOT NULL))
) STRICT;
CREATE INDEX judgments_of_pairs ON judgments (pair, annotator);
CREATE INDEX judgments_of_annotators ON judgments (annotator, number);
CREATE TRIGGER judgments_stay BEFORE UPDATE ON judgments BEGIN SELECT RAISE(ABORT, 'judgments are only added'); END;
CREATE TRIGGER judgments_remain BEFORE DELETE ON judgments BEGIN SELECT RAISE(ABORT, 'judgments are only added'); END;
CREATE VIEW standing AS SELECT * FROM judgments AS made WHERE made.answer != 'undo'
  AND NOT EXISTS (SELECT 1 FROM judgments AS later WHERE later.undoes = made.number);
CREATE TABLE sessions (
  digest TEXT PRIMARY KEY,            -- of the cookie's value
  annotator TEXT NOT NULL REFERENCES annotators(name),
  token TEXT NOT NULL,                -- the digest of the token that it was opened with; empty without tokens
  form_token TEXT NOT NULL,
  expires REAL NOT NULL
) STRICT;
"""


class Store:
    """One labeling job.

    Args:
      path: of the SQLite file.
      create: makes it where there is none, which is else an error.

    Raises:
      UserError: as ``opened``.
    """

    def __init__(self, path: str, *, create: bool = True):
        self.path = path
        self._lock = threading.Lock()
        self._connection = opened(
            path, application=_APPLICATION, version=_VERSION, schema=_SCHEMA, create=create, wait_s=_WAIT_S
        )
        self._connection.row_factory = sqlite3.Row

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All of the block or nothing, and nobody else's writing within it; on the disk when the block ends.

        UserError, and nothing, where somebody else writes for longer than is waited, or the disk is full.
        """
        with self._lock, explained(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def settle(self, settings: Mapping[str, str]) -> None:
        """Keeps what may not change between two starts; UserError where it is another than at the first."""
        with self.transaction() as database:
            kept = dict(database.execute("SELECT name, value FROM settings").fetchall())
            free = _free(database)
            for name, value in settings.items():
                if kept.get(name, value) != value:
                    raise UserError(
                        f"--{name} is {value!r}; right would be {kept[name]!r}, with which {self.path} was begun, or "
                        f"another --store{free}"
                    )
                if name not in kept:
                    database.execute("INSERT INTO settings VALUES (?, ?)", (name, value))

    def keep(self, proposed: Mapping[str, str]) -> None:
        """Keeps settings that the store hasn't yet, as a name of its own; those that it has stay as they are."""
        with self.transaction() as database:
            database.executemany("INSERT INTO settings VALUES (?, ?) ON CONFLICT DO NOTHING", list(proposed.items()))

    def serve_with(self, flags: Mapping[str, str]) -> dict[str, tuple[str, str]]:
        """Keeps the flags of this start, which may change between two; (before, now) of those that did, by name.

        None in a store that was not served with any of them yet.
        """
        with self.transaction() as database:
            kept = database.execute("SELECT value FROM settings WHERE name = 'served'").fetchone()
            before = json.loads(kept[0] if kept else "{}")
            database.execute("INSERT OR REPLACE INTO settings VALUES ('served', ?)", (json.dumps(dict(flags)),))
        return {name: (before[name], now) for name, now in flags.items() if before.get(name, now) != now}

    def setting(self, name: str) -> str:
        """What ``settle`` or ``keep`` has kept; UserError in a store where it wasn't yet."""
        with self.transaction() as database:
            found = database.execute("SELECT value FROM settings WHERE name = ?", (name,)).fetchone()
        if found is None:
            raise UserError(f"{self.path}: the store has no {name} yet; it is settled when the page is first served")
        return found["value"]

    def new_tasks(self, tasks: Sequence[Task]) -> list[Task]:
        """Those of the tasks that the store doesn't hold yet.

        Raises:
          UserError: where one has other texts than in the store, or one of the store is missing.
        """
        with self.transaction() as database:
            kept = dict(database.execute("SELECT id, texts FROM tasks WHERE id NOT GLOB 'gold:*'").fetchall())
            free = _free(database)
        known = set(kept)
        for task in tasks:
            if kept.pop(task.id, texts := task.texts()) != texts:
                raise UserError(
                    f"{task.origin}: the task {task.id!r} has other texts than in {self.path}; right would be the "
                    f"texts that were judged, or another id{free}"
                )
        if kept:
            raise UserError(
                f"--tasks lacks {len(kept)} tasks of {self.path}, {next(iter(kept))!r} among them; right would be the "
                f"tasks that it was begun with, with new ones if you like, or another --store{free}"
            )
        return [task for task in tasks if task.id not in known]

    def held(self) -> dict[str, frozenset[tuple[int, int]]]:
        """The pairs of each task, those with a known answer left out."""
        with self.transaction() as database:
            return _held(database)

    def begins(self, wanted: Round) -> bool:
        """Whether pairs are to be chosen anew, also of the tasks that are there: by a model that hasn't chosen any yet.

        False for the first round of a store, and for one that it knows. UserError for any other.
        """
        with self.transaction() as database:
            known, free = _rounds(database), _free(database)
        if not known or wanted in known:
            return False
        if wanted.scorer is None or wanted.scorer in {one.scorer for one in known}:
            raise UserError(
                f"{wanted} is not what {self.path} was begun with; right would be {' or '.join(map(str, known))}, "
                f"--pairs=least_sure with another --scorer_workdir, which adds pairs, or another --store{free}"
            )
        return True

    def add(self, pairs: Sequence[Pair], chosen_by: Round, held: Held = MappingProxyType({})) -> int:
        """Adds pairs, after those that are there; how many.

        Args:
          pairs: none that are there.
          chosen_by: this round; it is kept.
          held: what ``held`` said when they were chosen. A task to which another start has added pairs since keeps
            those that it has.

        Raises:
          UserError: where that befalls a round that is not kept yet: kept now, it would never have those pairs.
        """
        with self.transaction() as database:
            known, there = _rounds(database), _held(database)
            new = [pair for pair in pairs if there.get(pair.task.id, set()) == held.get(pair.task.id, set())]
            if chosen_by not in known:
                if len(new) < len(pairs):
                    taken = next(pair.task.id for pair in pairs if pair not in new)
                    raise UserError(
                        f"{self.path}: another start has added pairs of {taken!r} meanwhile; right would be the same "
                        "command once more"
                    )
                rounds = json.dumps([[one.rule.value, one.per_task, one.scorer] for one in [*known, chosen_by]])
                database.execute("INSERT OR REPLACE INTO settings VALUES ('rounds', ?)", (rounds,))
            for pair in new:
                row = (pair.task.id, pair.task.texts())
                database.execute("INSERT INTO tasks VALUES (?, ?) ON CONFLICT DO NOTHING", row)
                database.execute(
                    "INSERT INTO pairs (task, left, right) VALUES (?, ?, ?)", (pair.task.id, pair.left, pair.right)
                )
        return len(new)

    def add_gold(self, pairs: Sequence[GoldPair]) -> int:
        """Adds the gold pairs that aren't there yet; how many there are then, those of earlier starts included.

        UserError where one has another answer than in the store.
        """
        with self.transaction() as database:
            there = database.execute("SELECT task, gold FROM pairs WHERE gold IS NOT NULL")
            answers = {gold_name(task): answer for task, answer in there}
            for pair in pairs:
                name = gold_name(pair.task.id)
                if name not in answers:
                    database.execute("INSERT INTO tasks VALUES (?, ?)", (pair.task.id, pair.task.texts()))
                    row = (pair.task.id, pair.answer.value)
                    database.execute("INSERT INTO pairs (task, left, right, gold) VALUES (?, 0, 1, ?)", row)
                elif answers[name] != pair.answer.value:
                    raise UserError(
                        f"{pair.task.origin}: the answer is {pair.answer.value}; right would be {answers[name]}, as in "
                        f"{self.path}, or another --store{_free(database)}"
                    )
            (count,) = database.execute("SELECT count(*) FROM pairs WHERE gold IS NOT NULL").fetchone()
        return count

    def durability(self) -> tuple[str, int]:
        """SQLite's journal mode and its level of synchronous (2 is FULL)."""
        with self._lock:
            (mode,) = self._connection.execute("PRAGMA journal_mode").fetchone()
            (level,) = self._connection.execute("PRAGMA synchronous").fetchone()
        return mode, level

    def close(self) -> None:
        with self._lock:
            self._connection.close()


def _free(database: sqlite3.Connection) -> str:
    """What an error says besides where nothing would be lost with the store."""
    if database.execute("SELECT 1 FROM judgments LIMIT 1").fetchone():
        return ""
    return "; nobody has judged anything in it yet, so the store may be deleted while no page is served from it"


def _held(database: sqlite3.Connection) -> dict[str, frozenset[tuple[int, int]]]:
    found: dict[str, set[tuple[int, int]]] = {}
    for task, *pair in database.execute("SELECT task, left, right FROM pairs WHERE gold IS NULL"):
        found.setdefault(task, set()).add((min(pair), max(pair)))
    return {task: frozenset(pairs) for task, pairs in found.items()}


def _rounds(database: sqlite3.Connection) -> list[Round]:
    """Those in which pairs were chosen, in order."""
    kept = database.execute("SELECT value FROM settings WHERE name = 'rounds'").fetchone()
    return [Round(PairRule(rule), per_task, scorer) for rule, per_task, scorer in json.loads(kept[0] if kept else "[]")]
