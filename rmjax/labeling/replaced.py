"""What labels may replace: those that were written in the same way, and never what is judged."""

import itertools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence

from etils import epath

from rmjax.config import ConfigError
from rmjax.files import is_one_file
from rmjax.preferences.fields import shown
from rmjax.preferences.files import read_file
from rmjax.preferences.record import FileError, Source


def check_replaced(output: str, source: Source, *, dimension: str) -> None:
    """ConfigError where there is a file of that name that holds anything but labels of that source and dimension."""
    for _ in labels_replaced(output, source, dimension=dimension):
        pass


def labels_replaced(output: str, source: Source, *, dimension: str) -> Iterator[tuple[str, Mapping[str, object]]]:
    """As ``rows_replaced``, and a ConfigError for labels of another dimension too."""
    for origin, row in rows_replaced(output, source):
        if row.get("dimension") != dimension:
            raise not_replaced(output, origin, f"labels of dimension {shown(row.get('dimension'))}, not {dimension!r}")
        yield origin, row


def not_replaced(output: str, origin: str, found: str, right: str = "another --output") -> ConfigError:
    """The error for labels that are not those which the run would write."""
    return ConfigError(f"--output: {output} is there already, and {origin} has {found}; right would be {right}")


def rows_replaced(output: str, source: Source) -> Iterator[tuple[str, Mapping[str, object]]]:
    """Yields (origin, row) for the rows of a file of that name, none where there is none or nothing is in it.

    ConfigError at the first that is no label of that source, and for a file that can't be read.
    """
    file = epath.Path(output)
    if not file.is_file() or not file.stat().length:
        return
    right = f"a new file, or one of labels of source {source.value}"
    try:
        for origin, row in read_file(output):
            if not isinstance(row, Mapping) or row.get("source") != source.value:
                found = (
                    f"source {shown(row.get('source'))}" if isinstance(row, Mapping) and "source" in row else "no label"
                )
                raise not_replaced(output, origin, found, right)
            yield origin, row
    except FileError as error:
        raise ConfigError(
            f"--output: {output} is there already, and holds no labels ({error}); right would be {right}"
        ) from None


def judgments(row: Mapping[str, object], names: Sequence[str]) -> list[tuple[str, ...]]:
    """The fields of those names that each comparison of a row has; an empty tuple where one of them is no text."""
    comparisons = row.get("comparisons")
    if not isinstance(comparisons, list) or not comparisons:
        return [()]
    found = []
    for one in comparisons:
        values = [one.get(name) for name in names] if isinstance(one, dict) else []
        found.append(tuple(values) if all(isinstance(value, str) for value in values) else ())
    return found


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
    for output, file in itertools.product(outputs, read):
        if is_one_file(file, output):
            raise ConfigError(f"--output: {output} would replace {file}, which is judged; right would be another file")
