"""Handing out pairs, and taking judgments back.

A pair that is handed out is leased: nobody else gets it until it is judged or the lease ends. Each function is one
transaction of the store; ``now`` is the time in seconds since 1970.
"""

import datetime
import enum
import hashlib
import math
import secrets
import sqlite3
import statistics
from dataclasses import dataclass

from rmjax.labeling.people.store import Store
from rmjax.preferences.record import Side, Strength, Text
from rmjax.preferences.tasks import Task


class Answer(enum.Enum):
    """What an annotator said of a pair: which side of the page is better (first: the left one), neither, or nothing."""

    FIRST = "first"
    SECOND = "second"
    TIE = "tie"
    SKIP = "skip"


class Taken(enum.Enum):
    """What became of a judgment: stored, stored before and standing as it was said, or refused.

    OTHERWISE: the annotator had judged the pair by that lease with another answer, or had taken that judgment back.
    GONE: the pair is no longer the annotator's.
    """

    STORED = enum.auto()
    REPEATED = enum.auto()
    OTHERWISE = enum.auto()
    GONE = enum.auto()


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """How pairs are handed out.

    Attributes:
      annotators_per_pair: how many judge each pair; skips don't count.
      gold_rate: with which probability the next pair is a gold one, while there are some that the annotator hasn't had.
      lease_seconds: for how long a pair is nobody else's.
    """

    annotators_per_pair: int = 1
    gold_rate: float = 0.0
    lease_seconds: float = 600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Lease:
    """A pair in an annotator's hands: ``key`` is what its judgment must bring."""

    key: str
    task: Task
    left: int
    right: int
    shown_first: Side
    handed_at: float

    @property
    def first(self) -> Text:
        """The response on the left of the page."""
        return self.task.responses[self.left if self.shown_first is Side.LEFT else self.right]

    @property
    def second(self) -> Text:
        """The response on the right of the page."""
        return self.task.responses[self.right if self.shown_first is Side.LEFT else self.left]


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How far it is.

    Attributes:
      judged, wanted: judgments of all annotators, those of gold pairs and skips left out.
      mine: of this annotator, gold pairs included and skips left out.
      skipped: of this annotator.
      median_seconds: for each of them, None where there are none.
      last: the number of the last that stands, which can be undone.
    """

    judged: int
    wanted: int
    mine: int
    skipped: int
    median_seconds: float | None
    last: int | None

    @property
    def percent(self) -> int:
        """How much of ``wanted`` is judged, which is 100 only where all is.

        In steps of at least a twentieth and at least ten judgments, rounded down: a finer share would tell after each
        answer whether it was to a gold pair, which are left out.
        """
        if self.judged >= self.wanted:
            return 100
        step = max(_LEAST_STEP, math.ceil(self.wanted / 20))
        return 100 * (self.judged // step * step) // self.wanted


_LEAST_STEP = 10  # judgments
_COLUMNS = "SELECT * FROM leases JOIN pairs ON pairs.number = leases.pair JOIN tasks ON tasks.id = pairs.task"
_FREE = """SELECT number FROM pairs WHERE {which}
  AND NOT EXISTS (SELECT 1 FROM standing WHERE standing.pair = pairs.number AND standing.annotator = :annotator)
  AND NOT EXISTS (SELECT 1 FROM leases WHERE leases.pair = pairs.number AND leases.expires > :now)
  ORDER BY number"""
_WANTED = _FREE.format(which="gold IS NULL AND judged < :most") + " LIMIT 1"
_GOLD = _FREE.format(which="gold IS NOT NULL")


def enter(store: Store, annotator: str, now: float) -> None:
    """Makes the annotator known; nothing changes for one who is."""
    with store.transaction() as database:
        database.execute("INSERT INTO annotators VALUES (?, ?) ON CONFLICT DO NOTHING", (annotator, iso_time(now)))


def hand_out(store: Store, annotator: str, rules: Rules, now: float) -> Lease | None:
    """The pair that the annotator has in hand, or else the next one; None where there is none at the moment.

    A lease that ended while nobody else wanted the pair goes on.
    """
    with store.transaction() as database:
        expires = now + rules.lease_seconds
        held = database.execute("SELECT key FROM leases WHERE annotator = ?", (annotator,)).fetchone()
        if held is None:
            number = _next_pair(database, annotator, rules, now)
            if number is None:
                return None
            side = secrets.choice((Side.LEFT, Side.RIGHT)).value
            _lease(database, number, annotator, side, now, expires)
        else:
            database.execute("UPDATE leases SET expires = ? WHERE key = ?", (expires, held["key"]))
        row = database.execute(f"{_COLUMNS} WHERE leases.annotator = ?", (annotator,)).fetchone()
    return Lease(
        key=row["key"], task=Task.of_texts(row["task"], row["texts"]), left=row["left"], right=row["right"],
        shown_first=Side(row["shown_first"]), handed_at=row["handed_at"],
    )  # fmt: skip


def _next_pair(database: sqlite3.Connection, annotator: str, rules: Rules, now: float) -> int | None:
    values = {"annotator": annotator, "most": rules.annotators_per_pair, "now": now}
    wanted = database.execute(_WANTED, values).fetchone()
    if wanted is None:
        return None
    (made,) = database.execute("SELECT count(*) FROM judgments WHERE annotator = ?", (annotator,)).fetchone()
    (secret,) = database.execute("SELECT value FROM settings WHERE name = 'secret'").fetchone()
    if _drawn(secret, annotator, str(made)) < rules.gold_rate:
        # In an order of the annotator's own: two who compare what they had can't tell by it which pairs are gold.
        gold = [number for (number,) in database.execute(_GOLD, values)]
        return min(gold, key=lambda number: _drawn(secret, annotator, f"gold {number}"), default=wanted["number"])
    return wanted["number"]


def _drawn(secret: str, annotator: str, which: str) -> float:
    """In [0, 1), of what doesn't change, so that asking again doesn't draw again, and annotators can't know."""
    return int.from_bytes(hashlib.sha256(f"{secret}\n{annotator}\n{which}".encode()).digest()[:8]) / 2**64


