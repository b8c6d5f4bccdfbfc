"""Answers are on the disk before they count, and a store is one run's at a time."""

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from rmjax.errors import UserError
from rmjax.labeling.judge.store import AnswerStore, StoredAnswer

ROOT = Path(__file__).parents[1]


def answer(number: int) -> StoredAnswer:
    return StoredAnswer(body={"number": number}, seconds=0.5, judged_at="2026-01-31T09:30:00+00:00")


def test_what_is_added_is_there_in_order_and_apart_by_question_and_vote(tmp_path):
    with AnswerStore(tmp_path / "deep" / "s.sqlite") as store:
        for number in range(3):
            store.add("q", vote=0, attempt=number, model="m", answer=answer(number))
        store.add("q", vote=1, attempt=0, model="m", answer=answer(7))
        store.add("r", vote=0, attempt=0, model="m", answer=answer(8))
    with AnswerStore(tmp_path / "deep" / "s.sqlite") as store:
        assert store.attempts("q", 0) == [answer(0), answer(1), answer(2)]
        assert store.attempts("q", 1) == [answer(7)]
        assert store.attempts("q", 2) == store.attempts("s", 0) == []
        assert [body["number"] for body in store.bodies("q")] == [0, 1, 2, 7]


def test_an_answer_is_kept_once(tmp_path):
    with AnswerStore(tmp_path / "s.sqlite") as store:
        store.add("q", vote=0, attempt=0, model="m", answer=answer(1))
        with pytest.raises(sqlite3.IntegrityError):
            store.add("q", vote=0, attempt=0, model="m", answer=answer(2))
        assert store.attempts("q", 0) == [answer(1)]


def test_a_process_that_kills_itself_after_adding_leaves_the_answer_and_no_lock(tmp_path):
    code = """if True:
        import os, signal, sys
        from rmjax.labeling.judge.store import AnswerStore, StoredAnswer
        store = AnswerStore(sys.argv[1])
        for number in range(50):
            store.add("q", vote=number, attempt=0, model="m", answer=StoredAnswer(
                body={"number": number}, seconds=0.5, judged_at="2026-01-31T09:30:00+00:00"))
        os.kill(os.getpid(), signal.SIGKILL)
    """
    path = tmp_path / "s.sqlite"
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=False
    )
    assert done.returncode == -signal.SIGKILL
    with AnswerStore(path) as store:
        assert [store.attempts("q", number) for number in range(51)] == [*([answer(n)] for n in range(50)), []]


def test_a_second_run_is_refused_while_the_first_is_there(tmp_path):
    path = tmp_path / "s.sqlite"
    with AnswerStore(path), pytest.raises(UserError, match=r"s\.sqlite is open in another run"):
        AnswerStore(path)
    AnswerStore(path).__exit__(None, None, None)


def test_a_full_disk_is_told_of_and_what_was_kept_stays(tmp_path):
    with AnswerStore(tmp_path / "s.sqlite") as store:
        store.add("q", vote=0, attempt=0, model="m", answer=answer(0))
        store._connection.execute("PRAGMA max_page_count=1")  # SQLite makes it as many as there are
        with pytest.raises(UserError, match=r"SQLite can't use it \(database or disk is full\); right would be"):
            store.add("q", vote=0, attempt=1, model="m" * 100_000, answer=answer(1))
    with AnswerStore(tmp_path / "s.sqlite") as store:
        assert store.attempts("q", 0) == [answer(0)]
