"""What a run says of itself: metrics.jsonl always, TensorBoard event files and wandb where the config asks for them."""

import importlib.util
import json
import math
import os
import time
import uuid
from collections.abc import Mapping
from typing import Any, Protocol

import jax
from etils import epath
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog  # pyright: ignore[reportAttributeAccessIssue] generated at import
from tensorboardX.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue] generated at import
from tensorboardX.record_writer import register_writer_factory

from rmjax.config import ConfigError, LoggingConfig
from rmjax.errors import UserError
from rmjax.files import GrowingObject, growing, in_bucket, write_text

METRICS = "metrics.jsonl"
EVENTS = "events.out.tfevents.*"
WANDB_ID = "wandb_id.txt"
FLUSH_SECONDS = 10.0  # the event files reach the disk at least this often while there is something to write
BUCKET_FLUSH_SECONDS = 60.0  # and a bucket, as does metrics.jsonl there; each time takes three requests


class Sink(Protocol):
    """One place that metrics are written to. ``prefix`` is "train" or "validation"."""

    def write(self, step: int, prefix: str, values: Mapping[str, float]) -> None: ...

    def flush(self) -> None: ...

    def close(self) -> None: ...


class MetricsWriter:
    """Writes to every sink of a run, from process 0 alone.

    Args:
      workdir: the run's folder.
      config: which sinks there are beside ``metrics.jsonl``.
      step: the step that the run resumes from, 0 for a new run; what was written past it is taken back.
      validated: whether that step has been validated; where it hasn't, a line that says so is taken back too.
    """

    def __init__(self, workdir: epath.PathLike, config: LoggingConfig, *, step: int, validated: bool = True):
        workdir = epath.Path(workdir)
        check_sinks(config)
        self._sinks: list[Sink] = []
        if jax.process_index() == 0:
            self._sinks.append(JsonLines(workdir / METRICS, step=step, validated=validated))
            if config.tensorboard:
                self._sinks.append(EventFile(workdir, step=step))
            if config.wandb_project is not None:
                self._sinks.append(Wandb(workdir, config.wandb_project))

    def __enter__(self) -> "MetricsWriter":
        return self

    def __exit__(self, *_: object) -> None:
        for sink in self._sinks:
            sink.close()

    def write_step(self, step: int, values: Mapping[str, float]) -> None:
        """Writes the metrics of a training step."""
        self._write(step, "train", values)

    def write_validation(self, step: int, values: Mapping[str, float]) -> None:
        """Writes the validation metrics of a step."""
        self._write(step, "validation", values)

    def flush(self) -> None:
        """Returns when everything written so far is on the disk."""
        for sink in self._sinks:
            sink.flush()

    def _write(self, step: int, prefix: str, values: Mapping[str, float]) -> None:
        for sink in self._sinks:
            sink.write(step, prefix, values)


def check_sinks(config: LoggingConfig) -> None:
    """Raises ConfigError if the config asks for a sink whose package is not installed."""
    if config.wandb_project is not None and importlib.util.find_spec("wandb") is None:
        raise ConfigError(
            f"config.logging.wandb_project is {config.wandb_project!r}, but wandb is not installed; "
            "it must be None, or install it with `pip install wandb`"
        )


class JsonLines:
    """``metrics.jsonl``: one line for each training step and one for each validation, in order, each exactly once.

    A training line is ``{"step": 7, "loss": …}``, a validation line ``{"step": 7, "validation": {"accuracy": …}}``. A
    value that is not a number (an accuracy of nothing but ties) is null. In a folder a line is there when it has been
    written; in a bucket at the next flush, or within a minute.
    """

    def __init__(self, path: epath.Path, *, step: int, validated: bool):
        write_text(path, "".join(lines_until(path, step, validated=validated)))
        self._file = growing(path)
        self._seconds = BUCKET_FLUSH_SECONDS if in_bucket(path) else math.inf
        self._flushed = time.monotonic()

    def write(self, step: int, prefix: str, values: Mapping[str, float]) -> None:
        known = {name: value if math.isfinite(value) else None for name, value in values.items()}
        entry = {"step": step, **known} if prefix == "train" else {"step": step, prefix: known}
        self._file.write((json.dumps(entry, allow_nan=False) + "\n").encode())
        if time.monotonic() - self._flushed > self._seconds:
            self.flush()

    def flush(self) -> None:
        self._file.flush()
        self._flushed = time.monotonic()

    def close(self) -> None:
        self._file.close()


