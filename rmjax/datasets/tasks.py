"""Opening what is to be judged: any data spec, and files of responses that nobody has compared yet."""

from collections.abc import Iterable

from absl import logging

from rmjax.config import DataConfig
from rmjax.datasets.open import open_preferences
from rmjax.datasets.spec import DataSpecError, FileSpec, parse_spec
from rmjax.preferences.files import find_files
from rmjax.preferences.groups import RowDefaults
from rmjax.preferences.record import FileError
from rmjax.preferences.tasks import Task, read_tasks, task_of


def open_tasks(specs: Iterable[str], data: DataConfig, *, dimension: str) -> tuple[Task, ...]:
    """The tasks of all specs, in order.

    Args:
      specs: data specs, whose compared pairs are judged anew; the rows of a file may be ``{"prompt": …, "responses":
        […]}`` too, of which every two responses are.
      data: where data sets lie, and what happens to rows that can't be used.
      dimension: of rows that don't say which they were judged on.

    Raises:
      DataSpecError: if a spec can't be opened, holds nothing that can be used, or names a labeler of its own.
      RowError: for a row that can't be used, unless it's to be skipped.
    """
    tasks: list[Task] = []
    for spec in specs:
        parsed = parse_spec(spec)
        if parsed.labeler is not None:
            raise DataSpecError(spec, f"it names the labeler {parsed.labeler!r}", "the spec without it, to be judged")
        if isinstance(parsed, FileSpec):
            _files(parsed)  # whose error says more than the reader's
            found, skipped = read_tasks(parsed.path, defaults=RowDefaults(dimension), on_error=data.on_error)
            if skipped:
                logging.info("%s: %d rows skipped: %s", spec, skipped.total(), dict(skipped))
        else:
            opened = open_preferences(spec, data, dimension=dimension)
            found, skipped = tuple(map(task_of, opened)), opened.skipped
        if not found:
            raise DataSpecError(spec, f"it holds no tasks (skipped: {dict(skipped)})", "at least one usable row")
        tasks += found
    return tuple(tasks)


def task_files(specs: Iterable[str]) -> list[str]:
    """The files that ``open_tasks`` reads of those specs that name files; raises as it does where there are none."""
    parsed = (parse_spec(spec) for spec in specs)
    return [file for spec in parsed if isinstance(spec, FileSpec) for file in _files(spec)]


def _files(spec: FileSpec) -> list[str]:
    """The files that it names; where there is none, but one for each part of a list with commas, the error says so."""
    try:
        return find_files(spec.path)
    except FileError:
        parts = spec.path.split(",")
        if len(parts) < 2 or not all(map(_is_there, parts)):
            raise
        repeated = " ".join(f"--tasks={part}" for part in parts)
        right = f"{repeated}, for it may be repeated, and commas belong to names"
        raise DataSpecError(spec.text, "no such file, but each of its parts is one", right) from None


def _is_there(path: str) -> bool:
    try:
        return bool(find_files(path))
    except FileError:
        return False
