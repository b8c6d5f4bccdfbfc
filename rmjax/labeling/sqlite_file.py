"""SQLite files of one program: known from all others before anything is written to them, and durable.

A transaction is on the disk when it ends: the files are in WAL mode with ``synchronous=FULL``.
"""

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator

from rmjax.errors import UserError


def opened(
    path: str | os.PathLike[str],
    *,
    application: int,
    version: int,
    schema: str,
    create: bool = True,
    exclusive: bool = False,
    wait_s: float = 0.0,
) -> sqlite3.Connection:
    """The connection to the file, in autocommit mode; one thread at a time may use it.

    Args:
      path: of the file.
      application, version: SQLite's ``application_id`` and ``user_version``, by which the file is known again.
      schema: the statements that make its tables, where it is new.
      create: makes the file and its folder where there is none, which is else an error.
      exclusive: nobody else can open the file until the connection is closed, or the process ends, however it ends.
      wait_s: for how many seconds a lock of somebody else is waited for.

    Raises:
      UserError: for a file of another program or version, which stays as it was to the byte, for one that somebody
        else holds, and for what SQLite can't use.
    """
    if not create and not os.path.exists(path):
        raise UserError(f"{path}: there is no such store; right would be the --output or --store of a labeling job")
    try:
        with explained(path), contextlib.ExitStack() as undone:
            os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
            connection = sqlite3.connect(path, timeout=wait_s, isolation_level=None, check_same_thread=False)
            undone.callback(connection.close)
            if exclusive:
                connection.execute("PRAGMA locking_mode=EXCLUSIVE")
            _is_new(connection, path, application, version)  # before the first write
            _prepare(connection, path, exclusive=exclusive, wait_s=wait_s)
            if _is_new(connection, path, application, version):  # it may have been made meanwhile
                for statement in _statements(schema):
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id={application}")
                connection.execute(f"PRAGMA user_version={version}")
            connection.execute("COMMIT")
            undone.pop_all()
            return connection
    except sqlite3.DatabaseError as error:
        raise UserError(f"{path}: found no SQLite file ({error}); right would be a new file or a store") from None
    except OSError as error:
        raise UserError(f"{path}: its folder can't be made ({error}); right would be another --store") from None


@contextlib.contextmanager
def explained(path: str | os.PathLike[str]) -> Iterator[None]:
    """UserError for what the file's surroundings are to blame for: a lock, a full disk, a folder in its place."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise UserError(f"{path} is open in another run; wait for its end, or take another --store") from None
        right = "a file in a local folder that can be written to, on a disk with space"
        raise UserError(f"{path}: SQLite can't use it ({error}); right would be {right}") from None


def _is_new(connection: sqlite3.Connection, path: str | os.PathLike[str], application: int, version: int) -> bool:
    """Whether nothing is in the file yet; UserError where it is somebody else's."""
    # In one statement, so that all three are read before somebody else makes the tables, or all after it.
    kind, found, tables = connection.execute(
        "SELECT (SELECT application_id FROM pragma_application_id), (SELECT user_version FROM pragma_user_version), "
        "(SELECT count(*) FROM sqlite_master)"
    ).fetchone()
    if (kind, found) == (application, version):
        return False
    if kind or found or tables:
        raise UserError(
            f"{path}: found another program's SQLite file, or another version's (version {found}); right would be a "
            f"new file or a store of version {version}"
        )
    return True


def _prepare(connection: sqlite3.Connection, path: str | os.PathLike[str], *, exclusive: bool, wait_s: float) -> None:
    """Makes what is written durable, and begins a transaction."""
    mode = _write_ahead(connection, wait_s)
    if mode != "wal":
        raise UserError(f"{path}: SQLite has no write-ahead log there; right would be a file in a local folder")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("BEGIN EXCLUSIVE" if exclusive else "BEGIN IMMEDIATE")


def _write_ahead(connection: sqlite3.Connection, wait_s: float) -> str:
    """The mode after asking for a write-ahead log, for which SQLite waits for nobody's lock by itself."""
    end = time.monotonic() + wait_s
    while True:
        try:
            return connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() >= end:
                raise
            time.sleep(0.01)


def _statements(script: str) -> Iterator[str]:
    """The statements of a script one by one, since sqlite3's executescript would end the transaction."""
    waiting = ""
    for line in script.splitlines(keepends=True):
        waiting += line
        if sqlite3.complete_statement(waiting):
            yield waiting
            waiting = ""