def lines_until(path: epath.Path, step: int, *, validated: bool) -> list[str]:
    """The lines of a metrics file up to a step, with its validation where it has been ``validated``.

    What a crash cut short or left unreadable belongs to a later step, for the lines up to a checkpoint are on the disk
    before it is. An unreadable line before that is a UserError.
    """
    if not path.exists():
        return []
    lines = path.read_bytes().splitlines(keepends=True)
    if lines and not lines[-1].endswith(b"\n"):
        lines.pop()
    last = step if validated else step - 1  # that a line of validation may be of
    kept, reached, whole = [], 0, step == 0
    for number, line in enumerate(lines, start=1):
        try:
            entry = json.loads(line)
            reached = int(entry["step"])
            whole = whole or reached > step or (reached == step and ("validation" in entry or not validated))
        except (ValueError, TypeError, KeyError) as error:
            if whole:
                break
            raise UserError(
                f"{path}, line {number}: it can't be read ({error}), and the run resumes from step {step}; right would "
                "be a line of JSON with its step. Mend or delete the line, or move the file away: a new one is begun."
            ) from error
        if reached <= (last if "validation" in entry else step):
            kept.append(line.decode())
    return kept


class _GrowingObjects:
    """How tensorboardX opens its files in a bucket; its own way would send the whole file at every flush."""

    def open(self, path: str) -> GrowingObject:
        return GrowingObject(path)

    def directory_check(self, path: str) -> None:
        """There are no folders to be made."""


register_writer_factory("gs", _GrowingObjects())


class EventFile:
    """TensorBoard's event file, one for each start. What earlier files hold past ``step`` is hidden by TensorBoard."""

    def __init__(self, workdir: epath.Path, *, step: int):
        # The name has only the second and the host in it: a quick restart must not write over the file before it.
        prefix = os.fspath(workdir / "events")
        self._seconds = BUCKET_FLUSH_SECONDS if in_bucket(prefix) else FLUSH_SECONDS
        self._writer = EventsWriter(prefix, f".{uuid.uuid4().hex[:8]}")
        start = SessionLog(status=SessionLog.START)
        self._writer.write_event(Event(wall_time=time.time(), step=step + 1, session_log=start))
        self._flushed = time.monotonic()

    def write(self, step: int, prefix: str, values: Mapping[str, float]) -> None:
        summary = Summary(
            value=[Summary.Value(tag=f"{prefix}/{name}", simple_value=value) for name, value in values.items()]
        )
        self._writer.write_event(Event(wall_time=time.time(), step=step, summary=summary))
        if time.monotonic() - self._flushed > self._seconds:
            self.flush()

    def flush(self) -> None:
        self._writer.flush()
        self._flushed = time.monotonic()

    def close(self) -> None:
        self._writer.close()


class Wandb:
    """A wandb run, named after the workdir and resumed with it. wandb itself ignores steps that it has already.

    Its id is a random one that is stored in the workdir, for folders of different experiments may have the same name.
    """

    def __init__(self, workdir: epath.Path, project: str):
        import wandb  # pyright: ignore[reportMissingImports] optional; check_sinks has said so where it is missing

        self._run: Any = wandb.init(project=project, id=_wandb_id(workdir), name=workdir.name, resume="allow")

    def write(self, step: int, prefix: str, values: Mapping[str, float]) -> None:
        self._run.log({f"{prefix}/{name}": value for name, value in values.items()}, step=step)

    def flush(self) -> None:
        """wandb sends in the background."""

    def close(self) -> None:
        self._run.finish()


def _wandb_id(workdir: epath.Path) -> str:
    path = workdir / WANDB_ID
    if not path.exists():
        write_text(path, uuid.uuid4().hex + "\n")
    return path.read_text().strip()
