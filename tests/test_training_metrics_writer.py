"""The metrics files: every step once and in order, whatever was written before a crash."""

import importlib.machinery
import importlib.util
import json
import math
import pathlib
import random
import struct
import sys
import types

import pytest
from tensorboardX.proto import event_pb2
from tensorboardX.record_writer import masked_crc32c

from rmjax.config import ConfigError, LoggingConfig
from rmjax.errors import UserError
from rmjax.training.metrics_writer import MetricsWriter

JSON_ONLY = LoggingConfig(tensorboard=False)


def read_lines(workdir: pathlib.Path) -> list[dict]:
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def read_events(path: pathlib.Path) -> list[event_pb2.Event]:
    """The events of a file in TFRecord framing: length, its checksum, the data, their checksum."""
    data, events = path.read_bytes(), []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        body, rest = data[12 : 12 + length], data[12 + length :]
        assert struct.unpack("<I", data[8:12]) == (masked_crc32c(data[:8]),)
        assert struct.unpack("<I", rest[:4]) == (masked_crc32c(body),)
        events.append(event_pb2.Event.FromString(body))
        data = rest[4:]
    return events


def write(
    workdir: pathlib.Path, first: int, last: int, *, resumed_from: int, config: LoggingConfig = JSON_ONLY
) -> None:
    with MetricsWriter(workdir, config, step=resumed_from) as writer:
        for step in range(first, last + 1):
            writer.write_step(step, {"loss": 1 / step, "accuracy": 0.5})
            if step % 5 == 0:
                writer.write_validation(step, {"accuracy": step / 100})


@pytest.mark.parametrize("seed", range(5))
def test_resumed_equals_uninterrupted_wherever_it_was_cut(tmp_path: pathlib.Path, seed: int):
    numbers = random.Random(seed)
    write(tmp_path / "whole", 1, 40, resumed_from=0)
    cut = tmp_path / "cut"
    start = 0
    for _ in range(3):
        written = numbers.randrange(start + 1, 40)
        write(cut, start + 1, written, resumed_from=start)
        data = (cut / "metrics.jsonl").read_bytes()
        start = numbers.randrange(start, written + 1)
        # A crash can lose the end of what was not yet on the disk: cut inside the lines past the checkpoint.
        kept = sum(len(line) for line in data.splitlines(keepends=True) if json.loads(line)["step"] <= start)
        (cut / "metrics.jsonl").write_bytes(data[: numbers.randrange(kept, len(data) + 1)])
    write(cut, start + 1, 40, resumed_from=start)
    assert (cut / "metrics.jsonl").read_bytes() == (tmp_path / "whole" / "metrics.jsonl").read_bytes()
    lines = read_lines(cut)
    assert [line["step"] for line in lines if "validation" not in line] == list(range(1, 41))
    assert [line["step"] for line in lines if "validation" in line] == list(range(5, 41, 5))
    assert lines[4:6] == [{"step": 5, "loss": 0.2, "accuracy": 0.5}, {"step": 5, "validation": {"accuracy": 0.05}}]


@pytest.mark.parametrize("garbage", [b"\0\0\0\n", b'{"step": 9\n', b"\xff\n", b"[7]\n", b"{}\n"])
def test_a_line_that_cannot_be_read_is_past_the_checkpoint_or_an_error(tmp_path: pathlib.Path, garbage: bytes):
    write(tmp_path, 1, 8, resumed_from=0)
    path = tmp_path / "metrics.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    places = [number for number, line in enumerate(lines) if b'"validation"' not in line]
    path.write_bytes(b"".join([*lines[: places[5]], garbage, *lines[places[5] :]]))
    before = path.read_bytes()
    with pytest.raises(UserError, match=rf"metrics\.jsonl, line {places[5] + 1}: .* resumes from step 6"):
        write(tmp_path, 7, 8, resumed_from=6)
    assert path.read_bytes() == before
    write(tmp_path, 6, 8, resumed_from=5)
    assert path.read_bytes() == b"".join(lines)
    validation = next(number for number, line in enumerate(lines) if b'"validation"' in line)
    path.write_bytes(b"".join([*lines[:validation], garbage, *lines[validation + 1 :]]))
    with pytest.raises(UserError, match=rf"metrics\.jsonl, line {validation + 1}: .* resumes from step 5"):
        write(tmp_path, 6, 8, resumed_from=5)
    with MetricsWriter(tmp_path, JSON_ONLY, step=5, validated=False):  # its validation is still to come
        pass
    assert path.read_bytes() == b"".join(lines[:validation])


