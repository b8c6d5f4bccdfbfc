"""A command's rows replace only a file of such rows."""

import gzip
import json
import os
import sqlite3

import pytest

from rmjax.errors import UserError
from rmjax.scoring.best import WRITTEN
from rmjax.scoring.replaced import check_output
from rmjax.scoring.scored_files import SCORING

JUDGED = {"prompt": "why", "responses": ["a", "b"], "source": "human", "comparisons": []}
BEST = {"prompt": "why", "responses": ["a"], "best": "a", "best_index": 0, "best_reward": 1.0, "rewards": [1.0]}
NO_BEST = {"prompt": "why", "responses": [], "best": None, "best_index": None, "best_reward": None, "error": "none"}
SCORED = [
    {"prompt": "why", "response": "a", "reward": 1.0},
    {"prompt": "why", "responses": ["a"], "rewards": [1.0]},
    {"line": "{", "reward": None, "error": "invalid JSON"},
]
OF = {"score": SCORING.written, "best_of_n": WRITTEN}
OWN = [("score", row) for row in SCORED] + [("best_of_n", row) for row in (BEST, NO_BEST)]
OTHERS = [
    *(("score", row) for row in (JUDGED, BEST, NO_BEST, {})),
    *(("best_of_n", row) for row in (JUDGED, *SCORED, {})),
]


def put(path, row):
    text = (json.dumps(row) + "\n").encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return str(path)


@pytest.mark.parametrize("suffix", ["jsonl", "jsonl.gz"])
@pytest.mark.parametrize(("command", "row"), OWN)
def test_what_the_command_wrote_may_be_replaced(tmp_path, command, row, suffix):
    check_output("in.jsonl", put(tmp_path / f"out.{suffix}", row), OF[command])


@pytest.mark.parametrize("suffix", ["jsonl", "jsonl.gz"])
@pytest.mark.parametrize(("command", "row"), OTHERS)
def test_rows_of_another_kind_are_not_replaced(tmp_path, command, row, suffix):
    target = put(tmp_path / f"out.{suffix}", row)
    with pytest.raises(UserError) as caught:
        check_output("in.jsonl", target, OF[command])
    found = ", ".join(map(repr, row)) or "no fields"
    assert str(caught.value).startswith(f"--output: {target} is there already, and {target}, line 1 has {found}; ")
    assert str(caught.value).endswith(f"with {' or '.join(map(repr, OF[command].fields))} in each row")


@pytest.mark.parametrize("command", OF)
def test_a_file_of_no_rows_is_not_replaced(tmp_path, command):
    store = tmp_path / "people.jsonl.sqlite"
    with sqlite3.connect(store) as connection:
        connection.execute("create table reward (reward)")
    connection.close()
    (tmp_path / "text.txt").write_text("reward\n")
    (tmp_path / "blank.txt").write_text("\n\n")
    (tmp_path / "list.jsonl").write_text('["reward", "best_reward"]\n')
    (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(b'{"reward": 1, "best_reward": 1}\n' * 9)[:20])
    (tmp_path / "plain.jsonl.gz").write_text('{"reward": 1, "best_reward": 1}\n')
    link = tmp_path / "link.jsonl"
    link.symlink_to(store)
    for file in sorted(tmp_path.iterdir()):
        with pytest.raises(UserError, match=f"--output: {file} is there already, and holds no such rows "):
            check_output("in.jsonl", str(file), OF[command])


@pytest.mark.parametrize("command", OF)
def test_what_is_new_empty_or_no_file_may_be_written(tmp_path, command):
    empty, pipe = tmp_path / "empty", tmp_path / "pipe"
    empty.write_bytes(b"")
    os.mkfifo(pipe)
    for target in (empty, pipe, tmp_path / "new", "/dev/null", "-"):
        check_output("in.jsonl", str(target), OF[command])
