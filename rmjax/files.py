"""Files written whole or not at all, in folders and buckets alike, and files that grow.

In a bucket an object appears when its upload is complete, whole; it can't be appended to, and a folder is no more than
what names have in common. What is written here goes through etils' paths, but for files that grow there.
"""

import contextlib
import importlib.util
import os
import stat
import uuid
from collections.abc import Iterator
from typing import Any

from etils import epath

from rmjax.errors import UserError

_BUCKET = "gs://"
_STDIN, _STDOUT = 0, 1
_DESCRIPTORS = ("/dev", "/proc")
BUCKET_MODULES = ("gcsfs", "google.cloud.storage")  # what reads and writes there, and what TensorBoard's files need


@contextlib.contextmanager
def written_whole(path: epath.PathLike) -> Iterator[epath.Path]:
    """Yields a temporary path beside ``path``; it takes the name ``path`` when the block ends without an error.

    In a bucket too, though nothing there is half-written: closing a file completes its upload, also after an error.
    A link stays, and what it points to is replaced. A pipe or device is no file to be replaced: it is yielded itself.

    Raises:
      UserError: for a descriptor (``/dev/stdout``) that leads to a file: others write to it too.
    """
    path = epath.Path(path)
    if "://" not in os.fspath(path):
        if path.exists() and not os.path.isfile(path):
            yield path
            return
        if os.path.realpath(path.parent).startswith(_DESCRIPTORS):
            raise UserError(
                f"{path} leads to a file that is open already; it must be the name of a file, a pipe or `-`"
            )
        path = epath.Path(os.path.realpath(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}"
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: epath.PathLike, text: str) -> None:
    """Writes UTF-8 text to ``path``; a file is written whole or not at all."""
    with written_whole(path) as temporary:
        temporary.write_text(text)


class GrowingFile:
    """A file in a folder that is written piece by piece: a piece is there at once, and on the disk after ``flush``."""

    def __init__(self, path: str):
        self._file = open(path, "ab")  # noqa: SIM115 closed in close()

    def write(self, data: bytes) -> None:
        self._file.write(data)
        self._file.flush()

    def flush(self) -> None:
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self.flush()
        self._file.close()


class GrowingObject:
    """A file in a Google Cloud Storage bucket that one process writes, piece by piece.

    What was written is there after ``flush``, which sends the new bytes alone: they become an object of their own,
    which the bucket then joins to the end of the file, all of it or nothing. Where the answer to that is lost and it is
    asked again, the file's generation tells that it was done: nothing is added twice. (Writing the file anew, as
    tensorboardX does, would send it whole every time.)

    Args:
      path: ``gs://BUCKET/NAME``; a file that is there grows on.
    """

    def __init__(self, path: str):
        import google.cloud.storage as storage  # pyright: ignore[reportMissingImports] check_bucket looks for it

        bucket, _, self._name = path.removeprefix(_BUCKET).partition("/")
        self._bucket: Any = storage.Client().bucket(bucket)
        self._found: Any = self._bucket.get_blob(self._name)
        self._waiting = bytearray()

    def write(self, data: bytes) -> None:
        self._waiting += data

    def flush(self) -> None:
        if not self._waiting:
            return
        if self._found is None:
            self._found = self._upload(self._name)
        else:
            self._join()
        self._waiting.clear()

    def close(self) -> None:
        self.flush()

    def _upload(self, name: str) -> Any:
        blob = self._bucket.blob(name)
        blob.upload_from_string(bytes(self._waiting), "application/octet-stream", if_generation_match=0)
        return blob

    def _join(self) -> None:
        from google.api_core.exceptions import PreconditionFailed  # pyright: ignore[reportMissingImports] as above

        folder, _, name = self._name.rpartition("/")
        part = self._upload(f"{folder}/.{name}.{uuid.uuid4().hex}".lstrip("/"))
        whole = self._bucket.blob(self._name)
        try:
            whole.compose([self._found, part], if_generation_match=self._found.generation)
        except PreconditionFailed:
            whole.reload()
            if whole.size != self._found.size + len(self._waiting):
                raise
        self._found = whole
        part.delete()


def growing(path: epath.PathLike) -> GrowingFile | GrowingObject:
    """The file of that path, to be written on from its end."""
    name = os.fspath(path)
    return GrowingObject(name) if in_bucket(name) else GrowingFile(name)


def absolute(path: epath.PathLike) -> epath.Path:
    """The path from the root of its file system; a bucket's (``gs://…``) is that already."""
    text = os.fspath(path)
    return epath.Path(text if "://" in text else os.path.abspath(text))


def in_bucket(path: epath.PathLike) -> bool:
    """Whether the path is in a Google Cloud Storage bucket."""
    return os.fspath(path).startswith(_BUCKET)


def check_bucket(path: epath.PathLike) -> None:
    """UserError where the path is in a Google Cloud Storage bucket and a package that reaches it is missing."""
    if not in_bucket(path):
        return
    if missing := [module for module in BUCKET_MODULES if not _installed(module)]:
        raise UserError(
            f"{os.fspath(path)} is in a bucket, and {' and '.join(missing)} can't be imported; `pip install -r "
            "requirements-gcs.txt` installs what buckets need"
        )


def check_apart(source: str, target: str) -> None:
    """UserError where what is read from ``--input`` and written to ``--output`` is one file, by whatever names.

    Links have the file that they point to, ``-`` that which stdin or stdout was redirected to. A terminal, a pipe and a
    device may be both.
    """
    if is_one_file(source, target):
        raise UserError(f"--output: {target} is the file that --input={source} reads; right would be another file")


def is_one_file(source: str, target: str) -> bool:
    """Whether both names have one file that is there; of links and of ``-`` as ``check_apart`` says."""
    if in_bucket(source):
        return source == target
    read, written = _file_of(source, _STDIN), _file_of(target, _STDOUT)
    return read is not None and written is not None and os.path.samestat(read, written)


def _file_of(name: str, standard: int) -> os.stat_result | None:
    """What tells a file from others; None where there is none yet, and of what is no file or lies in a bucket."""
    try:
        found = os.fstat(standard) if name == "-" else os.stat(name)
    except OSError:
        return None
    return found if stat.S_ISREG(found.st_mode) else None


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of the package that it would be in
        return False
