"""A file is replaced whole; what is no file is written to as it is."""

import itertools
import os
import re
import threading
from pathlib import Path

import pytest

from rmjax.errors import UserError
from rmjax.files import check_apart, write_text, written_whole


def test_an_error_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path):
    path = tmp_path / "a"
    write_text(path, "old")

    def fail():
        with written_whole(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("exists", [True, False])
def test_a_link_stays_and_its_file_is_replaced(tmp_path: Path, exists: bool):
    target, link = tmp_path / "there" / "file", tmp_path / "link"
    link.symlink_to(target)
    if exists:
        write_text(target, "old")
    write_text(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"


def test_a_pipe_is_written_to(tmp_path: Path):
    pipe, read = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()))
    reader.start()
    write_text(pipe, "text")
    reader.join(timeout=60)
    assert read == ["text"]
    assert pipe.is_fifo()


def test_a_device_is_written_to():
    write_text("/dev/null", "text")
    assert Path("/dev/null").is_char_device()


def test_a_descriptor_of_a_file_is_an_error_and_the_file_stays(tmp_path: Path):
    path = tmp_path / "a"
    path.write_text("old")
    with path.open("a") as file, pytest.raises(UserError, match="leads to a file that is open already"):
        write_text(f"/dev/fd/{file.fileno()}", "text")
    assert path.read_text() == "old"


def test_a_folder_is_an_error_and_stays(tmp_path: Path):
    with pytest.raises(IsADirectoryError):
        write_text(tmp_path, "text")
    assert tmp_path.is_dir()


def names_of(path: Path, beside: Path) -> list[str]:
    """Spellings of one file, and links to it."""
    soft, hard = beside / "soft", beside / "hard"
    soft.symlink_to(path)
    os.link(path, hard)
    return [
        str(path),
        f"{path.parent}/../{path.parent.name}/./{path.name}",
        os.path.relpath(path),
        str(soft),
        str(hard),
    ]


def test_a_file_is_never_read_and_written_by_whatever_names(tmp_path: Path):
    path = tmp_path / "rows.jsonl"
    path.write_text("{}\n")
    beside = tmp_path / "beside"
    beside.mkdir()
    for source, target in itertools.permutations(names_of(path, beside), 2):
        with pytest.raises(
            UserError, match=f"--output: {re.escape(target)} is the file that --input={re.escape(source)} "
        ):
            check_apart(source, target)
    with pytest.raises(UserError, match="--output: gs://"):
        check_apart("gs://bucket/a", "gs://bucket/a")


def test_other_files_and_what_is_no_file_may_be_read_and_written(tmp_path: Path):
    one, other, pipe = (str(tmp_path / name) for name in ("one", "other", "pipe"))
    write_text(one, "the same")
    check_apart(one, other)  # not there yet
    write_text(other, "the same")
    check_apart(one, other)
    check_apart(str(tmp_path / "gone"), str(tmp_path / "gone"))  # reading says that it isn't there
    os.mkfifo(pipe)
    check_apart(pipe, pipe)
    check_apart("/dev/null", "/dev/null")
    check_apart("gs://bucket/a", "gs://bucket/b")
