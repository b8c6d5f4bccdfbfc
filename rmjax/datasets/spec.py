"""Data specs: how a command names preferences.

A spec is a file or glob (``pairs.jsonl``, ``judged/*.parquet``) or a prepared data set (``name/config:split``, where
the split may be sliced as TFDS slices: ``train[:10%]``, ``train[:100]``, ``train+test``). ``@LABELER`` after either has
the same pairs judged again.

What ends in a suffix that ``rmjax.preferences.read`` knows is a file. Paths may hold ``@`` and ``:``; only what follows
the last ``@`` and is an identifier names a labeler.
"""

import re
from dataclasses import dataclass

from etils import epath

from rmjax.config import ConfigError
from rmjax.preferences.files import SUFFIXES

_LABELER = re.compile(r"[A-Za-z_]\w*(-\w+)*")
_DATASET = re.compile(r"(?P<name>[A-Za-z_]\w*)(/(?P<config>[\w.-]+))?(:(?P<split>.*))?")


class DataSpecError(ConfigError):
    """A data spec that can't be opened: the message names the spec, what was found and what would be right."""

    def __init__(self, spec: str, found: str, right: str):
        super().__init__(f"data spec {spec!r}: {found}; right would be {right}")


@dataclass(frozen=True, kw_only=True, slots=True)
class FileSpec:
    """A file or a glob; ``labeler`` is the name after ``@``."""

    text: str
    path: str
    labeler: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class DatasetSpec:
    """A split of a TFDS data set; ``config`` is None where the spec names none, ``labeler`` is the name after ``@``."""

    text: str
    name: str
    config: str | None
    split: str
    labeler: str | None


def parse_spec(text: str) -> FileSpec | DatasetSpec:
    """Takes a data spec apart.

    Raises:
      DataSpecError: for a text that is neither a file nor ``name/config:split``.
    """
    place, labeler = _split_labeler(text)
    if _is_file(place):
        return FileSpec(text=text, path=place, labeler=labeler)
    match = _DATASET.fullmatch(place)
    if match and match["split"]:
        return DatasetSpec(text=text, labeler=labeler, **match.groupdict())
    raise _refusal(text, place, match)


def _split_labeler(text: str) -> tuple[str, str | None]:
    place, at, labeler = text.rpartition("@")
    if not at or (_is_file(text) and not _is_file(place)):
        return text, None
    return (place, labeler) if _LABELER.fullmatch(labeler) else (text, None)


def _is_file(place: str) -> bool:
    return place.lower().endswith(SUFFIXES)


def _refusal(text: str, place: str, match: re.Match[str] | None) -> DataSpecError:
    suffixes = ", ".join(SUFFIXES)
    either = f"name/config:split, or a file or glob that ends in one of {suffixes}"
    if place and epath.Path(place).is_dir():
        return DataSpecError(text, f"{place!r} is a folder", f"a file in it or a glob, such as {place}/*.jsonl")
    if place and epath.Path(place).exists():
        return DataSpecError(text, f"the suffix of {place!r} is unknown", f"a file that ends in one of {suffixes}")
    if match:
        return DataSpecError(
            text, "it names no split, and no such file exists", f"{place.rstrip(':')}:train, or {either}"
        )
    return DataSpecError(text, "it is neither a data set nor a file", either)
