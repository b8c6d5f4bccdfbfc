"""Nothing counts twice in the report: neither a row that two names lead to nor a judgment that two files hold."""

import dataclasses
import json
import pathlib

import pytest
from label_cases import TIME, judged, older, write_judge, write_people

from rmjax.config import DataConfig
from rmjax.datasets.open import open_many
from rmjax.errors import UserError
from rmjax.labeling.report.given_twice import given_once
from rmjax.labeling.report.report import report_labels
from rmjax.preferences.record import Comparison, Preference, PreferenceSet, Side, Source
from rmjax.preferences.write import write_preferences


def check(*specs: object) -> tuple[PreferenceSet, ...]:
    return given_once(open_many(map(str, specs), DataConfig(), dimension="helpfulness"))


@pytest.fixture
def people(tmp_path) -> pathlib.Path:
    return write_people(tmp_path)


def test_one_file_by_two_names_is_an_error(tmp_path, people, monkeypatch):
    check(people)
    (tmp_path / "other.jsonl").symlink_to(people)
    monkeypatch.chdir(tmp_path)
    for name in ("people.jsonl", "./people.jsonl", "peop*.jsonl", people, "other.jsonl"):
        with pytest.raises(
            UserError, match=r"line 1 is given twice, by 'people.jsonl' and by '.*', and would count twice; right"
        ):
            check("people.jsonl", name)
    with pytest.raises(UserError, match=r"people.jsonl, line 1 is given twice"):
        report_labels(open_many(["people.jsonl"] * 2, DataConfig(), dimension="helpfulness"))


def test_a_file_beside_what_another_labeler_says_of_it_is_none(people):
    check(people, f"{people}@brevity")
    with pytest.raises(UserError, match="line 1 is given twice"):
        check(f"{people}@brevity", f"{people}@brevity")


def test_rows_without_a_file_are_different_ones(people):
    (entry,) = open_many([str(people)], DataConfig(), dimension="helpfulness")
    bare = tuple(dataclasses.replace(one, origin="") for one in entry)
    given_once([dataclasses.replace(entry, preferences=bare)])


@pytest.mark.parametrize("form", ["a copy", "mirrored"])
def test_a_judgment_that_another_file_has_too_is_an_error(tmp_path, people, form):
    """As in an older export; however the file has the responses."""
    one = judged("ben")
    if form == "mirrored":
        one = older(one)
    write_preferences(tmp_path / "older.jsonl.gz", [judged("cem"), one])
    right = (
        r"older.jsonl.gz, line 2 has a judgment that .*people.jsonl, line 3 has too, .* right would be one of the two"
    )
    with pytest.raises(UserError, match=right):
        check(people, tmp_path / "older.jsonl.gz")


@pytest.mark.parametrize("changes", [
    {"name": "cem"}, {"second": 7}, {"first": Side.RIGHT, "name": "ben"}, {"judged_at": None},
], ids=str)  # fmt: skip
def test_another_judgment_of_the_pair_is_none(tmp_path, people, changes):
    write_preferences(tmp_path / "more.jsonl", [judged(**changes)])
    check(people, tmp_path / "more.jsonl")


def test_the_labels_of_a_judge_beside_their_orders_are_an_error(tmp_path):
    """Each of them alone is none, also where one answer stands at two equal tasks, or both orders came at once."""
    for file in write_judge(tmp_path):
        check(file)
    for specs in ([tmp_path / "judged*.jsonl"], [tmp_path / "judged.orders.jsonl", tmp_path / "judged.jsonl"]):
        with pytest.raises(
            UserError, match=r"right would be an AI judge's .orders.jsonl, or the labels that are its mean"
        ):
            check(*specs)


def by_judge(*said: tuple[str, float], orders: bool = False, source: Source = Source.AI) -> list[Preference]:
    """What a judge said of each prompt: the probability of the left response, as labels or in both orders."""
    seen = (Side.LEFT, Side.RIGHT) if orders else (None,)
    return [
        Preference(
            prompt=prompt,
            responses=("a", "b"),
            comparisons=tuple(
                Comparison(left=0, right=1, probability=value, annotator="judge", judged_at=TIME, shown_first=side)
                for side in seen
            ),
            dimension="wit",
            source=source,
        )
        for prompt, value in said
    ]


@pytest.mark.parametrize("orders", [False, True])
@pytest.mark.parametrize("turned", [False, True])
def test_a_judgment_that_both_rounds_of_an_ai_judge_have_counts_once(tmp_path, caplog, orders, turned):
    first, second, union = (tmp_path / f"{name}.jsonl" for name in ("first", "second", "union"))
    rounds = by_judge(("p", 0.1), ("q", 0.7), orders=orders), by_judge(("q", 0.7), ("r", 0.6), orders=orders)
    if turned:
        other = {None: None, Side.LEFT: Side.RIGHT, Side.RIGHT: Side.LEFT}
        rounds[1][0] = dataclasses.replace(rounds[1][0], responses=("b", "a"), comparisons=tuple(
            dataclasses.replace(one, probability=1 - 0.7, shown_first=other[one.shown_first])
            for one in rounds[1][0].comparisons
        ))  # fmt: skip
    for file, rows in zip((first, second, union), (*rounds, [*rounds[0], rounds[1][1]]), strict=True):
        write_preferences(file, rows)
    with caplog.at_level("INFO"):
        kept = check(first, second)
    assert [[one.prompt for one in entry] for entry in kept] == [["p", "q"], ["r"]]
    assert f"{2 if orders else 1} judgments of an AI judge stand in two files, and count once" in caplog.text
    both, alone = (
        report_labels(open_many(map(str, files), DataConfig(), dimension="wit"), samples=20).numbers["groups"]
        for files in ((first, second), (union,))
    )
    assert both == alone


@pytest.mark.parametrize(("changes", "right"), [
    ({"source": Source.HUMAN}, "one of the two files"), ({"said": 0.8}, "one of the two files"),
    ({"orders": True}, "an AI judge's .orders.jsonl, or"),
], ids=str)  # fmt: skip
def test_what_only_looks_like_the_same_judgment_of_an_ai_judge_is_an_error(tmp_path, changes, right):
    """Those of people, another probability at the same time, and labels beside a later round's orders."""
    source = changes.get("source", Source.AI)
    write_preferences(tmp_path / "first.jsonl", by_judge(("p", 0.1), ("q", 0.7), source=source))
    second = by_judge(("q", changes.get("said", 0.7)), orders=changes.get("orders", False), source=source)
    write_preferences(tmp_path / "second.jsonl", second)
    with pytest.raises(
        UserError, match=rf"second.jsonl, line 1 has a judgment that .*first.jsonl, line 2 has too.*{right}"
    ):
        check(tmp_path / "first.jsonl", tmp_path / "second.jsonl")


def test_the_command_names_both(server, people):
    done = server.run(
        "-m", "rmjax.label", f"--report={people.parent / 'out'}", f"--data={people},{people.parent}/*.jsonl"
    )
    assert done.returncode == 2
    assert done.stderr.strip().startswith(
        f"error: {people}, line 1 is given twice, by '{people}' and by '{people.parent}/"
    )
    assert json.loads(people.read_text().splitlines()[0])
    assert not (people.parent / "out").exists()