def _lease(
    database: sqlite3.Connection, number: int, annotator: str, side: str, handed_at: float, expires: float
) -> None:
    """Leases the pair, in the place of a lease that has ended."""
    database.execute("DELETE FROM leases WHERE pair = ? OR annotator = ?", (number, annotator))
    row = (number, annotator, secrets.token_urlsafe(16), side, handed_at, expires)
    database.execute("INSERT INTO leases VALUES (?, ?, ?, ?, ?, ?)", row)


def release(store: Store, annotator: str) -> None:
    """Lets go of the pair that the annotator has in hand, so that others need not wait for it."""
    with store.transaction() as database:
        database.execute("DELETE FROM leases WHERE annotator = ?", (annotator,))


def judge(
    store: Store,
    annotator: str,
    key: str,
    answer: Answer,
    *,
    now: float,
    strength: Strength | None = None,
    seconds: float | None = None,
) -> Taken:
    """Takes the judgment of a lease; it is on the disk when this returns STORED, and was when it returns REPEATED.

    ``seconds`` is the time by the annotator's own clock, which leaves out the network's; where there is none, or one
    that is longer than the pair has been out, it is the time since the pair was handed out. Neither is ever shortened.
    """
    with store.transaction() as database:
        lease = database.execute("SELECT * FROM leases WHERE key = ? AND annotator = ?", (key, annotator)).fetchone()
        if lease is None:
            return _taken_before(database, annotator, key, answer, strength)
        out = max(0.0, now - lease["handed_at"])
        if seconds is None or not 0 <= seconds <= out:
            seconds = out
        side = lease["shown_first"]
        said, chosen = _as_stored(answer, strength, side)
        values = (lease["pair"], annotator, key, said, chosen, side, seconds, iso_time(now), None)
        database.execute(_INSERT, values)
        _count(database, lease["pair"], said, 1)
        database.execute("DELETE FROM leases WHERE key = ?", (key,))
    return Taken.STORED


