"""The HH-RLHF builder: nothing lost, nothing mistaken for another, nothing half prepared."""

import functools
import gzip
import http.server
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import tensorflow_datasets as tfds

from rmjax.config import ConfigError, DataConfig, OnError
from rmjax.datasets import hh_rlhf
from rmjax.datasets.hh_rlhf import HhRlhf
from rmjax.datasets.open import open_preferences
from rmjax.datasets.prepare import is_prepared, prepare
from rmjax.preferences.groups import RowDefaults
from rmjax.preferences.read import read_preferences
from rmjax.preferences.record import RowError, Source

ROOT = Path(__file__).parents[1]
REAL = ROOT.parent / "shared" / "data" / "hh-rlhf"
IDENTICAL = {"chosen": "\n\nHuman: a\n\nAssistant: b", "rejected": "\n\nHuman: a\n\nAssistant: b"}
UNRELATED = {"chosen": "\n\nHuman: a\n\nAssistant: b", "rejected": "no turn at all"}


def pair(number: int) -> dict[str, str]:
    prompt = f"\n\nHuman: question {number} é\n\nAssistant: go on\n\nHuman: more\n\nAssistant:"
    return {"chosen": f"{prompt} good {number}", "rejected": prompt if number % 5 == 0 else f"{prompt} bad {number}"}


