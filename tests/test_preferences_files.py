"""The same rows come out of every kind of file, and a broken file says so."""

import gzip
import json
from pathlib import Path

import pyarrow
import pytest
from bad_rows import BAD_FILES, BadFile, read_bad_file
from pyarrow import parquet

from rmjax.preferences.files import find_files, read_file, read_lines

ROWS = [
    {"prompt": f"Q{i}", "responses": ["a\u2028\n", "🦋", "\0"], "ranking": [1, 2, 3], "utilities": [0.1 * i, 2.0, -1.0]}
    for i in range(5)
]


def write(path: Path, rows: list[dict]) -> None:
    """Writes the rows in the format that the suffix says."""
    name = path.name
    if name.endswith(".parquet"):
        parquet.write_table(pyarrow.Table.from_pylist(rows), path)
        return
    lines = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    text = lines + "\n\n" if ".jsonl" in name else "[\n" + lines.replace("}\n{", "} ,\n{") + "]\n"
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz", ".json", ".json.gz", ".parquet"])
def test_rows_are_the_same_from_every_format(suffix, tmp_path):
    file = tmp_path / f"rows{suffix}"
    write(file, ROWS)
    place = "line" if ".jsonl" in suffix else "row"
    assert list(read_file(str(file))) == [(f"{file}, {place} {i}", row) for i, row in enumerate(ROWS, start=1)]


def test_a_glob_gives_all_files_in_sorted_order(tmp_path):
    for folder, number in (("b", 0), ("a", 2), ("a", 1)):
        (tmp_path / folder).mkdir(exist_ok=True)
        write(tmp_path / folder / f"{number}.jsonl", [ROWS[number]])
    found = find_files(tmp_path / "*" / "[0-9].jsonl")
    assert found == [str(tmp_path / name) for name in ("a/1.jsonl", "a/2.jsonl", "b/0.jsonl")]


def test_a_file_whose_name_looks_like_a_glob_is_that_file(tmp_path):
    for name in ("[0-9].jsonl", "7.jsonl"):
        write(tmp_path / name, ROWS)
    assert find_files(tmp_path / "[0-9].jsonl") == [str(tmp_path / "[0-9].jsonl")]


def test_a_byte_order_mark_and_windows_lines_are_fine(tmp_path):
    lines = "\r\n".join(json.dumps(row) for row in ROWS)
    (tmp_path / "rows.jsonl").write_bytes(b"\xef\xbb\xbf" + lines.encode())
    assert [row for _, row in read_file(str(tmp_path / "rows.jsonl"))] == ROWS


@pytest.mark.parametrize("case", BAD_FILES, ids=lambda case: case.name)
def test_a_broken_file_is_an_error_that_names_it(case: BadFile, tmp_path: Path):
    message = read_bad_file(case, tmp_path)
    assert message.startswith(str(tmp_path / case.file))
    assert case.message in message
    assert "; right would be " in message


def test_bad_elements_of_an_array_are_named_by_row(tmp_path):
    file = tmp_path / "rows.json"
    file.write_text('[{"a": 1}, 7, {"b": 1, "b": 2}, {"c": {"d": 1, "d": 1}}, {"e": 2}]')
    one, two, three, four, five = (row for _, row in read_file(str(file)))
    assert (one, five) == ({"a": 1}, {"e": 2})
    assert str(two).startswith(f"{file}, row 2: not an object: found 7")
    assert [(fault.origin, fault.kind, fault.field) for fault in (three, four)] == [
        (f"{file}, row 3", "duplicate field", "b"), (f"{file}, row 4", "duplicate field", "d"),
    ]  # fmt: skip


def test_parquet_text_that_is_not_utf8_is_named_by_row(tmp_path):
    file = tmp_path / "rows.parquet"
    binary = pyarrow.array([b"good", b"\xff", b"fine"])
    text = pyarrow.StringArray.from_buffers(3, *binary.buffers()[1:])
    parquet.write_table(pyarrow.table({"prompt": text}), file)
    one, two, three = (row for _, row in read_file(str(file)))
    assert (one, three) == ({"prompt": "good"}, {"prompt": "fine"})
    assert str(two).startswith(f"{file}, row 2: invalid UTF-8: found byte 0xff")


def test_a_damaged_parquet_file_is_an_error(tmp_path):
    case = BadFile(name="cut off", file="rows.parquet", content=None, message="")
    write(tmp_path / case.file, ROWS)
    (tmp_path / case.file).write_bytes((tmp_path / case.file).read_bytes()[:-30])
    assert "what pyarrow can't read" in read_bad_file(case, tmp_path)


def test_lines_may_come_from_anywhere():
    lines = [b'\xef\xbb\xbf{"a": 1}\r\n', b"\n", b" \n", b'{"a": 2}\n', b"nonsense\n", b"\n", b""]
    rows = list(read_lines("-", lines))
    assert [origin for origin, _ in rows] == [f"-, line {number}" for number in range(1, 6)]
    assert [row if isinstance(row, dict) else row.kind for _, row in rows] == [
        {"a": 1}, "blank line", "blank line", {"a": 2}, "invalid JSON",
    ]  # fmt: skip
