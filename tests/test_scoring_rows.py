"""Every form of a row to score, and every way in which one can be bad."""

import gzip
import io
import json
import pathlib
import sys

import pytest

from rmjax.preferences.files import decode_line
from rmjax.preferences.record import FileError, Message, RowError
from rmjax.scoring import rows

README = pathlib.Path(__file__).parents[1] / "README.md"
USER, ASSISTANT = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}
SAID = (Message(role="assistant", content="Hello"),)


@pytest.mark.parametrize(
    ("row", "prompt", "responses", "single"),
    [
        ({"prompt": "p", "response": "r"}, "p", ("r",), True),
        ({"prompt": "p", "response": ""}, "p", ("",), True),
        ({"prompt": "p", "responses": ["a", "b", "a"]}, "p", ("a", "b", "a"), False),
        ({"prompt": [USER], "response": "Hello"}, (Message(**USER),), (SAID,), True),
        ({"prompt": [USER], "responses": [[ASSISTANT]]}, (Message(**USER),), (SAID,), False),
        ({"messages": [USER, ASSISTANT]}, (Message(**USER),), (SAID,), True),
        (
            {"messages": [USER, ASSISTANT, USER, ASSISTANT]},
            (Message(**USER), *SAID, Message(**USER)),
            (SAID,),
            True,
        ),
        ({"prompt": "p", "response": "r", "id": 7, "chosen": None}, "p", ("r",), True),
        ({"prompt": "p", "response": "r", "responses": None, "messages": None, "reward": None}, "p", ("r",), True),
        ({"messages": [USER, ASSISTANT], "prompt": None}, (Message(**USER),), (SAID,), True),
    ],
)
def test_good_rows(row, prompt, responses, single):
    assert rows.parse_request(row, origin="f") == rows.Request(prompt=prompt, responses=responses, single=single)


def test_the_rows_that_the_readme_shows_are_rows():
    lines = [line for line in README.read_text().splitlines() if line.startswith("{")]
    found = [rows.parse_request(json.loads(line), origin="README.md") for line in lines]
    assert [(len(request.responses), request.single) for request in found] == [(1, True), (2, False), (1, True)]


BAD_ROWS = [
    ({}, "prompt", "missing field"),
    ({"response": "r"}, "prompt", "missing field"),
    ({"prompt": "p"}, "response", "missing or ambiguous field"),
    ({"prompt": "p", "response": "r", "responses": ["r"]}, "response", "missing or ambiguous field"),
    ({"prompt": "", "response": "r"}, "prompt", "empty field"),
    ({"prompt": [], "response": "r"}, "prompt", "empty field"),
    ({"prompt": 3, "response": "r"}, "prompt", "wrong type"),
    ({"prompt": " ", "response": "r"}, "prompt", "empty field"),
    ({"prompt": None, "response": "r"}, "prompt", "missing field"),
    ({"prompt": "p", "response": None}, "response", "missing or ambiguous field"),
    ({"prompt": "p", "response": [ASSISTANT]}, "response", "mixed kinds"),
    ({"prompt": [USER], "response": []}, "response", "wrong role"),
    ({"prompt": [USER], "response": [USER]}, "response", "wrong role"),
    ({"prompt": "p", "responses": "r"}, "responses", "wrong type"),
    ({"prompt": "p", "responses": []}, "responses", "empty field"),
    ({"prompt": [{"role": "robot", "content": "Hi"}], "response": "r"}, r"prompt\[0\]\.role", "unknown role"),
    ({"prompt": "p", "responses": ["a", 1.5]}, r"responses\[1\]", "wrong type"),
    ({"prompt": ["Hi"], "response": "r"}, r"prompt\[0\]", "wrong type"),
    ({"prompt": [{"role": "user"}], "response": "r"}, r"prompt\[0\]\.content", "missing field"),
    ({"prompt": [{"content": "Hi"}], "response": "r"}, r"prompt\[0\]\.role", "missing field"),
    ({"prompt": [{"role": "user", "content": 1}], "response": "r"}, r"prompt\[0\]\.content", "wrong type"),
    ({"messages": "Hi"}, "messages", "wrong type"),
    ({"messages": [ASSISTANT]}, "messages", "too few messages"),
    ({"messages": [{"role": "user", "content": ""}, ASSISTANT]}, "messages", "empty field"),
    ({"messages": [USER, ASSISTANT, USER]}, r"messages\[2\]", "wrong role"),
    ({"messages": [USER, ASSISTANT], "prompt": "p"}, "prompt", "ambiguous field"),
    ({"prompt": "p\ud800", "response": "r"}, "prompt", "lone surrogate"),
    ({"prompt": [USER], "response": "\udc00"}, "response", "lone surrogate"),
    ({"prompt": "p", "response": "r", "reward": 1.0}, "reward", "field already there"),
    ({"prompt": "p", "response": "r", "error": "x"}, "error", "field already there"),
]


