"""Preferences as rows, and rows in files; what is written is read back equal."""

import gzip
import itertools
import json
import os
from collections.abc import Iterable, Iterator
from typing import Any

from rmjax.preferences.conversations import is_blank
from rmjax.preferences.fields import shown
from rmjax.preferences.record import Comparison, FileError, Preference, RowError, Text
from rmjax.preferences.row_forms import RowDefaults, parse_row


def to_row(preference: Preference) -> dict[str, Any]:
    """The preference as ``{prompt, responses, comparisons, dimension, source}``, JSON values only.

    ``id`` goes before them where the record has one; ``utilities`` and ``known_answer`` follow where they are known,
    and ``allow_empty`` where a response is empty. RowError where the record could not be read back (identical
    responses, half a surrogate pair, a NaN).
    """
    row: dict[str, Any] = {} if preference.id is None else {"id": preference.id}
    row |= {
        "prompt": plain(preference.prompt),
        "responses": [plain(response) for response in preference.responses],
        "comparisons": [_comparison(comparison) for comparison in preference.comparisons],
        "dimension": preference.dimension,
        "source": preference.source.value,
    }
    if preference.utilities is not None:
        row["utilities"] = list(preference.utilities)
    if preference.known_answer is not None:
        row["known_answer"] = preference.known_answer.value
    if any(is_blank(response) for response in preference.responses):
        row["allow_empty"] = True
    read = parse_row(row, origin=preference.origin or "a record", defaults=RowDefaults(preference.dimension))
    if read.id != preference.id:
        raise RowError(
            origin=preference.origin or "a record", field="id", kind="bad id", found=shown(preference.id),
            right="text that is not empty and that UTF-8 can hold",
        )  # fmt: skip
    return row


def plain(text: Text) -> str | list[dict[str, str]]:
    """The text as JSON has it: messages as a list of objects."""
    if isinstance(text, str):
        return text
    return [{"role": message.role, "content": message.content} for message in text]


def _comparison(comparison: Comparison) -> dict[str, Any]:
    row: dict[str, Any] = {
        "left": comparison.left,
        "right": comparison.right,
        "probability": comparison.probability,
        "margin": comparison.margin,
        "weight": comparison.weight,
    }
    known = {
        "annotator": comparison.annotator,
        "true_probability": comparison.true_probability,
        "strength": comparison.strength and comparison.strength.value,
        "shown_first": comparison.shown_first and comparison.shown_first.value,
        "seconds": comparison.seconds,
        "judged_at": comparison.judged_at,
    }
    return row | {name: value for name, value in known.items() if value is not None}


def checked_output(path: str | os.PathLike[str]) -> str:
    """The name of a file that ``write_preferences`` can write; FileError for another suffix than its two."""
    name = os.fspath(path)
    if not name.endswith((".jsonl", ".jsonl.gz")):
        raise FileError(name, found="the suffix of another format", right=".jsonl or .jsonl.gz")
    return name


def write_preferences(path: str | os.PathLike[str], preferences: Iterable[Preference]) -> None:
    """Writes the preferences to a .jsonl or .jsonl.gz file, whole or not at all; equal records give equal bytes.

    Raises:
      RowError: for a record that could not be read back.
      FileError: for another suffix, or when there is nothing to write.
    """
    # Imported here for etils, so that turning records into rows needs the standard library alone.
    from rmjax.files import written_whole

    name = checked_output(path)
    lines = to_lines(preferences)
    first = next(lines, None)
    if first is None:
        raise FileError(name, found="no preferences to write", right="at least one, since an empty file is an error")
    with written_whole(path) as temporary, temporary.open("wb") as file:
        if name.endswith(".gz"):
            with gzip.GzipFile(filename="", fileobj=file, mode="wb", mtime=0) as zipped:
                zipped.writelines(itertools.chain([first], lines))
        else:
            file.writelines(itertools.chain([first], lines))


def to_lines(preferences: Iterable[Preference]) -> Iterator[bytes]:
    """The lines of a .jsonl file of these preferences; RowError as ``to_row``."""
    for preference in preferences:
        yield json.dumps(to_row(preference), ensure_ascii=False, allow_nan=False).encode() + b"\n"
