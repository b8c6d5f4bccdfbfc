"""Reading the published files of a benchmark: row by row, and nothing dropped without being counted."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from absl import logging
from etils import epath

from rmjax.config import OnError
from rmjax.evaluation.benchmark_rule import BenchmarkRow, BenchmarkRule, base_name
from rmjax.files import check_bucket
from rmjax.preferences.fields import Fields
from rmjax.preferences.files import SUFFIXES, find_files, read_file
from rmjax.preferences.record import FileError, RowError


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchmarkData:
    """The rows of a benchmark, with the count of those that can't be used, by kind of fault."""

    rows: tuple[BenchmarkRow, ...]
    left_out: Counter[str] = field(default_factory=Counter)


def read_benchmark(paths: Sequence[str], rule: BenchmarkRule, *, on_error: OnError = OnError.DEFAULT) -> BenchmarkData:
    """The rows of files, of globs, and of the published files that lie in folders, all together one benchmark.

    Args:
      paths: .jsonl, .jsonl.gz, .json, .json.gz (an array of rows) and .parquet files, or globs or folders of such.
      rule: how a row is read.
      on_error: ``SKIP`` leaves bad rows out and counts them; else the first is an error.

    Raises:
      RowError: for a bad row that isn't to be skipped, and for one whose key another row of its subset has.
      FileError: where there is no such file, or it can't be read, or holds no rows, or was given twice.
    """
    rows: list[BenchmarkRow] = []
    left_out: Counter[str] = Counter()
    taken: dict[tuple[str, str], str] = {}
    files = [file for path in paths for file in _files(path, rule)]
    for file, count in Counter(files).items():
        if count > 1:
            raise FileError(file, found=f"the file {count} times in --data", right="each file once")
    for file in files:
        for origin, row in read_file(file):
            try:
                rows.append(_parse(row, origin, file, rule, taken))
            except RowError as error:
                if on_error is not OnError.SKIP:
                    raise
                left_out[error.kind] += 1
    for kind, count in sorted(left_out.items()):
        logging.warning("left out %d rows: %s", count, kind)
    return BenchmarkData(rows=tuple(rows), left_out=left_out)


def _parse(
    row: Mapping[str, object] | RowError, origin: str, file: str, rule: BenchmarkRule, taken: dict[tuple[str, str], str]
) -> BenchmarkRow:
    if isinstance(row, RowError):
        raise row
    fields = Fields(row, origin)
    parsed = rule.parse(fields, base_name(file))
    if parsed.key:
        first = taken.setdefault((parsed.subset, parsed.key), origin)
        if first != origin:
            found = f"{parsed.key!r}, which {first} has too"
            raise fields.error("id", "repeated id", found=found, right=f"an id of its own among {parsed.subset}")
    return parsed


def _files(path: str, rule: BenchmarkRule) -> list[str]:
    """The files that a path means."""
    check_bucket(path)
    folder = epath.Path(path)
    if not folder.is_dir():
        return find_files(path)
    found = sorted(os.fspath(file) for file in folder.iterdir() if file.name.lower().endswith(SUFFIXES))
    if not found:
        right = "one that holds the published files themselves: " + ", ".join(SUFFIXES)
        raise FileError(path, found="a folder without any", right=right)
    chosen = rule.files_of_folder(found)
    for file in sorted(set(found) - set(chosen)):
        logging.info("%s is not read: it is no part of the benchmark, or its rows are in another file too", file)
    return chosen
