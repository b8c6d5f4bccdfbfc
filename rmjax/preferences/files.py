"""Rows out of files: JSON Lines, JSON arrays (both gzipped or not) and Parquet, from folders and buckets.

A broken file is a FileError. In the place of a row that can't be decoded stands the RowError that says why: whoever
reads raises it or counts it. Blank lines are fine at the end of a JSON Lines file; between rows they are an error,
since a row may be lost there.
"""

import gzip
import json
import math
import os
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import PurePath
from typing import IO, Any

from rmjax.preferences.fields import shown
from rmjax.preferences.record import FileError, RowError

Rows = Iterator[tuple[str, Mapping[str, object] | RowError]]
SUFFIXES = (".jsonl", ".jsonl.gz", ".json", ".json.gz", ".parquet")
BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # Windows programs begin UTF-8 files with it


def find_files(path: str | os.PathLike[str]) -> list[str]:
    """The file of that name, or else all files that the glob matches, sorted; FileError where there is none."""
    # Imported when a file is looked for, so that the record and its row forms need the standard library alone.
    from etils import epath

    from rmjax.files import check_bucket

    name = os.fspath(path)
    check_bucket(name)
    file = epath.Path(name)
    if file.is_dir():
        raise FileError(name, found="a folder", right=f"a file, or a glob as {name.rstrip('/')}/*.jsonl")
    if file.exists():
        return [name]
    parts = file.parts
    first = next((i for i, part in enumerate(parts) if re.search(r"[*?\[]", part)), None)
    if first is None:
        raise FileError(name, found="no such file", right="a file that exists, or a glob that matches some")
    if "**" in name:
        raise FileError(name, found="a glob with **", right="a * for each folder (** would list a whole bucket)")
    folder = epath.Path(*parts[:first])
    matches = folder.glob("/".join(parts[first:])) if folder.is_dir() else ()
    files = sorted(os.fspath(match) for match in matches if not match.is_dir())
    if not files:
        raise FileError(name, found="no file that the glob matches", right="a glob that matches at least one file")
    return files


def read_file(name: str) -> Rows:
    """Yields (origin, row) for each row of a file."""
    lower = name.lower()
    suffix = next((suffix for suffix in sorted(SUFFIXES, key=len, reverse=True) if lower.endswith(suffix)), None)
    if suffix is None:
        found = f"the suffix {PurePath(name).suffix!r}"
        raise FileError(name, found=found, right="one of " + ", ".join(SUFFIXES))
    from etils import epath  # see find_files

    empty = True
    with epath.Path(name).open("rb") as file:
        for row in _ROWS_OF[suffix](name, file):
            empty = False
            yield row
    if empty:
        raise FileError(name, found="no rows, an empty file", right="at least one row")


def unzipped(name: str, file: IO[bytes]) -> Iterator[bytes]:
    """Yields the lines of a gzipped file."""
    right = "a whole gzip file (a file without compression has no .gz at the end of its name)"
    with gzip.GzipFile(fileobj=file, mode="rb") as unzipped:
        try:
            yield from unzipped
        except EOFError:
            raise FileError(name, found="a gzip file that was cut off", right=right) from None
        except (gzip.BadGzipFile, zlib.error) as error:
            raise FileError(name, found=f"no valid gzip data ({error})", right=right) from None


def numbered_lines(name: str, lines: Iterable[bytes]) -> Iterator[tuple[str, bytes]]:
    """Yields (``NAME, line N``, line) without byte order mark, line ends, and blank lines at the end."""
    blank: list[tuple[str, bytes]] = []
    for number, line in enumerate(lines, start=1):
        content = (line.removeprefix(BYTE_ORDER_MARK) if number == 1 else line).rstrip(b"\r\n")
        blank.append((f"{name}, line {number}", content))
        if content.strip():
            yield from blank
            blank = []


def read_lines(name: str, lines: Iterable[bytes]) -> Rows:
    """Yields (origin, row) for lines of JSON, one row each; ``name`` stands for their file in messages."""
    for origin, line in numbered_lines(name, lines):
        row: Mapping[str, object] | RowError
        try:
            row = decode_line(line, origin)
        except RowError as error:
            row = error
        yield origin, row


def _error(origin: str, kind: str, found: str, right: str) -> RowError:
    return RowError(origin=origin, field="", kind=kind, found=found, right=right)


