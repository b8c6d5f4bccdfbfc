"""A second start compiles nothing anew, and what it computes is the same bits."""

import json
import logging as standard_logging
import os
import pathlib
import shutil

import jax
import pytest
from forked import Server
from jax._src.lru_cache import LRUCache
from test_training_resume import assert_same_run
from tiny_run import tiny_config, write_rows

from rmjax.config import to_json
from rmjax.training import compilation_cache

# ``python -m rmjax.train`` (or another command) that writes what jax says of its cache to a file.
COUNTING = """
import atexit, collections, importlib, json, os, pathlib, sys, warnings
import jax.monitoring
from absl import flags
from rmjax.command import run

if "IGNORED" in os.environ:
    warnings.filterwarnings("ignore", os.environ["IGNORED"])
counts = collections.Counter()
jax.monitoring.register_event_listener(lambda event, **_: counts.update([event.rpartition("/")[2]]))
name, target = sys.argv[1:3]
sys.argv[1:3] = []
atexit.register(lambda: pathlib.Path(target).write_text(json.dumps({**counts, "scipy": "scipy" in sys.modules})))
run(importlib.import_module(f"rmjax.{name}").main)
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A folder with data and a config."""
    folder = tmp_path_factory.mktemp("cache")
    write_rows(folder / "rows.jsonl")
    config = tiny_config(str(folder / "rows.jsonl"), steps=6, evaluate_every=3)
    (folder / "config.json").write_text(to_json(config))
    (folder / "score.jsonl").write_text('{"prompt": "Question: bird? ", "response": "cloud"}\n')
    return folder


class Commands:
    """Commands of a user."""

    def __init__(self, home: pathlib.Path, server: Server):
        self._home, self._server = home, server

    def counts(self, command: str, *arguments: str, cache: str = "cache", **variables: str) -> dict:
        """What jax counted in a command whose user has that cache folder."""
        counts, said = self._home / "counts.json", self._home / "said"
        process = self._server.start(
            ["-c", COUNTING, command, str(counts), *arguments],
            out=said, XDG_CACHE_HOME=str(self._home / cache),
            XLA_FLAGS=os.environ["XLA_FLAGS"] + " --xla_force_host_platform_device_count=1",
            **{"JAX_ENABLE_COMPILATION_CACHE": "true", **variables},
        )  # fmt: skip
        assert process.wait(timeout=300) == 0, said.read_text()
        assert "Error" not in said.read_text()
        return json.loads(counts.read_text())

    def train(self, workdir: str, **options: str) -> dict:
        config = f"--config=experiments/from_json.py:{self._home / 'config.json'}"
        return self.counts("train", config, f"--workdir={self._home / workdir}", **options)


@pytest.fixture(scope="module")
def commands(home: pathlib.Path, server: Server) -> Commands:
    return Commands(home, server)


@pytest.fixture(scope="module")
def counts(commands: Commands) -> dict[str, dict]:
    """What jax counted in a start without a cache, in one with an empty cache and in one after that."""
    without = commands.train("without", JAX_ENABLE_COMPILATION_CACHE="false")
    return {"without": without, "cold": commands.train("cold"), "warm": commands.train("warm")}


def test_a_second_start_compiles_nothing_and_gives_the_same_bits(home: pathlib.Path, counts: dict[str, dict]):
    assert "compile_requests_use_cache" not in counts["without"]
    cold, warm = counts["cold"], counts["warm"]
    assert not cold["scipy"]  # which takes a second to import, and training has no use for it
    assert cold["cache_misses"] > 0
    assert "cache_misses" not in warm
    assert warm["cache_hits"] == cold["cache_misses"] + cold.get("cache_hits", 0)
    for other in ("cold", "warm"):
        assert_same_run(home / other, home / "without")
    folder = home / "cache" / "rmjax" / "compiled"
    assert [path.name for path in folder.iterdir()] == [compilation_cache.machine()]
    assert (folder / compilation_cache.machine()).stat().st_mode & 0o077 == 0


def test_scoring_has_the_cache_too(home: pathlib.Path, commands: Commands, counts: dict[str, dict]):
    arguments = (f"--workdir={home / 'warm'}", f"--input={home / 'score.jsonl'}", f"--output={home / 'rewards.jsonl'}")
    assert commands.counts("score", *arguments)["compile_requests_use_cache"] > 0
    first = (home / "rewards.jsonl").read_bytes()
    assert "cache_misses" not in commands.counts("score", *arguments)
    assert (home / "rewards.jsonl").read_bytes() == first


