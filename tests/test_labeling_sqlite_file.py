"""Both stores open their files in one way: what is not theirs stays as it was, and what can't be used is told of."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor

import pytest

from rmjax.errors import UserError
from rmjax.labeling.judge.store import AnswerStore
from rmjax.labeling.people.store import Store
from rmjax.labeling.sqlite_file import opened

KIND = {"application": 7, "version": 3, "schema": "CREATE TABLE t (x); -- one\nCREATE TABLE u (y);"}


@pytest.fixture(params=[Store, AnswerStore])
def kind(request):
    return request.param


def made_by(path, statement: str):
    connection = sqlite3.connect(path)
    connection.execute(statement)
    connection.close()
    return path


def test_what_is_no_store_is_refused_and_left_as_it_was(tmp_path, kind):
    (tmp_path / "text").write_text("no database, but a text that is long enough to be looked at" * 20)
    made_by(tmp_path / "tables", "CREATE TABLE answers (x)")
    made_by(tmp_path / "application", "PRAGMA application_id=5")
    made_by(tmp_path / "version", "PRAGMA user_version=1")
    opened(tmp_path / "later", **KIND).close()
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for path in before:
        wanted = "found no SQLite file" if path.name == "text" else "found another program's SQLite file, or another"
        with pytest.raises(UserError, match=f"{path}: {wanted}"):
            kind(str(path))
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_what_sqlite_can_not_use_is_told_of(tmp_path, kind):
    with pytest.raises(UserError, match=rf"{tmp_path}: SQLite can't use it \(unable to open"):
        kind(str(tmp_path))
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"its folder can't be made \(.*File exists"):
        kind(str(tmp_path / "file" / "s.sqlite"))
    with pytest.raises(UserError, match="no write-ahead log"):
        kind(":memory:")


def test_a_file_that_another_run_holds_is_told_of(tmp_path):
    path = tmp_path / "s.sqlite"
    with AnswerStore(path), pytest.raises(UserError, match=r"s\.sqlite is open in another run; wait for its end"):
        opened(path, **KIND)
    one = opened(tmp_path / "shared", **KIND)
    other = opened(tmp_path / "shared", **KIND)  # two may share it
    other.close()
    one.execute("BEGIN IMMEDIATE")
    with pytest.raises(UserError, match="is open in another run"):
        opened(tmp_path / "shared", **KIND)
    one.close()


def test_a_file_that_can_not_be_opened_is_let_go_of(tmp_path):
    path = made_by(tmp_path / "other", "CREATE TABLE t (x)")
    with pytest.raises(UserError):
        opened(path, **KIND, exclusive=True)
    made_by(path, "INSERT INTO t VALUES (1)")  # nobody holds it


def test_several_may_make_it_at_once(tmp_path):
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: opened(tmp_path / "deep" / "s", **KIND, wait_s=60.0), range(8)))
    for connection in found:
        names = connection.execute("SELECT name FROM sqlite_master ORDER BY name").fetchall()
        assert names == [("t",), ("u",)]
        connection.close()


def test_it_is_durable_and_known_again(tmp_path):
    connection = opened(tmp_path / "s", **KIND)
    pragmas = ("journal_mode", "synchronous", "foreign_keys", "application_id", "user_version")
    assert [connection.execute(f"PRAGMA {name}").fetchone()[0] for name in pragmas] == ["wal", 2, 1, 7, 3]
    connection.close()
