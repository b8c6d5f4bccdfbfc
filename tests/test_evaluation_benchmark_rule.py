"""What the benchmarks' readers and rules share."""

import numpy as np
import pytest

from rmjax.evaluation.benchmark_rule import ScoredRow, base_name, by_subset, read_answers, read_prompt, read_subset
from rmjax.preferences.fields import Fields
from rmjax.preferences.record import Message, RowError

USER, ASSISTANT = Message(role="user", content="Q"), Message(role="assistant", content="a")


def fields(**values) -> Fields:
    return Fields(values, "rows.jsonl, line 4")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Q", (USER,)),
        ([{"role": "user", "content": "Q"}], (USER,)),
        ([{"role": "user", "content": "Q"}, {"role": "assistant", "content": "a"}] * 2, (USER, ASSISTANT) * 2),
    ],
)
def test_a_prompt_is_messages_or_what_a_user_says(value, expected):
    assert read_prompt(fields(prompt=value)) == expected


@pytest.mark.parametrize(
    ("value", "kind"), [("\n", "empty field"), ([], "empty field"), (None, "missing field"), (3, "wrong type")]
)
def test_a_prompt_that_is_none(value, kind):
    with pytest.raises(RowError, match=f"rows.jsonl, line 4: field 'prompt': {kind}"):
        read_prompt(fields(prompt=value))


def test_answers_are_an_assistants():
    found = read_answers(fields(chosen=["a", ""]), "chosen", right="a list")
    assert found == ((ASSISTANT,), (Message(role="assistant", content=""),))


@pytest.mark.parametrize(
    ("value", "place", "kind"),
    [([], "chosen", "empty field"), ("a", "chosen", "wrong type"), (["a", ["b"]], r"chosen\[1\]", "wrong type")],
)
def test_answers_that_are_none(value, place, kind):
    with pytest.raises(RowError, match=f"field '{place}': {kind}"):
        read_answers(fields(chosen=value), "chosen", right="a list")


def test_a_subset_is_one_of_those_known():
    assert read_subset(fields(subset="b"), "subset", ("a", "b")) == "b"
    with pytest.raises(RowError, match="field 'subset': unknown subset: found 'c'; right would be one of 'a', 'b'"):
        read_subset(fields(subset="c"), "subset", ("a", "b"))


def test_rows_by_their_subset_stay_in_order():
    rows = [
        ScoredRow(subset=name, chosen=np.ones(1), rejected=np.zeros(1), key=str(i)) for i, name in enumerate("abab")
    ]
    found = by_subset(rows)
    assert {name: [row.key for row in members] for name, members in found.items()} == {"a": ["0", "2"], "b": ["1", "3"]}


@pytest.mark.parametrize("path", ["rows.jsonl", "a/b/rows.jsonl", "gs://bucket/a/rows.jsonl"])
def test_the_name_of_a_file(path):
    assert base_name(path) == "rows.jsonl"
