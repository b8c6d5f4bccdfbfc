"""Ctrl-C: the run saves and says how it goes on; a second one ends it at once."""

import os
import pathlib
import signal
import subprocess
import sys

import pytest
from absl import logging
from tiny_run import tiny_config, write_rows

from rmjax.config import to_json
from rmjax.evaluation.validation import make_evaluator
from rmjax.training.loop import train
from rmjax.training.preemption import Preempted, PreemptionNotice
from rmjax.training.trained import load_trained

ROOT = pathlib.Path(__file__).parents[1]


def test_ctrl_c_saves_as_a_sigterm_does_and_the_run_goes_on(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(logging.get_absl_logger(), "propagate", True)
    write_rows(tmp_path / "rows.jsonl")
    config, before = tiny_config(str(tmp_path / "rows.jsonl")), signal.getsignal(signal.SIGINT)

    def make_interrupting(*arguments):
        evaluate = make_evaluator(*arguments)

        def interrupt(params):
            os.kill(os.getpid(), signal.SIGINT)
            return evaluate(params)

        return interrupt

    with caplog.at_level("INFO", logger="absl"), pytest.raises(Preempted) as error:
        train(config, tmp_path / "run", make_evaluator=make_interrupting)
    assert (error.value.code, error.value.step) == (130, 8)
    assert signal.getsignal(signal.SIGINT) is before
    said = "Ctrl-C: saving after this step, then leaving with code 130; once more leaves at once, and saves nothing"
    assert said in caplog.messages
    assert "Ctrl-C: saved step 8; the same command resumes from there" in caplog.messages
    assert load_trained(tmp_path / "run", 8).step == 8
    assert train(config, tmp_path / "run", make_evaluator=make_evaluator).step == 20


def test_a_second_ctrl_c_is_not_held_back():
    with PreemptionNotice() as notice:
        os.kill(os.getpid(), signal.SIGINT)
        assert notice.reached()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_interrupt_that_is_ignored_stays_so():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with PreemptionNotice() as notice:
            os.kill(os.getpid(), signal.SIGINT)
            assert not notice.reached()
    finally:
        signal.signal(signal.SIGINT, before)


def test_ctrl_c_of_any_command_is_no_traceback(tmp_path):
    """Here of training, while it waits for its data."""
    os.mkfifo(tmp_path / "rows.jsonl")
    (tmp_path / "config.json").write_text(to_json(tiny_config(str(tmp_path / "rows.jsonl"))))
    command = [sys.executable, "-m", "rmjax.train", f"--config=experiments/from_json.py:{tmp_path / 'config.json'}"]
    process = subprocess.Popen(
        [*command, f"--workdir={tmp_path / 'run'}"], cwd=ROOT, text=True, stderr=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with (tmp_path / "rows.jsonl").open("w"):  # returns when the command has opened it to read
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.splitlines()[-1] == "interrupted"
    assert "Traceback" not in said
