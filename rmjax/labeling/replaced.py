"""What labels may replace: those that were written in the same way, and never what is judged."""

import os
from collections.abc import Iterable, Iterator, Mapping

from etils import epath

from rmjax.config import ConfigError
from rmjax.files import in_bucket
from rmjax.preferences.fields import shown
from rmjax.preferences.files import read_file
from rmjax.preferences.record import FileError, Source


def check_replaced(output: str, source: Source) -> None:
    """ConfigError where there is a file of that name that holds anything but labels of that source."""
    for _ in rows_replaced(output, source):
        pass


def rows_replaced(output: str, source: Source) -> Iterator[tuple[str, Mapping[str, object]]]:
    """Yields (origin, row) for the rows of a file of that name, none where there is none or nothing is in it.

    ConfigError at the first that is no label of that source, and for a file that can't be read.
    """
    file = epath.Path(output)
    if not file.is_file() or not file.stat().length:
        return
    right = f"right would be a new file, or one of labels of source {source.value}"
    try:
        for origin, row in read_file(output):
            if not isinstance(row, Mapping) or row.get("source") != source.value:
                found = (
                    f"source {shown(row.get('source'))}" if isinstance(row, Mapping) and "source" in row else "no label"
                )
                raise ConfigError(f"--output: {output} is there already, and {origin} has {found}; {right}")
            yield origin, row
    except FileError as error:
        raise ConfigError(f"--output: {output} is there already, and holds no labels ({error}); {right}") from None


def check_store(outputs: Iterable[str], store: str) -> None:
    """ConfigError where a file that is to be written is there already, but not the store that it would be from."""
    if os.path.exists(store):  # it is always in a local folder
        return
    for output in outputs:
        if epath.Path(output).exists():
            raise ConfigError(
                f"--output: {output} is there, but no store {store} from which it was written; right would be a new "
                "file, or the --store that belongs to it"
            )


def check_unread(outputs: Iterable[str], read: Iterable[str]) -> None:
    """ConfigError where a file that is to be written is one of those that are read, by whatever name."""
    files = {_place(file): file for file in read}
    for output in outputs:
        if file := files.get(_place(output)):
            raise ConfigError(f"--output: {output} would replace {file}, which is judged; right would be another file")


def _place(file: str) -> str:
    return file if in_bucket(file) else os.path.realpath(file)
