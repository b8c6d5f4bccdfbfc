"""Four virtual CPU devices, quick compilation, and shape types checked at run time, in tests only.

`make test-gpu` has the GPU instead, and compiles as any run does.

The time of tests is that of compiling small programs, each of which runs a few times. So XLA compiles without LLVM's
optimizations and, where it still has them (jax before 0.11), with its older, simpler emitters, which takes a sixth of
the time for the same programs, and what one test has compiled serves the others of its process. Flags in XLA_FLAGS win
over these. Commands that tests start get them through the environment, and leave the user's compilation cache alone.

Types are checked in all but what reads, makes and judges rows of text: there it takes more time than all else.
"""

import gc
import importlib.metadata
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any

import pytest
from forked import Server, collect_less

PLATFORM = os.environ.get("RMJAX_TEST_PLATFORM", "cpu")  # `make test-gpu` sets it
JAXLIB = tuple(int(part) for part in importlib.metadata.version("jaxlib").split(".")[:2])
FLAGS = [
    "--xla_force_host_platform_device_count=4",
    "--xla_backend_optimization_level=0",
    "--xla_llvm_disable_expensive_passes=true",
    *(["--xla_cpu_use_fusion_emitters=false"] if JAXLIB < (0, 11) else []),  # XLA ends the process at unknown flags
]
if PLATFORM == "cpu":
    os.environ["XLA_FLAGS"] = " ".join([*FLAGS, os.environ.get("XLA_FLAGS", "")])
os.environ["JAX_PLATFORMS"] = PLATFORM
os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"
os.environ["JAX_TRACEBACK_IN_LOCATIONS_LIMIT"] = "0"  # where in Python each operation came from: nobody asks

import jax  # noqa: E402 it reads the flags once
from jax.experimental.compilation_cache import compilation_cache  # noqa: E402
from jaxtyping import install_import_hook  # noqa: E402

TYPED = ("batches", "models", "training", "evaluation", "scoring", "config", "config_json", "files", "intervals",
         "labeling.report", "command", "command_flags")  # fmt: skip
# The files whose tests are mostly commands in processes of their own, the longest first: one worker takes them, one
# after the other, while the others compute.
PROCESSES = tuple(
    f"test_{name}.py"
    for name in ("training_processes", "training_resume", "files_bucket", "training_compilation_cache", "scripts_tpu",
                 "docs_extending", "labeling_browser", "label_people", "scoring_serving_process", "command")
)  # fmt: skip

MOST_MAPS = 25_000  # of the 65,530 that Linux allows

assert all((pathlib.Path(__file__).parent / name).exists() for name in PROCESSES)
install_import_hook([f"rmjax.{package}" for package in TYPED], "beartype.beartype")
_compiled = tempfile.mkdtemp(prefix="rmjax-compiled-")
jax.config.update("jax_enable_compilation_cache", True)
jax.config.update("jax_compilation_cache_dir", _compiled)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.05)
collect_less()


def pytest_unconfigure() -> None:
    shutil.rmtree(_compiled, ignore_errors=True)


@pytest.fixture(scope="module", autouse=True)
def few_programs() -> Iterator[None]:
    """Forgets compiled programs before there are too many: the system lets a process map only so much memory, in
    pieces, of which each program takes some; XLA ends the process where it gets no more."""
    yield
    if len(pathlib.Path("/proc/self/maps").read_bytes().splitlines()) > MOST_MAPS:
        jax.clear_caches()
        gc.collect()


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """What starts commands in processes of their own."""
    with Server() as server:
        yield server


@pytest.fixture(scope="session")
def cached() -> dict[str, str]:
    """The variables with which a command shares what the tests of this process have compiled."""
    return {"JAX_ENABLE_COMPILATION_CACHE": "true", "JAX_COMPILATION_CACHE_DIR": _compiled}


@pytest.fixture(scope="module")
def uncached() -> Iterator[None]:
    """For what compiles for chips that aren't there: jax keeps such programs too, but can't read them again."""
    jax.config.update("jax_enable_compilation_cache", False)
    compilation_cache.reset_cache()
    yield
    jax.config.update("jax_enable_compilation_cache", True)
    compilation_cache.reset_cache()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files of processes come first, so that none of them is what the end waits for."""
    items.sort(key=lambda item: PROCESSES.index(item.path.name) if item.path.name in PROCESSES else len(PROCESSES))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """``--dist loadfile``, but that the files of processes go to one worker."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            return "processes" if file.rpartition("/")[2] in PROCESSES else file

    return Scheduling(config, log) if config.getvalue("dist") == "loadfile" else None
