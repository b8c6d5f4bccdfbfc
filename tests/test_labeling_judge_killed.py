"""An AI judge's run that is killed among failures goes on where it was, and asks for nothing that it has."""

import contextlib
import hashlib
import itertools
import json
import sqlite3
import threading
import time
from pathlib import Path

import pytest
from local_judge import LocalJudge
from test_labeling_judge_job import DEFAULTS, expected, faulty, pairs, planted

from rmjax.preferences.read import read_preferences

BIAS, HELD = 0.7, 5
Row = tuple  # of the store: question, vote, attempt, model, body, seconds, judged_at


def command(judge: LocalJudge, folder: Path) -> list[str]:
    flags = {
        "judge": "openai", "model": "local", "dimension": "helpfulness", "base_url": judge.url,
        "tasks": folder / "tasks.jsonl", "output": folder / "labels.jsonl", "concurrency": 32,
    }  # fmt: skip
    return ["-m", "rmjax.label", *(f"--{name}={value}" for name, value in flags.items())]


def stored(path: Path) -> set[Row]:
    """All rows of a store that no process has open."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return set(connection.execute("SELECT * FROM answers"))


def letters(rows: set[Row]) -> list[str]:
    """The questions of the answers that are letters."""
    return [row[0] for row in rows if json.loads(row[4])["choices"][0]["message"]["content"] in ("A", "B")]


def keys_asked(judge: LocalJudge, since: int) -> set[str]:
    """The names that the store has for the questions that came to the server, from one request on."""
    messages = [body["messages"] for body, _ in judge.requests[since:]]
    said = [json.dumps(["local", system["content"], user["content"], True]) for system, user in messages]
    return {hashlib.sha256(one.encode()).hexdigest() for one in said}


def test_500_pairs_with_failures_and_a_kill_are_each_judged_in_both_orders_once(tmp_path, server):
    tasks = pairs(500, seed=5)
    rows = [{"prompt": one.prompt, "responses": list(one.responses)} for one in tasks]
    (tmp_path / "tasks.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    gone, held = threading.Event(), itertools.count()

    def fault(name: str, tries: int) -> str | None:
        """Fails in all ways that cost no seconds; a few questions are killed between nonsense and their next answer."""
        found = [faulty(name, one, weights={"timeout": 0, "429": 0}) for one in (tries - 1, tries)]
        if tries == 1 and found[0] == "nonsense" and not gone.is_set() and next(held) < HELD:
            gone.wait(timeout=100)
        return found[1]

    with LocalJudge(bias=BIAS, fault=fault) as judge:
        killed = server.start(command(judge, tmp_path), out=tmp_path / "log", OPENAI_API_KEY="sk-secret-1234")
        while len(judge.requests) < 600:
            assert killed.poll() is None, (tmp_path / "log").read_text()
            time.sleep(0.002)
        killed.kill()
        killed.wait(timeout=10)
        gone.set()
        before = stored(tmp_path / "labels.answers.sqlite")
        settled = letters(before)
        assert 200 < len(settled) < 600
        assert len({row[0] for row in before} - {*settled}) >= HELD  # with nonsense alone so far
        assert not (tmp_path / "labels.jsonl").exists()
        asked_before = len(judge.requests)
        done = server.run(*command(judge, tmp_path), OPENAI_API_KEY="sk-secret-1234")
        assert done.returncode == 0, done.stderr
        assert not keys_asked(judge, asked_before) & {*settled}
        assert judge.requests[-1][1]["authorization"] == "Bearer sk-secret-1234"
    after = stored(tmp_path / "labels.answers.sqlite")
    assert before < after
    assert len(letters(after)) == len({*letters(after)}) == 1000
    judged = read_preferences(tmp_path / "labels.jsonl", defaults=DEFAULTS).preferences
    assert [one.responses for one in judged] == [one.responses for one in tasks]
    for task, one in zip(tasks, judged, strict=True):
        assert one.comparisons[0].probability == pytest.approx(expected(task, BIAS), abs=1e-9)
    estimate, report = (json.loads(line) for line in done.stdout.splitlines())
    assert estimate["estimate"]["settled"] == len(settled)
    this, every = report["this_run"], report["all_runs"]
    assert this["answers"] == 1000 - len(settled) + this["nonsense"] == len(after) - len(before)
    assert (every["answers"], every["prompt_tokens"]) == (len(after), 100 * len(after))
    assert {"status 500", "status 503", "connection", "malformed answer"} == set(report["failed_tries"])
    assert report["position_bias"]["low"] < planted(tasks, BIAS) < report["position_bias"]["high"]
    written = "".join(path.read_bytes().decode("latin-1") for path in tmp_path.iterdir())
    assert "sk-secret" not in done.stdout + done.stderr + written
