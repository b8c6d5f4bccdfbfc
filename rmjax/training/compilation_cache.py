"""What XLA has compiled is kept on the disk, so that the second start of a program takes seconds.

jax's own variables rule: ``JAX_COMPILATION_CACHE_DIR`` moves the cache, to a bucket too, and
``JAX_ENABLE_COMPILATION_CACHE=false`` turns it off. The key of an entry holds the program, XLA's flags, the versions
and the kind of device, so an entry is never used for another program, and results are the same bits.

The key does not hold all that a program for a CPU is made for: its instructions are those of the processor, and its
loops are split for the number of cores. So machines that share a home have a folder each. What else runs at the same
time may share one: jax locks it, and of several processes of one run the first alone writes. Entries are trusted as
programs are, so nobody but the user may write to the folder.
"""

import hashlib
import os
import pathlib
import platform

import jax
from absl import logging
from filelock import FileLock

from rmjax.training.processors import available

MAX_BYTES = 2 << 30  # beyond it jax deletes what was used longest ago; a limit also makes it lock the folder
LOCK_SECONDS = 10.0  # as long as jax itself waits
_PROCESSOR = ("vendor_id", "cpu family", "model", "model name", "stepping", "flags",
              "CPU implementer", "CPU architecture", "CPU variant", "CPU part", "Features")  # fmt: skip


def use_compilation_cache() -> None:
    """Keeps compiled programs in the user's cache folder, unless ``JAX_COMPILATION_CACHE_DIR`` names another.

    To be called before anything is compiled. Where the folder can't be made a warning says so, and there is no cache.
    """
    if not jax.config.jax_enable_compilation_cache:  # pyright: ignore[reportAttributeAccessIssue] jax adds it by name
        return
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)  # a start compiles many small programs
    if jax.config.jax_compilation_cache_dir is not None:  # pyright: ignore[reportAttributeAccessIssue] as above
        return
    folder = default_folder()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _delete_unfinished(folder)
    except OSError as error:
        logging.warning("compiled programs can't be kept: %s; JAX_COMPILATION_CACHE_DIR names another folder", error)
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    if "JAX_COMPILATION_CACHE_MAX_SIZE" not in os.environ:
        jax.config.update("jax_compilation_cache_max_size", MAX_BYTES)


def _delete_unfinished(folder: pathlib.Path) -> None:
    """Deletes what processes left that were killed while they wrote: an entry, and not when it was used.

    jax looks for both of each entry before it writes another, so one of these would keep it from writing any. It writes
    both under its lock of the folder, so what lacks one while the lock is held is nobody's.
    """
    with FileLock(folder / ".lockfile", timeout=LOCK_SECONDS):
        names = {path.name for path in folder.iterdir()}
        for name in names:
            if name.endswith("-cache") and name.removesuffix("-cache") + "-atime" not in names:
                (folder / name).unlink()


def default_folder() -> pathlib.Path:
    """``$XDG_CACHE_HOME/rmjax/compiled/MACHINE``, or the same under ``~/.cache``."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    caches = pathlib.Path(given) if os.path.isabs(given) else pathlib.Path("~/.cache").expanduser()
    return caches / "rmjax" / "compiled" / machine()


def machine() -> str:
    """The same for machines whose CPU programs are interchangeable."""
    described = [platform.system(), platform.machine(), platform.processor(), str(available()), *_processor()]
    return f"{platform.machine()}-{hashlib.sha256(repr(described).encode()).hexdigest()[:12]}"


def _processor() -> list[str]:
    """What Linux says of the first processor, but for what changes (its clock, its number)."""
    try:
        first = pathlib.Path("/proc/cpuinfo").read_text().split("\n\n")[0]
    except OSError:
        return []
    fields = dict(line.split(":", 1) for line in first.splitlines() if ":" in line)
    known = {name.strip(): value.strip() for name, value in fields.items()}
    return [f"{name}: {known[name]}" for name in _PROCESSOR if name in known]
