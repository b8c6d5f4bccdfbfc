"""Reading preferences from files: row by row, and nothing dropped without being counted."""

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from absl import logging

from rmjax.config import OnError
from rmjax.preferences.fields import Fields
from rmjax.preferences.files import find_files, read_file
from rmjax.preferences.record import Preference, PreferenceSet, RowError
from rmjax.preferences.row_forms import RowDefaults, RowForm, find_form

Made = TypeVar("Made")


def read_preferences(
    path: str | os.PathLike[str], *, defaults: RowDefaults, on_error: OnError = OnError.DEFAULT
) -> PreferenceSet:
    """The preferences of a file, or of all files that a glob matches, in sorted order.

    Args:
      path: a .jsonl, .jsonl.gz, .json or .json.gz (an array of rows) or .parquet file, or a glob of such.
      defaults: what the rows were judged on and by whom, where they don't say so.
      on_error: what happens to a bad row: an error, skipped and counted in ``PreferenceSet.skipped`` by kind of
        fault, or (by default) what its form says: HH transcripts and AlpacaEval annotations are skipped, all else is
        an error.

    Raises:
      RowError: for a bad row that isn't to be skipped.
      FileError: where there is no such file, or it can't be read, or holds no rows.
    """
    preferences, skipped = read_rows(path, defaults=defaults, on_error=on_error, made=_as_it_is)
    return PreferenceSet(spec=os.fspath(path), preferences=preferences, skipped=skipped)


def _as_it_is(fields: Fields, preference: Preference) -> Preference:
    return preference


def read_rows(
    path: str | os.PathLike[str],
    *,
    defaults: RowDefaults,
    on_error: OnError,
    made: Callable[[Fields, Preference], Made],
    forms: Sequence[RowForm] = (),
) -> tuple[tuple[Made, ...], Counter[str]]:
    """What is made of each row that can be used, and how many were skipped, by kind of fault.

    Args:
      path, defaults, on_error: as ``read_preferences`` has them, errors too.
      made: of a row's fields and its preference; a RowError of it is one of the row.
      forms: of rows, of which the first that matches reads a row; ``ROW_FORMS`` if none are given.
    """
    found: list[Made] = []
    skipped: Counter[str] = Counter()
    for file in find_files(path):
        good_before, skipped_here = len(found), Counter[str]()
        for origin, row in read_file(file):
            parsed = _parse(row, origin, defaults, on_error, forms, made, skipped_here)
            if parsed is not None:
                found.append(parsed)
        if skipped_here:
            total = len(found) - good_before + skipped_here.total()
            counts = ", ".join(f"{count} {kind}" for kind, count in skipped_here.most_common())
            logging.warning("%s: skipped %d of %d rows: %s", file, skipped_here.total(), total, counts)
        skipped += skipped_here
    return tuple(found), skipped


def _parse(
    row: Mapping[str, object] | RowError,
    origin: str,
    defaults: RowDefaults,
    on_error: OnError,
    forms: Sequence[RowForm],
    made: Callable[[Fields, Preference], Made],
    skipped: Counter[str],
) -> Made | None:
    """What is made of the row, or None where it is bad and was counted in skipped."""
    skips = on_error is OnError.SKIP
    try:
        if isinstance(row, RowError):
            raise row
        fields = Fields(row, origin)
        form = find_form(fields, forms)
        skips = skips or (on_error is OnError.DEFAULT and form.skips_by_default)
        return made(fields, form.parse(fields, defaults))
    except RowError as error:
        if not skips:
            raise
        skipped[error.kind] += 1
        return None
