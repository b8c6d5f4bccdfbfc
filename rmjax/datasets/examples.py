"""Examples of TFDS data sets that aren't ours, read as rows: any of them will do that has the fields of a row form."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
from tensorflow_datasets.core.features import Sequence

from rmjax.config import OnError
from rmjax.preferences.fields import Fields, shown
from rmjax.preferences.groups import RowDefaults
from rmjax.preferences.record import Preference, RowError
from rmjax.preferences.row_forms import find_form


def parse_examples(
    features: Any,
    records: Iterable[tuple[bytes, str]],
    defaults: RowDefaults,
    on_error: OnError,
) -> tuple[tuple[Preference, ...], Counter[str]]:
    """The preferences of stored examples, and how many were skipped, by kind of fault.

    Args:
      features: of the data set, as ``builder.info`` has them.
      records: (stored example, origin).
      defaults: for examples that don't say dimension or source.
      on_error: DEFAULT does with a bad example as its row form says.

    Raises:
      RowError: for the first bad example that isn't to be skipped.
    """
    preferences, skipped = [], Counter[str]()
    for record, origin in records:
        skips = on_error is OnError.SKIP
        try:
            fields = Fields(_plain(features.deserialize_example_np(record), features, origin, ""), origin)
            form = find_form(fields)
            skips = skips or (on_error is OnError.DEFAULT and form.skips_by_default)
            preferences.append(form.parse(fields, defaults))
        except RowError as error:
            if not skips:
                raise
            skipped[error.kind] += 1
    return tuple(preferences), skipped


def _plain(value: Any, feature: Any, origin: str, name: str) -> Any:
    """JSON values for TFDS's: texts for bytes, numbers for NumPy's, and a list of objects where TFDS has an object of
    lists (its form of a sequence of objects)."""
    if isinstance(value, bytes):
        return _text(value, origin, name)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        of_objects = isinstance(feature, Sequence)
        parts: Any = feature.feature if of_objects else feature
        columns = {key: _plain(entry, parts[key], origin, key) for key, entry in value.items()}
        if not of_objects:
            return columns
        return [dict(zip(columns, entries, strict=True)) for entries in zip(*columns.values(), strict=True)]
    if isinstance(value, np.ndarray | list | tuple):
        return [_plain(entry, feature, origin, name) for entry in value]
    return value


def _text(value: bytes, origin: str, name: str) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError as error:
        found = f"{shown(value)} at byte {error.start + 1}"
        raise RowError(origin=origin, field=name, kind="invalid UTF-8", found=found, right="text in UTF-8") from None