class _DuplicateFieldError(ValueError):
    """An object that has a field twice, of which JSON readers silently keep the last."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise _DuplicateFieldError(next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1))
    return values


def decode_line(line: bytes, origin: str, *, writable: bool = False) -> dict[str, Any]:
    """The object on a line of JSON, or else a RowError.

    ``writable`` says that the row is to be written again as it was: then a number that JSON can't spell (NaN, Infinity,
    or one that becomes infinite, as 1e400) is an error wherever it stands.
    """
    if not line.strip():
        raise _error(origin, "blank line", "a blank line before the last row", "a row")
    decoder = _WRITABLE if writable else _DECODER
    try:
        row = decoder.decode(line.decode())
    except UnicodeDecodeError as error:
        found = f"byte 0x{line[error.start]:02x} at position {error.start + 1} of the line"
        raise _error(origin, "invalid UTF-8", found, "text in UTF-8") from None
    except _DuplicateFieldError as error:
        raise _duplicate(origin, error) from None
    except json.JSONDecodeError as error:
        near = (
            shown(error.doc[error.pos : error.pos + 40].rstrip()) if error.pos < len(error.doc.rstrip()) else "the end"
        )
        found = f"{near} at character {error.pos + 1} ({error.msg})"
        raise _error(origin, "invalid JSON", found, "one JSON object on one line") from None
    except (ValueError, RecursionError) as error:  # a number of thousands of digits; brackets nested thousands deep
        raise _error(
            origin, "invalid JSON", f"what can't be decoded ({error})", "one JSON object on one line"
        ) from None
    return _checked_object(row, origin)


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _no_number(f"{text}, a number beyond what a float64 holds,")


def _checked_object(row: object, origin: str) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise _error(origin, "not an object", shown(row), "a JSON object, as {...}")
    return row


def _duplicate(origin: str, error: _DuplicateFieldError) -> RowError:
    name = str(error)
    return RowError(origin=origin, field=name, kind="duplicate field", found="the field twice", right="the field once")


_DECODER = json.JSONDecoder(object_pairs_hook=_object)
_WRITABLE = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_no_number, parse_float=_finite)
_SPACE = re.compile(r"[ \t\n\r]*")


def _rows_of_array(name: str, file: Iterable[bytes]) -> Rows:
    """Yields (origin, row) for the elements of a JSON array, decoded one after another."""
    data = b"".join(file)
    try:
        text = data.removeprefix(BYTE_ORDER_MARK).decode()
    except UnicodeDecodeError as error:
        found = f"byte 0x{error.object[error.start]:02x} at position {error.start + 1}, invalid UTF-8"
        raise FileError(name, found=found, right="a JSON array in UTF-8") from None
    place = _after_space(text, 0)
    if place == len(text):
        return
    if text[place] != "[":
        right = "a JSON array of rows, as [{...}, {...}] (a file with one object on each line is named .jsonl)"
        raise FileError(name, found=f"no array, but {shown(text[place : place + 60].rstrip())}", right=right)
    place = _after_space(text, place + 1)
    closed, number = text.startswith("]", place), 0
    while not closed:
        number += 1
        origin = f"{name}, row {number}"
        row, place = _decode_element(text, place, origin, _DECODER)
        yield origin, row
        place = _after_space(text, place)
        closed = text.startswith("]", place)
        if not closed and not text.startswith(",", place):
            raise _broken_array(origin, text, place, "',' or ']' after the row")
        place = _after_space(text, place + 1)
    if number and place < len(text):
        raise _broken_array(name, text, place, "nothing after the array's ']'")


def _after_space(text: str, place: int) -> int:
    found = _SPACE.match(text, place)
    return found.end() if found else place


def _decode_element(
    text: str, place: int, origin: str, decoder: json.JSONDecoder
) -> tuple[Mapping[str, object] | RowError, int]:
    """The row that begins at a place of a JSON array, or what is wrong with it, and the place after it."""
    try:
        row, end = decoder.raw_decode(text, place)
    except _DuplicateFieldError as error:
        _, end = _decode_element(text, place, origin, json.JSONDecoder())
        return _duplicate(origin, error), end
    except json.JSONDecodeError as error:
        raise _broken_array(origin, text, error.pos, f"valid JSON ({error.msg})") from None
    except (ValueError, RecursionError) as error:
        raise _broken_array(origin, text, place, f"what can be decoded ({error})") from None
    if isinstance(row, dict):
        return row, end
    return _error(origin, "not an object", shown(row), "a JSON object, as {...}"), end


def _broken_array(origin: str, text: str, place: int, right: str) -> FileError:
    line = text.count("\n", 0, place) + 1
    rest = text[place : place + 40].rstrip()
    found = f"{shown(rest)} on line {line}" if rest else f"the end of the file on line {line}"
    return FileError(origin, found=found, right=right)


def _rows_of_parquet(name: str, file: IO[bytes]) -> Rows:
    """Yields (origin, row) for the rows of a Parquet file, batch by batch."""
    # Imported when a Parquet file is read: it takes most of a second, and whoever has none needs no pyarrow.
    import pyarrow
    from pyarrow import parquet

    number = 0
    try:
        for batch in parquet.ParquetFile(file).iter_batches(batch_size=1024):
            for position in range(batch.num_rows):
                number += 1
                origin = f"{name}, row {number}"
                try:
                    # One row at a time, so that text which is not UTF-8 is found in its row.
                    row = batch.slice(position, 1).to_pylist()[0]
                except UnicodeDecodeError as error:
                    found = f"byte 0x{error.object[error.start]:02x} in {shown(error.object)}"
                    row = _error(origin, "invalid UTF-8", found, "text in UTF-8")
                yield origin, row
    except (pyarrow.ArrowException, OSError) as error:
        found = f"what pyarrow can't read ({shown(str(error).strip())})"
        raise FileError(name, found=found, right="a whole Parquet file") from None


def _unzipped_lines(name: str, file: IO[bytes]) -> Rows:
    return read_lines(name, unzipped(name, file))


def _unzipped_array(name: str, file: IO[bytes]) -> Rows:
    return _rows_of_array(name, unzipped(name, file))


_ROWS_OF: dict[str, Callable[[str, IO[bytes]], Rows]] = {
    ".jsonl": read_lines,
    ".jsonl.gz": _unzipped_lines,
    ".json": _rows_of_array,
    ".json.gz": _unzipped_array,
    ".parquet": _rows_of_parquet,
}
