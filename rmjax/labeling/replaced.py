"""What labels may replace: those that were written in the same way, and never what is judged."""

import os
from collections.abc import Iterable, Mapping

from etils import epath

from rmjax.config import ConfigError
from rmjax.files import in_bucket
from rmjax.preferences.fields import shown
from rmjax.preferences.files import read_file
from rmjax.preferences.record import FileError, Source


def check_replaced(output: str, source: Source) -> None:
    """ConfigError where there is a file of that name that holds anything but labels of that source.

    Of people's each judgment must have its time, which known answers and data from elsewhere seldom have.
    """
    file = epath.Path(output)
    if not file.is_file() or not file.stat().length:
        return
    right = f"right would be a new file, or one of labels of source {source.value}"
    try:
        for origin, row in read_file(output):
            if found := _other(row, source):
                raise ConfigError(f"--output: {output} is there already, and {origin} has {found}; {right}")
    except FileError as error:
        raise ConfigError(f"--output: {output} is there already, and holds no labels ({error}); {right}") from None


def _other(row: object, source: Source) -> str | None:
    """What the row is instead of labels of that source; None where it is these."""
    if not isinstance(row, Mapping) or "source" not in row:
        return "no label"
    if row["source"] != source.value:
        return f"source {shown(row['source'])}"
    judgments = row.get("comparisons")
    timed = isinstance(judgments, list) and all(isinstance(one, Mapping) and "judged_at" in one for one in judgments)
    return "judgments without judged_at" if source is Source.HUMAN and not timed else None


def check_of_store(output: str, store: str) -> None:
    """ConfigError where there is a file of that name, but not the store that it would have been written from."""
    if epath.Path(output).exists() and not os.path.exists(store):
        right = "right would be a new file, or the --store that belongs to it"
        raise ConfigError(f"--output: {output} is there, but no store {store} from which it was written; {right}")


def check_unread(outputs: Iterable[str], read: Iterable[str]) -> None:
    """ConfigError where a file that is to be written is one of those that are read, by whatever name."""
    files = {_place(file): file for file in read}
    for output in outputs:
        if file := files.get(_place(output)):
            raise ConfigError(f"--output: {output} would replace {file}, which is judged; right would be another file")


def _place(file: str) -> str:
    return file if in_bucket(file) else os.path.realpath(file)
