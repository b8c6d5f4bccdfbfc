"""Preparing a TFDS data set once, whole or not at all."""

import contextlib
import hashlib
import io
import time
from collections.abc import Callable, Iterable

import tensorflow_datasets as tfds
from absl import logging
from etils import epath
from tensorflow_datasets.core.constants import DATA_DIR

from rmjax.config import ConfigError


def prepare(
    make_builder: Callable[[], tfds.core.DatasetBuilder], *, manual_dir: str | None = None
) -> tfds.core.DatasetBuilder:
    """The builder of a data set that lies prepared in its folder; it is prepared first where it isn't yet.

    TFDS writes into a folder of another name and renames it at the end, so a preparation that was killed leaves nothing
    that opens, and of two that run at the same time the first to end wins. So any number of processes may call this at
    once; who wants the work done once lets one of them go first. Nothing here waits for another process.

    Args:
      make_builder: makes the builder; called again after a preparation, since a builder looks into its folder once,
        when it is made.
      manual_dir: handed to builders that ask TFDS's download manager for it.

    Raises:
      ConfigError: where the data can't be fetched or the folder can't be written, or holds something incomplete.
    """
    builder = make_builder()
    found = builder.info.initialized
    _prepare(builder, manual_dir)
    return builder if found else make_builder()


def is_prepared(builder: tfds.core.DatasetBuilder) -> bool:
    """Whether the builder's folder holds a data set that was written to its end."""
    return all((builder.data_path / name).exists() for name in ("dataset_info.json", "features.json"))


def folder_for_manual(data_dir: epath.PathLike | None, files: Iterable[tuple[str, epath.Path]]) -> str:
    """The folder ``DATA_DIR/manual-DIGEST`` for what is prepared from files given by hand, as (name, path).

    DIGEST, sixteen hexadecimal digits, is that of the names and contents, so a data set prepared from some files is
    never taken for the published one, nor for that of other files, and files that change are prepared anew.
    """
    digest = hashlib.blake2b(digest_size=8)
    for name, path in files:
        content = hashlib.blake2b()
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                content.update(block)
        digest.update(f"{name}\n{content.hexdigest()}\n".encode())
    root = epath.Path(DATA_DIR if data_dir is None else data_dir).expanduser()
    return str(root / f"manual-{digest.hexdigest()}")


def _prepare(builder: tfds.core.DatasetBuilder, manual_dir: str | None) -> None:
    if is_prepared(builder):
        return
    if builder.data_path.exists():
        raise ConfigError(
            f"the folder {builder.data_path} exists but holds no complete data set; delete it, and the data set is "
            "prepared anew"
        )
    name = "/".join(filter(None, (builder.name, builder.builder_config_name)))
    logging.info(
        "preparing %s in %s (once; it takes some seconds, or as long as a download) ...", name, builder.data_path
    )
    began = time.monotonic()
    try:
        with _quiet():
            builder.download_and_prepare(
                download_config=tfds.download.DownloadConfig(manual_dir=manual_dir, try_download_gcs=False),
                file_format="array_record",
            )
    except OSError as error:
        if is_prepared(builder):
            return  # another process was faster, and its folder can't be renamed over
        raise ConfigError(f"can't prepare {name} in {builder.data_path} (config.data.data_dir): {error}") from error
    if not is_prepared(builder):
        raise ConfigError(f"preparing {name} in {builder.data_path} left no complete data set there; delete the folder")
    prepared = builder.info.splits.total_num_examples
    logging.info("prepared %s: %d records in %.0f s", name, prepared, time.monotonic() - began)


@contextlib.contextmanager
def _quiet():
    """Without TFDS's progress bars and what it prints to stdout, which belongs to the results of commands."""
    tfds.disable_progress_bar()
    with contextlib.redirect_stdout(io.StringIO()):
        yield
