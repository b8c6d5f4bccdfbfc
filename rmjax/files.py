"""Files written whole or not at all, in folders and buckets alike."""

import contextlib
import importlib.util
import os
import uuid
from collections.abc import Iterator

from etils import epath

from rmjax.errors import UserError

BUCKET_MODULES = ("gcsfs", "google.cloud.storage")  # what reads and writes there, and what TensorBoard's files need


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


def absolute(path: epath.PathLike) -> epath.Path:
    """The path from the root of its file system; a bucket's (``gs://…``) is that already."""
    text = os.fspath(path)
    return epath.Path(text if "://" in text else os.path.abspath(text))


def check_bucket(path: epath.PathLike) -> None:
    """UserError where the path is in a Google Cloud Storage bucket and a package that reaches it is missing."""
    name = os.fspath(path)
    if not name.startswith("gs://"):
        return
    if missing := [module for module in BUCKET_MODULES if not _installed(module)]:
        raise UserError(
            f"{name} is in a bucket, and {' and '.join(missing)} can't be imported; `pip install -r "
            "requirements-gcs.txt` installs what buckets need"
        )


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of the package that it would be in
        return False
