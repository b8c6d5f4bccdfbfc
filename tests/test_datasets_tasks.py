"""What is to be judged is opened from any data spec, and nothing is judged by two."""

import json

import pytest

from rmjax.config import DataConfig
from rmjax.datasets.spec import DataSpecError
from rmjax.datasets.tasks import open_tasks, task_files
from rmjax.preferences.record import FileError


def test_files_and_globs_are_opened_in_order(tmp_path):
    for name in ("a", "b"):
        row = {"prompt": name, "responses": ["x", "y", "z"]}
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(row) + "\n")
    specs = [str(tmp_path / "b.jsonl"), str(tmp_path / "*.jsonl")]
    tasks = open_tasks(specs, DataConfig(), dimension="wit")
    assert [(one.prompt, len(one.pairs())) for one in tasks] == [("b", 3), ("a", 3), ("b", 3)]


def test_files_in_a_list_with_commas_are_told_how_they_are_given(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.jsonl").write_text('{"prompt": "p", "responses": ["x", "y"]}\n')
    one, other = f"{tmp_path}/a.jsonl", f"{tmp_path}/b.jsonl"
    for read in (task_files, lambda specs: open_tasks(specs, DataConfig(), dimension="wit")):
        with pytest.raises(
            DataSpecError, match=f"each of its parts is one; right would be --tasks={one} --tasks={other}, for it"
        ):
            read([f"{one},{other}"])
        with pytest.raises(FileError, match="no such file; right would be a file that exists"):
            read([f"{one},{tmp_path}/none.jsonl"])
    both = tmp_path / "a.jsonl,b.jsonl"
    both.write_text((tmp_path / "a.jsonl").read_text())
    assert task_files([str(both)]) == [str(both)]


def test_a_prepared_data_set_is_a_source_of_tasks(monkeypatch):
    opened = []

    def open_preferences(spec, data, *, dimension):
        opened.append((spec, data, dimension))
        raise DataSpecError(spec, "stopped here", "nothing")

    monkeypatch.setattr("rmjax.datasets.tasks.open_preferences", open_preferences)
    data = DataConfig()
    with pytest.raises(DataSpecError, match="stopped here"):
        open_tasks(["synthetic/helpfulness:test"], data, dimension="helpfulness")
    assert opened == [("synthetic/helpfulness:test", data, "helpfulness")]


def test_a_spec_with_a_labeler_is_refused(tmp_path):
    with pytest.raises(DataSpecError, match="names the labeler 'brevity'"):
        open_tasks([f"{tmp_path}/a.jsonl@brevity"], DataConfig(), dimension="brevity")
