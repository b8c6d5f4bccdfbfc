"""Reading preferences from files: row by row, and nothing dropped without being counted."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence

from absl import logging

from rmjax.config import OnError
from rmjax.preferences.fields import Fields
from rmjax.preferences.files import find_files, read_file
from rmjax.preferences.record import Preference, PreferenceSet, RowError
from rmjax.preferences.row_forms import RowDefaults, RowForm, find_form


def read_preferences(
    path: str | os.PathLike[str],
    *,
    defaults: RowDefaults,
    on_error: OnError = OnError.DEFAULT,
    forms: Sequence[RowForm] = (),
) -> PreferenceSet:
    """The preferences of a file, or of all files that a glob matches, in sorted order.

    Args:
      path: a .jsonl, .jsonl.gz, .json or .json.gz (an array of rows) or .parquet file, or a glob of such.
      defaults: what the rows were judged on and by whom, where they don't say so.
      on_error: what happens to a bad row: an error, skipped and counted in ``PreferenceSet.skipped`` by kind of
        fault, or (by default) what its form says: HH transcripts and AlpacaEval annotations are skipped, all else is
        an error.
      forms: of rows, of which the first that matches reads a row; ``ROW_FORMS`` if none are given.

    Raises:
      RowError: for a bad row that isn't to be skipped.
      FileError: where there is no such file, or it can't be read, or holds no rows.
    """
    preferences: list[Preference] = []
    skipped: Counter[str] = Counter()
    for file in find_files(path):
        good_before, skipped_here = len(preferences), Counter[str]()
        for origin, row in read_file(file):
            preference = _parse(row, origin, defaults, on_error, forms, skipped_here)
            if preference is not None:
                preferences.append(preference)
        if skipped_here:
            total = len(preferences) - good_before + skipped_here.total()
            counts = ", ".join(f"{count} {kind}" for kind, count in skipped_here.most_common())
            logging.warning("%s: skipped %d of %d rows: %s", file, skipped_here.total(), total, counts)
        skipped += skipped_here
    return PreferenceSet(spec=os.fspath(path), preferences=tuple(preferences), skipped=skipped)


def _parse(
    row: Mapping[str, object] | RowError,
    origin: str,
    defaults: RowDefaults,
    on_error: OnError,
    forms: Sequence[RowForm],
    skipped: Counter[str],
) -> Preference | None:
    """The row's preference, or None where it is bad and was counted in skipped."""
    skips = on_error is OnError.SKIP
    try:
        if isinstance(row, RowError):
            raise row
        fields = Fields(row, origin)
        form = find_form(fields, forms)
        skips = skips or (on_error is OnError.DEFAULT and form.skips_by_default)
        return form.parse(fields, defaults)
    except RowError as error:
        if not skips:
            raise
        skipped[error.kind] += 1
        return None
