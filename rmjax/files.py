"""Files written whole or not at all, in folders and buckets alike."""

import contextlib
import os
import uuid
from collections.abc import Iterator

from etils import epath


@contextlib.contextmanager
def written_whole(path: epath.PathLike) -> Iterator[epath.Path]:
    """Yields a temporary path beside ``path``; it takes the name ``path`` when the block ends without an error."""
    path = epath.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}"
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: epath.PathLike, text: str) -> None:
    """Writes UTF-8 text to ``path``, whole or not at all."""
    with written_whole(path) as temporary:
        temporary.write_text(text)


def write_bytes(path: epath.PathLike, data: bytes) -> None:
    """Writes bytes to ``path``, whole or not at all."""
    with written_whole(path) as temporary:
        temporary.write_bytes(data)


def absolute(path: epath.PathLike) -> epath.Path:
    """The path from the root of its file system; a bucket's (``gs://…``) is that already."""
    text = os.fspath(path)
    return epath.Path(text if "://" in text else os.path.abspath(text))
