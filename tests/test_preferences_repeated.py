"""What is there more than once is counted, where the report on labels refuses it."""

import pathlib

import pytest
from label_cases import judged, older, write_judge, write_people

from rmjax.config import DataConfig
from rmjax.datasets.open import open_many
from rmjax.errors import UserError
from rmjax.labeling.report.given_twice import given_once
from rmjax.preferences.record import Side
from rmjax.preferences.repeated import repeated
from rmjax.preferences.write import write_preferences


def again(*specs: object) -> dict[tuple[str, str], int]:
    """What is repeated; the report must refuse the same data, and no others."""
    sets = open_many(map(str, specs), DataConfig(), dimension="helpfulness")
    found = {
        (pathlib.Path(first).name, pathlib.Path(second).name): count
        for (first, second), count in repeated(sets).items()
    }
    if found:
        with pytest.raises(UserError):
            given_once(sets)
    else:
        given_once(sets)
    return found


@pytest.fixture
def people(tmp_path) -> pathlib.Path:
    return write_people(tmp_path)


def test_a_file_is_known_again_by_any_name(people, tmp_path, monkeypatch):
    assert again(people) == {}
    (tmp_path / "other.jsonl").symlink_to(people)
    monkeypatch.chdir(tmp_path)
    for name in ("people.jsonl", "./people.jsonl", "peop*.jsonl", people):
        assert again("people.jsonl", name) == {("people.jsonl", "people.jsonl"): 3}
    assert again("people.jsonl", "other.jsonl") == {("people.jsonl", "other.jsonl"): 3}
    assert again(people, people, people) == {("people.jsonl", "people.jsonl"): 6}


def test_rows_that_say_no_time_are_known_by_their_places(tmp_path):
    for name in ("one.jsonl", "other.jsonl"):
        write_preferences(tmp_path / name, [judged(judged_at=None), judged(judged_at=None)])
    assert again(tmp_path / "one.jsonl", tmp_path / "other.jsonl") == {}
    assert again(tmp_path / "one.jsonl", tmp_path / "one.jsonl") == {("one.jsonl", "one.jsonl"): 2}


def test_what_another_labeler_says_of_the_rows_is_not_there_again(people):
    assert again(people, f"{people}@brevity") == {}
    assert again(f"{people}@brevity", f"{people}@brevity") == {("people.jsonl", "people.jsonl"): 3}


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_judgment_that_an_older_export_has_is_there_again(people, tmp_path, mirrored):
    one = judged("ben")
    if mirrored:
        one = older(one)
    write_preferences(tmp_path / "older.jsonl", [judged("cem"), one])
    assert again(people, tmp_path / "older.jsonl") == {("people.jsonl", "older.jsonl"): 1}


@pytest.mark.parametrize("changes", [
    {"name": "cem"}, {"second": 7}, {"first": Side.RIGHT, "name": "ben"}, {"judged_at": None},
], ids=str)  # fmt: skip
def test_another_judgment_of_the_pair_is_not(people, tmp_path, changes):
    write_preferences(tmp_path / "more.jsonl", [judged(**changes)])
    assert again(people, tmp_path / "more.jsonl") == {}


def test_a_judges_mean_is_there_with_both_of_its_orders(tmp_path):
    for file in write_judge(tmp_path):
        assert again(file) == {}  # one answer may stand at two equal tasks
    names = ("judged.jsonl", "judged.orders.jsonl")
    assert again(*(tmp_path / name for name in names)) == {names: 4}
    assert again(*(tmp_path / name for name in names[::-1])) == {names[::-1]: 2}