def _taken_before(
    database: sqlite3.Connection, annotator: str, key: str, answer: Answer, strength: Strength | None
) -> Taken:
    """What a judgment is whose lease is no more."""
    query = "SELECT * FROM {} WHERE lease = ? AND annotator = ?"
    made, standing = (database.execute(query.format(which), (key, annotator)).fetchone() for which in
                      ("judgments", "standing"))  # fmt: skip
    if made is None:
        return Taken.GONE
    said = _as_stored(answer, strength, made["shown_first"])
    return Taken.REPEATED if standing and (made["answer"], made["strength"]) == said else Taken.OTHERWISE


def _as_stored(answer: Answer, strength: Strength | None, shown_first: str) -> tuple[str, str | None]:
    """The answer in terms of left and right, and its strength where one is preferred."""
    preferred = {Answer.FIRST: shown_first, Answer.SECOND: _other(shown_first)}
    if answer not in preferred:
        return answer.value, None
    return preferred[answer], strength.value if strength else None


_INSERT = """INSERT INTO judgments (pair, annotator, lease, answer, strength, shown_first, seconds, judged_at, undoes)
  VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"""


def _count(database: sqlite3.Connection, pair: int, said: str, change: int) -> None:
    if said != Answer.SKIP.value:
        database.execute("UPDATE pairs SET judged = judged + ? WHERE number = ?", (change, pair))


def undo(store: Store, annotator: str, number: int, rules: Rules, now: float) -> bool:
    """Takes the annotator's last judgment back, and hands its pair out again unless somebody else has it now.

    False, and nothing is changed, where ``number`` is not that of the annotator's last judgment that stands.
    """
    with store.transaction() as database:
        last = _last(database, annotator)
        if last is None or last["number"] != number:
            return False
        key, side = secrets.token_urlsafe(16), last["shown_first"]
        row = (last["pair"], annotator, key, "undo", None, side, 0.0, iso_time(now), number)
        database.execute(_INSERT, row)
        _count(database, last["pair"], last["answer"], -1)
        leased = "SELECT 1 FROM leases WHERE pair = ? AND annotator != ? AND expires > ?"
        if database.execute(leased, (last["pair"], annotator, now)).fetchone() is None:
            _lease(database, last["pair"], annotator, side, now, now + rules.lease_seconds)
    return True


def _last(database: sqlite3.Connection, annotator: str) -> sqlite3.Row | None:
    query = "SELECT * FROM standing WHERE annotator = ? ORDER BY number DESC LIMIT 1"
    return database.execute(query, (annotator,)).fetchone()


def find_progress(store: Store, annotator: str, rules: Rules) -> Progress:
    """How far it is, for this annotator and over all."""
    with store.transaction() as database:
        pairs, judged = database.execute(
            "SELECT count(*), coalesce(sum(min(judged, ?)), 0) FROM pairs WHERE gold IS NULL",
            (rules.annotators_per_pair,),
        ).fetchone()
        mine = database.execute("SELECT answer, seconds FROM standing WHERE annotator = ?", (annotator,)).fetchall()
        last = _last(database, annotator)
    times = [row["seconds"] for row in mine if row["answer"] != Answer.SKIP.value]
    return Progress(
        judged=judged, wanted=pairs * rules.annotators_per_pair, mine=len(times), skipped=len(mine) - len(times),
        median_seconds=statistics.median(times) if times else None, last=None if last is None else last["number"],
    )  # fmt: skip


def _other(side: str) -> str:
    return Side.RIGHT.value if side == Side.LEFT.value else Side.LEFT.value


def iso_time(now: float) -> str:
    """The time in ISO 8601, in UTC with its offset."""
    return datetime.datetime.fromtimestamp(now, datetime.UTC).isoformat(timespec="milliseconds")