@pytest.mark.parametrize(("row", "field", "kind"), BAD_ROWS)
def test_bad_rows_are_named_by_place_and_field_with_what_would_be_right(row, field, kind):
    with pytest.raises(
        RowError, match=rf"f\.jsonl, line 4: field '{field}': {kind}: found .+; right would be .+"
    ) as told:
        rows.parse_request(row, origin="f.jsonl, line 4")
    assert told.value.kind == kind


BAD_LINES = [
    (b'{"prompt": "p", ', "invalid JSON"),
    (b"not json", "invalid JSON"),
    (b'{"prompt": "\xff"}', "invalid UTF-8"),
    (b'{"score": NaN}', "invalid JSON"),
    (b"[1]", "not an object"),
    (b'"text"', "not an object"),
    (b"[" * 100_000, "invalid JSON"),
    (b'{"score": 1e400}', "invalid JSON"),
    (b'{"notes": [{"score": -1e999}]}', "invalid JSON"),
    (b'{"response": "a", "response": "b"}', "duplicate field"),
    (b'{"prompt": [{"role": "user", "role": "user"}]}', "duplicate field"),
    (b" ", "blank line"),
]


@pytest.mark.parametrize(("line", "kind"), BAD_LINES)
def test_bad_lines(line, kind):
    with pytest.raises(RowError, match=r"f\.jsonl, line 4: .+; right would be ") as told:
        decode_line(line, "f.jsonl, line 4", writable=True)
    assert told.value.kind == kind


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz"])
def test_lines_are_numbered_as_the_file_has_them(tmp_path, name):
    text = b'\xef\xbb\xbf{"a": 1}\n\n  \r\n{"b": 2}\r\n{"c": 3}\n\n \n'
    path = tmp_path / name
    path.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    assert list(rows.read_lines(str(path))) == [
        (f"{path}, line 1", b'{"a": 1}'), (f"{path}, line 2", b""), (f"{path}, line 3", b"  "),
        (f"{path}, line 4", b'{"b": 2}'), (f"{path}, line 5", b'{"c": 3}'),
    ]  # fmt: skip


def test_stdin_and_stdout(monkeypatch):
    out = io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"{}\n")))
    monkeypatch.setattr(sys, "stdout", out)
    assert list(rows.read_lines("-")) == [("stdin, line 1", b"{}")]
    with rows.opened_output("-") as stream:
        stream.write(b"x\n")
    assert out.buffer.getvalue() == b"x\n"


def test_a_file_that_is_not_there_and_a_gzip_file_that_is_broken(tmp_path):
    with pytest.raises(FileError, match=r"none\.jsonl: found no such file; right would be a \.jsonl"):
        list(rows.read_lines(str(tmp_path / "none.jsonl")))
    whole = gzip.compress("".join(f"{number}\n" for number in range(100_000)).encode())
    for name, content in (
        ("cut.gz", whole[:-2000]),
        ("plain.gz", b"{}\n"),
        ("bent.gz", whole[:500] + b"\0" + whole[501:]),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(FileError, match=rf"{name}: found .*gzip.*; right would be a whole gzip file"):
            list(rows.read_lines(str(tmp_path / name)))


@pytest.mark.parametrize("name", ["out.jsonl", "out.jsonl.gz"])
def test_output_is_whole_or_not_there(tmp_path, name):
    path = tmp_path / "new" / name

    def break_off():
        with rows.opened_output(str(path)) as stream:
            stream.write(b"half")
            raise KeyError

    with pytest.raises(KeyError):
        break_off()
    assert list(path.parent.iterdir()) == []
    written = []
    for _ in range(2):
        with rows.opened_output(str(path)) as stream:
            stream.write(b"whole\n")
        written.append(path.read_bytes())
    assert written[0] == written[1]
    assert (gzip.decompress(written[0]) if name.endswith(".gz") else written[0]) == b"whole\n"


@pytest.mark.parametrize("row", [{"a": "ü – 字"}, {"a": "\ud800"}, {"a": 0.1, "b": [None, True, 10**30]}])
def test_a_written_line_reads_back_equal(row):
    line = rows.to_line(row)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert json.loads(line.decode()) == row