def write_rows(path: Path, rows: list[dict[str, str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def write_published(folder: Path, config: str = "helpful-base", rows: int = 20) -> Path:
    """Files in the published layout; train holds a bad row before its record 3, one before 10 and one at the end."""
    train = [pair(number) for number in range(rows)]
    train = [*train[:3], IDENTICAL, *train[3:10], UNRELATED, *train[10:], IDENTICAL]
    write_rows(folder / config / "train.jsonl.gz", train)
    write_rows(folder / config / "test.jsonl.gz", [pair(number) for number in range(1000, 1005)])
    return folder


@pytest.fixture
def data(tmp_path) -> DataConfig:
    return DataConfig(data_dir=str(tmp_path / "prepared"), manual_dir=str(write_published(tmp_path / "manual")))


def opened(spec: str, data: DataConfig):
    return open_preferences(spec, data, dimension="unused")


@pytest.mark.parametrize(
    ("config", "dimension"),
    [("helpful-base", "helpfulness"), ("helpful-online", "helpfulness"), ("harmless-base", "harmlessness")],
)
def test_records_are_those_of_the_files_in_their_order(tmp_path, config, dimension):
    manual = write_published(tmp_path / "manual", config)
    data = DataConfig(data_dir=str(tmp_path / "prepared"), manual_dir=str(manual))
    defaults = RowDefaults(dimension=dimension, source=Source.HUMAN)
    for split in ("train", "test"):
        file = str(manual / config / f"{split}.jsonl.gz")
        expected = read_preferences(file, defaults=defaults, on_error=OnError.DEFAULT)
        for _ in range(2):  # prepared, and opened again
            found = opened(f"hh_rlhf/{config}:{split}", data)
            assert found.preferences == expected.preferences
            assert found.skipped == expected.skipped
    assert opened(f"hh_rlhf/{config}:train", data).skipped.total() == 3


def test_parts_of_a_split_share_out_its_skipped_rows(data):
    whole = opened("hh_rlhf/helpful-base:train", data)
    for cut in range(1, 20):
        head, tail = (opened(f"hh_rlhf/helpful-base:train[{part}]", data) for part in (f":{cut}", f"{cut}:"))
        assert head.preferences + tail.preferences == whole.preferences
        assert head.skipped + tail.skipped == whole.skipped
        assert [entry.origin for entry in (*head, *tail)] == [entry.origin for entry in whole]
    assert opened("hh_rlhf/helpful-base:train[:3]", data).skipped.total() == 0
    assert opened("hh_rlhf/helpful-base:train[:4]", data).skipped.total() == 1
    assert opened("hh_rlhf/helpful-base:test", data).skipped.total() == 0


def test_on_error_names_the_first_skipped_row_of_what_is_opened(data):
    opened("hh_rlhf/helpful-base:train", data)
    data.on_error = OnError.ERROR
    with pytest.raises(RowError, match=r"helpful-base/train\.jsonl\.gz, line 4\b.*identical"):
        opened("hh_rlhf/helpful-base:train", data)
    with pytest.raises(RowError, match=r"train\.jsonl\.gz, line 12\b.*right would be"):
        opened("hh_rlhf/helpful-base:train[4:]", data)
    assert len(opened("hh_rlhf/helpful-base:train[4:10]", data)) == 6


def test_lines_without_a_row_are_an_error_unless_skipped(data):
    file = Path(str(data.manual_dir)) / "helpful-base" / "test.jsonl.gz"
    lines = [json.dumps(pair(1)), "{no json", json.dumps(pair(2)), json.dumps({"prompt": "alone"}), json.dumps(pair(3))]
    file.write_bytes(gzip.compress("\n".join(lines).encode()))
    with pytest.raises(RowError, match=r"test\.jsonl\.gz, line 2: invalid JSON: found 'no json' at character 2"):
        opened("hh_rlhf/helpful-base:test", data)
    with pytest.raises(RowError, match=r"test\.jsonl\.gz, line 4.*unknown form"):
        opened("hh_rlhf/helpful-base:test[2:]", data)
    assert len(opened("hh_rlhf/helpful-base:test[:1]", data)) == 1
    data.on_error = OnError.SKIP
    found = opened("hh_rlhf/helpful-base:test", data)
    assert (len(found), dict(found.skipped)) == (3, {"invalid JSON": 1, "unknown form": 1})


def test_file_that_was_cut_off_is_an_error(data):
    file = Path(str(data.manual_dir)) / "helpful-base" / "test.jsonl.gz"
    file.write_bytes(file.read_bytes()[:-12])
    with pytest.raises(ValueError, match=r"test\.jsonl\.gz.*cut off"):
        opened("hh_rlhf/helpful-base:test", data)


def test_files_that_change_are_prepared_anew(data):
    before = opened("hh_rlhf/helpful-base:test", data)
    file = Path(str(data.manual_dir)) / "helpful-base" / "test.jsonl.gz"
    times = file.stat()
    write_rows(file, [pair(7)])
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    after = opened("hh_rlhf/helpful-base:test", data)
    assert (len(before), len(after)) == (5, 1)


def test_another_manual_dir_is_another_data_set(tmp_path, data):
    other = write_published(tmp_path / "other", rows=12)
    data_other = DataConfig(data_dir=data.data_dir, manual_dir=str(other))
    assert len(opened("hh_rlhf/helpful-base:train", data)) == 20
    assert len(opened("hh_rlhf/helpful-base:train", data_other)) == 12
    assert len(opened("hh_rlhf/helpful-base:train", data)) == 20


def test_missing_manual_files_are_all_named(data):
    with pytest.raises(ConfigError, match=r"manual_dir.*harmless-base/train\.jsonl\.gz.*harmless-base/test\.jsonl\.gz"):
        opened("hh_rlhf/harmless-base:train", data)


def test_files_without_a_usable_row_are_refused(data):
    write_rows(Path(str(data.manual_dir)) / "helpful-base" / "test.jsonl.gz", [IDENTICAL])
    with pytest.raises(ConfigError, match=r"test\.jsonl\.gz holds no row that can be used \(1 "):
        opened("hh_rlhf/helpful-base:train", data)


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Serves files in the published layout at the address that stands for the published one; yields the requests."""
    requested = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format, *args):
            requested.append(self.path)

    handler = functools.partial(Handler, directory=str(write_published(tmp_path / "published", rows=15)))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        monkeypatch.setattr(hh_rlhf, "PUBLISHED", f"http://127.0.0.1:{running.server_port}")
        yield requested
        running.shutdown()
        thread.join()


def test_download_once_and_apart_from_manual_files(server, data):
    published = DataConfig(data_dir=data.data_dir)
    assert len(opened("hh_rlhf/helpful-base:train", data)) == 20
    assert not server
    assert len(opened("hh_rlhf/helpful-base:train", published)) == 15
    fetched = len(server)
    assert fetched >= 2
    assert opened("hh_rlhf/helpful-base:train", published).skipped.total() == 3
    assert len(opened("hh_rlhf/helpful-base:train", data)) == 20
    assert len(server) == fetched


def test_refused_download_names_address_and_way_out(server, tmp_path):
    with pytest.raises(ConfigError, match=r"http://127\.0\.0\.1:\d+/harmless-base/train\.jsonl\.gz.*404.*manual_dir"):
        opened("hh_rlhf/harmless-base:train", DataConfig(data_dir=str(tmp_path / "prepared")))


def test_no_network_is_told_at_once(tmp_path, monkeypatch):
    with socket.socket() as taken:  # bound but not listening: nobody answers here
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setattr(hh_rlhf, "PUBLISHED", f"http://127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(ConfigError, match=r"can't download http://127.*train\.jsonl\.gz.*manual_dir"):
            opened("hh_rlhf/helpful-base:train", DataConfig(data_dir=str(tmp_path / "prepared")))


def test_preparation_prints_nothing_to_stdout(data, capfd):
    opened("hh_rlhf/helpful-base:train", data)
    captured = capfd.readouterr()
    assert captured.out == ""
    assert "it/s" not in captured.err
    assert "split" not in captured.err


def test_info(data):
    assert hh_rlhf.PUBLISHED == "https://huggingface.co/datasets/Anthropic/hh-rlhf/resolve/main"
    info = HhRlhf(config="helpful-base", data_dir=data.data_dir).info
    assert info.redistribution_info.license == "MIT"
    assert "2204.05862" in info.citation
    assert set(tfds.builder_cls("hh_rlhf").builder_configs) == set(hh_rlhf.DIMENSIONS)


SCRIPT = """
import os, signal, sys
from rmjax.config import DataConfig
from rmjax.datasets import hh_rlhf
from rmjax.datasets.open import open_preferences
data_dir, manual_dir, mode = sys.argv[1:]
if mode == "killed":
    find_form, seen = hh_rlhf.find_form, []
    def find_until_killed(fields):
        seen.append(1)
        if len(seen) == 10:
            os.kill(os.getpid(), signal.SIGKILL)
        return find_form(fields)
    hh_rlhf.find_form = find_until_killed
data = DataConfig(data_dir=data_dir, manual_dir=manual_dir)
found = open_preferences("hh_rlhf/helpful-base:train", data, dimension="")
print(len(found), found.skipped.total())
"""


def start(data: DataConfig, mode: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(data.data_dir), str(data.manual_dir), mode],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_killed_preparation_leaves_nothing_that_opens(data):
    killed = start(data, "killed")
    killed.communicate(timeout=120)
    assert killed.returncode == -signal.SIGKILL
    left = [path for path in Path(str(data.data_dir)).rglob("*") if "incomplete" in path.name]
    assert left, "the kill came before there was anything to leave"
    assert not is_prepared(HhRlhf(config="helpful-base", data_dir=data.data_dir, manual_dir=data.manual_dir))
    found = opened("hh_rlhf/helpful-base:train", data)
    assert (len(found), found.skipped.total()) == (20, 3)


def test_two_processes_at_once(data):
    running = [start(data, "whole") for _ in range(2)]
    for out, err in [process.communicate(timeout=120) for process in running]:
        assert out.split()[-2:] == ["20", "3"], err
    assert len(opened("hh_rlhf/helpful-base:train", data)) == 20


def test_the_faster_of_two_preparations_is_kept(data, monkeypatch):
    """The other one ends in the middle of ours, so that our folder can't be renamed over its folder."""

    def builder() -> HhRlhf:
        return HhRlhf(config="helpful-base", data_dir=data.data_dir, manual_dir=data.manual_dir)

    original, waiting = HhRlhf._generate_examples, [True]

    def overtaken(self, split, name, file):
        if waiting and waiting.pop():
            prepare(builder)
        yield from original(self, split, name, file)

    monkeypatch.setattr(HhRlhf, "_generate_examples", overtaken)
    prepared = prepare(builder)
    assert not waiting
    assert prepared.info.splits["train"].num_examples == 20
    assert len(opened("hh_rlhf/helpful-base:train", data)) == 20


@pytest.mark.skipif(not REAL.is_dir(), reason="the real HH pairs aren't in ../shared/data/hh-rlhf")
@pytest.mark.parametrize(
    ("config", "dimension", "rows"),
    [("helpful-base", "helpfulness", (1671, 339)), ("harmless-base", "harmlessness", (1625, 339))],
)
def test_real_files(tmp_path, config, dimension, rows):
    data = DataConfig(data_dir=str(tmp_path), manual_dir=str(REAL))
    for split, count in zip(("train", "test"), rows, strict=True):
        found = opened(f"hh_rlhf/{config}:{split}", data)
        assert len(found) + found.skipped.total() == count
        assert len(found) > 0.98 * count
        assert {(entry.dimension, entry.source) for entry in found} == {(dimension, Source.HUMAN)}
        assert all(str(entry.prompt).endswith("\n\nAssistant:") for entry in found)