def test_a_new_run_begins_with_an_empty_file(tmp_path: pathlib.Path):
    write(tmp_path, 1, 3, resumed_from=0)
    write(tmp_path, 1, 2, resumed_from=0)
    assert [line["step"] for line in read_lines(tmp_path)] == [1, 2]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_null(tmp_path: pathlib.Path, value: float):
    with MetricsWriter(tmp_path, JSON_ONLY, step=0) as writer:
        writer.write_step(1, {"loss": 0.5, "accuracy": value})
        writer.write_validation(1, {"accuracy": value})
    assert read_lines(tmp_path) == [
        {"step": 1, "loss": 0.5, "accuracy": None},
        {"step": 1, "validation": {"accuracy": None}},
    ]


def test_flushed_lines_are_in_the_file_while_the_run_goes_on(tmp_path: pathlib.Path):
    with MetricsWriter(tmp_path, JSON_ONLY, step=0) as writer:
        writer.write_step(1, {"loss": 0.5})
        writer.flush()
        assert read_lines(tmp_path) == [{"step": 1, "loss": 0.5}]


def test_events_hold_every_value_and_restarts_hide_what_was_past_them(tmp_path: pathlib.Path):
    config = LoggingConfig(tensorboard=True)
    write(tmp_path, 1, 12, resumed_from=0, config=config)
    write(tmp_path, 11, 15, resumed_from=10, config=config)
    files = sorted(tmp_path.glob("events.out.tfevents.*"))
    assert len(files) == 2
    starts, values = [], {}
    for event in (event for file in files for event in read_events(file)):
        if event.HasField("session_log"):
            starts.append((event.session_log.status, event.step))
        for value in event.summary.value:
            values[value.tag, event.step] = value.simple_value
    # From such a start on TensorBoard hides what files before it hold at its step and past it.
    assert sorted(starts) == [(event_pb2.SessionLog.START, 1), (event_pb2.SessionLog.START, 11)]
    for step in range(1, 16):
        assert values["train/loss", step] == pytest.approx(1 / step)
    assert values["validation/accuracy", 15] == pytest.approx(0.15)


def test_no_event_file_unless_it_is_asked_for(tmp_path: pathlib.Path):
    write(tmp_path, 1, 2, resumed_from=0)
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_wandb_that_is_not_installed_is_a_clear_error(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    config = LoggingConfig(wandb_project="mine")
    with pytest.raises(ConfigError, match=r"config\.logging\.wandb_project is 'mine', but wandb is not.*pip install"):
        MetricsWriter(tmp_path, config, step=0)


def test_wandb_gets_every_value(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch):
    """With a stand-in that takes the calls of wandb's documentation, for the real one needs its server."""
    calls: list = []
    run = types.SimpleNamespace(
        log=lambda values, step: calls.append((step, values)), finish=lambda: calls.append("finished")
    )
    wandb = types.ModuleType("wandb")
    wandb.__spec__ = importlib.machinery.ModuleSpec("wandb", None)
    wandb.init = lambda **arguments: calls.append(arguments) or run  # pyright: ignore[reportAttributeAccessIssue] a stand-in
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    write(tmp_path / "run", 5, 5, resumed_from=4, config=LoggingConfig(tensorboard=False, wandb_project="mine"))
    number = calls[0]["id"]
    assert len(set(number)) > 5
    assert calls == [
        {"project": "mine", "id": number, "name": "run", "resume": "allow"},
        (5, {"train/loss": 0.2, "train/accuracy": 0.5}),
        (5, {"validation/accuracy": 0.05}),
        "finished",
    ]
    config = LoggingConfig(tensorboard=False, wandb_project="mine")
    write(tmp_path / "run", 6, 6, resumed_from=5, config=config)
    write(tmp_path / "other" / "run", 1, 1, resumed_from=0, config=config)
    ids = [call["id"] for call in calls if isinstance(call, dict)]
    assert ids[0] == ids[1] == number, "a run that is resumed is the same"
    assert ids[2] != number, "another folder of the same name is not"
