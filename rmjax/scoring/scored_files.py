"""Files of rows, scored into files of the same rows with something added to each."""

import contextlib
import dataclasses
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from absl import logging

from rmjax.config import OnError
from rmjax.preferences.files import decode_line
from rmjax.preferences.record import RowError
from rmjax.scoring import rows
from rmjax.scoring.replaced import Written, check_output
from rmjax.scoring.source import Reward

ROWS_AT_ONCE = 1024
CHARACTERS_AT_ONCE = 8_000_000  # what bounds the memory where rows are long
SCORED = Written(fields=("reward", "rewards"), by_others=("best_reward",))


@runtime_checkable
class FileScorer(Protocol):
    """What the rows of files are scored by: a ``RewardScorer``, or what stands for one elsewhere.

    It finds of each response a ``Reward``, or what else its task answers with; None of one that was skipped.
    """

    def score_and_count(
        self, requests: Sequence[rows.Request], *, origins: Sequence[str], on_error: OnError
    ) -> tuple[Sequence[list[Any]], int]: ...

    def warn_of_cut(self, cut: int, name: str = "scoring") -> None: ...

    def fault(self, request: rows.Request, origin: str) -> RowError | None: ...

    def remedied(self, skipping: str) -> contextlib.AbstractContextManager[None]: ...


def rewards_of(_: Mapping[str, Any], request: rows.Request, rewards: list[Reward | None]) -> dict[str, Any]:
    """The fields that scoring adds to a row."""
    return {"reward": rewards[0]} if request.single else {"rewards": rewards}


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class RowTask:
    """What is done with each row of a file.

    Attributes:
      parse: what a row asks; RowError for one that can't be used.
      answer: of a row, what it asks and its rewards the fields that are added to it.
      unanswered: the fields, all null, of a row that can't be used; ``error`` comes besides.
      written: by what its rows are known again in a file, which they may replace.
    """

    parse: Callable[..., rows.Request] = rows.parse_request
    answer: Callable[[Mapping[str, Any], rows.Request, list[Any]], dict[str, Any]] = rewards_of
    unanswered: tuple[str, ...] = ("reward",)
    written: Written = SCORED


SCORING = RowTask()


def score_file(
    scorer: FileScorer, source: str, target: str, *, on_error: OnError = OnError.DEFAULT, task: RowTask = SCORING
) -> Counter[str]:
    """Scores the rows of a .jsonl or .jsonl.gz file (``-``: stdin) into another (``-``: stdout), in order.

    Rows are taken in chunks, so memory stays bounded however long the file is; a target file appears whole or not at
    all. A row that can't be scored is an error. With ``OnError.SKIP`` it stays in its place, so nothing is lost and
    lines still match: it comes back with ``reward`` null (in ``rewards``, null for each such response) and the
    message in ``error``. A line that isn't a JSON object, or is blank between rows, comes back as
    ``{"line": its text, …}`` with these two, and a row that has fields of these names already as
    ``{"row": the row, …}``. With another task than scoring the fields are that task's.

    Returns:
      How many rows were scored, under ``"scored"``, and how many were not, by kind of fault.

    Raises:
      FileError, RowError: for a file or a row that can't be read.
      UserError: where both are one file, or the target is one that this task hasn't written: it would be lost.
      NonFiniteRewardsError: where a reward is NaN or infinite, whatever ``on_error`` is: the model is at fault then.
    """
    check_output(source, target, task.written)
    counts: Counter[str] = Counter()
    cut, began = 0, time.monotonic()
    with rows.opened_output(target) as stream:
        for chunk in _chunks(rows.read_lines(source)):
            cut += _score_chunk(scorer, chunk, stream, on_error, counts, task)
    scorer.warn_of_cut(cut, "stdin" if source == rows.STANDARD else source)
    for kind, count in sorted(counts.items()):
        if kind != "scored":
            logging.warning("%d rows come back with an error: %s", count, kind)
    logging.info("scored %d rows in %.1f s", counts["scored"], time.monotonic() - began)
    return counts


def _score_chunk(
    scorer: FileScorer, chunk: list[tuple[str, bytes]], stream: rows.ByteSink, on_error: OnError,
    counts: Counter[str], task: RowTask,
) -> int:  # fmt: skip
    """Writes the rows of a chunk with their rewards, and returns how many prompts were cut."""
    parsed = [_parsed(line, origin, on_error, task) for origin, line in chunk]
    good = [
        (entry[1], origin)
        for entry, (origin, _) in zip(parsed, chunk, strict=True)
        if isinstance(entry[1], rows.Request)
    ]
    requests, origins = [request for request, _ in good], [origin for _, origin in good]
    scored, cut = scorer.score_and_count(requests, origins=origins, on_error=on_error)
    found = iter(scored)
    for (row, request), (origin, _) in zip(parsed, chunk, strict=True):
        if isinstance(request, RowError):
            counts[request.kind] += 1
            answer = {**dict.fromkeys(task.unanswered), "error": str(request)}
            row = {"row": row} if answer.keys() & row.keys() else row
        else:
            rewards = next(found)
            answer = task.answer(row, request, rewards)
            fault = scorer.fault(request, origin) if None in rewards else None
            counts["scored" if fault is None else fault.kind] += 1
            answer |= {} if fault is None else {"error": str(fault)}
        stream.write(rows.to_line(row | answer))
    stream.flush()
    return cut


def _parsed(
    line: bytes, origin: str, on_error: OnError, task: RowTask
) -> tuple[dict[str, Any], rows.Request | RowError]:
    """(the row, what it asks or what is wrong with it); a fault is raised unless faults are skipped."""
    row: dict[str, Any] = {"line": line.decode(errors="backslashreplace")}
    try:
        row = decode_line(line, origin, writable=True)
        return row, task.parse(row, origin=origin)
    except RowError as error:
        if on_error is not OnError.SKIP:
            raise
        return row, error


def _chunks(lines: Iterable[tuple[str, bytes]]) -> Iterator[list[tuple[str, bytes]]]:
    chunk, size = [], 0
    for origin, line in lines:
        chunk.append((origin, line))
        size += len(line)
        if len(chunk) >= ROWS_AT_ONCE or size >= CHARACTERS_AT_ONCE:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk
