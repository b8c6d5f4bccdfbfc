"""``python -m rmjax.score``: its flags reach the scorer."""

import json
import pathlib
import subprocess
import sys

import pytest
from untrained import untrained_config, write_run

ROOT = pathlib.Path(__file__).parents[1]


def test_a_head_of_several_is_chosen(tmp_path, server):
    write_run(tmp_path / "run", untrained_config(heads=("honesty", "wit")))
    (tmp_path / "rows.jsonl").write_text('{"prompt": "why", "response": "it rains"}\n')
    given = [f"--workdir={tmp_path / 'run'}", f"--input={tmp_path / 'rows.jsonl'}", "--output=-"]
    every, one = (server.run("-m", "rmjax.score", *given, *head) for head in ([], ["--head=wit"]))
    assert json.loads(one.stdout)["reward"] == json.loads(every.stdout)["reward"]["wit"]
    wrong = server.run("-m", "rmjax.score", *given, "--head=speed")
    said = "error: the model has no reward head 'speed'; --head must be one of honesty, wit"
    assert (wrong.returncode, wrong.stderr.splitlines()[-1]) == (2, said)


@pytest.mark.parametrize("command", ["score", "best_of_n"])
def test_the_input_is_not_replaced_and_that_is_said_before_a_model_is_looked_for(tmp_path, server, command):
    rows, link, text = (
        tmp_path / "rows.jsonl",
        tmp_path / "link.jsonl",
        '{"prompt": "why", "responses": ["it rains"]}\n',
    )
    rows.write_text(text)
    link.symlink_to(rows)
    for output in (rows, link):
        given = [f"--workdir={tmp_path / 'nowhere'}", f"--input={rows}", f"--output={output}"]
        done = server.run("-m", f"rmjax.{command}", *given)
        said = f"error: --output: {output} is the file that --input={rows} reads; right would be another file"
        assert (done.returncode, done.stderr.splitlines()[-1]) == (2, said)
        assert rows.read_text() == text


@pytest.mark.parametrize("command", ["score", "best_of_n"])
def test_labels_are_not_replaced_and_that_is_said_before_a_model_is_looked_for(tmp_path, server, command):
    labels, text = tmp_path / "labels.jsonl", '{"prompt": "why", "responses": ["it rains"], "source": "human"}\n'
    labels.write_text(text)
    given = [f"--workdir={tmp_path / 'nowhere'}", f"--input={tmp_path / 'rows.jsonl'}", f"--output={labels}"]
    done = server.run("-m", f"rmjax.{command}", *given)
    said = f"error: --output: {labels} is there already, and {labels}, line 1 has 'prompt', 'responses', 'source'; "
    assert (done.returncode, said in done.stderr.splitlines()[-1], labels.read_text()) == (2, True, text), done.stderr


def test_stdin_that_is_redirected_from_the_output_is_not_replaced(tmp_path):
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"prompt": "why", "response": "it rains"}\n')
    command = [sys.executable, "-m", "rmjax.score", "--workdir=nowhere", "--input=-", f"--output={rows}"]
    with rows.open() as stdin:
        done = subprocess.run(command, stdin=stdin, capture_output=True, text=True, cwd=ROOT, timeout=200)
    assert (done.returncode, "is the file that --input=- reads" in done.stderr) == (2, True), done.stderr