def test_an_entry_that_was_cut_short_is_compiled_again(home: pathlib.Path, commands: Commands, counts: dict[str, dict]):
    """As a process leaves it that is killed while it writes."""
    shutil.copytree(home / "cache", home / "cut")
    for entry in (home / "cut").rglob("*-cache"):
        entry.write_bytes(entry.read_bytes()[:100])
    after = commands.train("after", cache="cut", IGNORED="Error reading persistent compilation cache")
    assert after["cache_misses"] == counts["cold"]["cache_misses"]
    assert_same_run(home / "after", home / "without")


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch):
    """jax's settings of the cache, turned on for a test and put back after it."""
    names = ("enable_compilation_cache", "compilation_cache_dir", "compilation_cache_max_size",
             "persistent_cache_min_compile_time_secs")  # fmt: skip
    before = {f"jax_{name}": getattr(jax.config, f"jax_{name}") for name in names}
    jax.config.update("jax_enable_compilation_cache", True)
    jax.config.update("jax_compilation_cache_dir", None)
    monkeypatch.delenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", raising=False)
    yield
    for name, value in before.items():
        jax.config.update(name, value)


@pytest.mark.usefixtures("settings")
def test_the_folder_is_the_users_unless_jax_was_given_another(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    monkeypatch.setenv("HOME", str(tmp_path))
    in_home = tmp_path / ".cache" / "rmjax" / "compiled" / compilation_cache.machine()
    assert compilation_cache.default_folder() == in_home
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    compilation_cache.use_compilation_cache()
    ours = tmp_path / "xdg" / "rmjax" / "compiled" / compilation_cache.machine()
    assert jax.config.jax_compilation_cache_dir == str(ours)
    assert jax.config.jax_persistent_cache_min_compile_time_secs == 0
    assert jax.config.jax_compilation_cache_max_size == compilation_cache.MAX_BYTES
    jax.config.update("jax_compilation_cache_dir", "gs://bucket/compiled")
    compilation_cache.use_compilation_cache()
    assert jax.config.jax_compilation_cache_dir == "gs://bucket/compiled"


@pytest.mark.usefixtures("settings")
def test_jaxs_variables_rule(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "7")
    monkeypatch.setenv("JAX_COMPILATION_CACHE_MAX_SIZE", "123")
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 7.0)
    jax.config.update("jax_compilation_cache_max_size", 123)
    compilation_cache.use_compilation_cache()
    assert jax.config.jax_persistent_cache_min_compile_time_secs == 7
    assert jax.config.jax_compilation_cache_max_size == 123
    jax.config.update("jax_compilation_cache_dir", None)
    jax.config.update("jax_enable_compilation_cache", False)
    compilation_cache.use_compilation_cache()
    assert jax.config.jax_compilation_cache_dir is None


@pytest.mark.usefixtures("settings")
def test_a_folder_that_cant_be_made_is_a_warning(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    (tmp_path / "rmjax").write_text("a file\n")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with caplog.at_level(standard_logging.WARNING):
        compilation_cache.use_compilation_cache()
    assert jax.config.jax_compilation_cache_dir is None
    assert "can't be kept" in caplog.text


def test_machines_whose_programs_differ_have_a_folder_each(monkeypatch: pytest.MonkeyPatch):
    here = compilation_cache.machine()
    assert compilation_cache.machine() == here
    monkeypatch.setattr(compilation_cache, "available", lambda: 99)
    more_cores = compilation_cache.machine()
    monkeypatch.setattr(compilation_cache, "_processor", lambda: ["flags: mmx"])
    assert len({here, more_cores, compilation_cache.machine()}) == 3


@pytest.mark.usefixtures("settings")
def test_what_a_killed_process_left_does_not_keep_others_from_writing(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
):
    """jax writes an entry and then when it was used, and before the next it looks for both of each."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = compilation_cache.default_folder()
    folder.mkdir(parents=True)
    for name in ("whole-cache", "whole-atime", "killed-cache"):
        (folder / name).write_bytes(bytes(8))
    compilation_cache.use_compilation_cache()
    assert {path.name for path in folder.iterdir()} == {"whole-cache", "whole-atime", ".lockfile"}
    LRUCache(str(folder), max_size=100).put("next", b"1")
    assert (folder / "next-cache").exists()
