"""Responses that nobody has compared are read as all their pairs, beside every form that holds judgments."""

import json

import pytest

from rmjax.config import OnError
from rmjax.preferences.groups import RowDefaults
from rmjax.preferences.read import read_preferences
from rmjax.preferences.record import Comparison, Message, RowError
from rmjax.preferences.tasks import read_tasks

DEFAULTS = RowDefaults("helpfulness")


def written(tmp_path, *rows) -> str:
    file = tmp_path / "tasks.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(file)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_every_two_responses_are_a_pair_and_a_prompt_counts_once(tmp_path, count):
    file = written(tmp_path, {"prompt": "p", "responses": [f"r{i}" for i in range(count)], "dimension": "wit"})
    (task,) = read_tasks(file, defaults=DEFAULTS)
    pairs = [(one.left, one.right) for one in task.comparisons]
    assert pairs == [(left, right) for left in range(count) for right in range(left + 1, count)]
    assert sum(one.weight for one in task.comparisons) == pytest.approx(1)
    assert {one.probability for one in task.comparisons} == {0.5}
    assert task.dimension == "wit"


def test_text_in_reply_to_messages_is_the_assistants(tmp_path):
    prompt = [{"role": "user", "content": "Hi."}]
    file = written(tmp_path, {"prompt": prompt, "responses": ["Hello.", [{"role": "assistant", "content": "Yes?"}]]})
    (task,) = read_tasks(file, defaults=DEFAULTS)
    assert task.responses == tuple((Message(role="assistant", content=text),) for text in ("Hello.", "Yes?"))


def test_rows_that_hold_judgments_are_read_as_ever(tmp_path):
    rows = [
        {"prompt": "p", "chosen": "a", "rejected": "b"},
        {"prompt": "p", "responses": ["a", "b", "c"], "ranking": [1, 2, 3]},
        {"prompt": "p", "responses": ["a", "b"], "comparisons": [{"left": 1, "right": 0}]},
    ]
    file = written(tmp_path, *rows)
    found = read_tasks(file, defaults=DEFAULTS).preferences
    assert found == read_preferences(file, defaults=DEFAULTS).preferences
    assert found[2].comparisons == (Comparison(left=1, right=0),)


def test_training_reads_no_row_without_a_judgment(tmp_path):
    with pytest.raises(RowError, match="field 'comparisons': missing field"):
        read_preferences(written(tmp_path, {"prompt": "p", "responses": ["a", "b"]}), defaults=DEFAULTS)


@pytest.mark.parametrize(("row", "message"), [
    ({"prompt": "p", "responses": ["a"]}, "line 1: field 'responses': too few responses"),
    ({"prompt": "p", "responses": "ab"}, "field 'responses': wrong type"),
    ({"prompt": "p", "responses": ["a", "a"]}, r"field 'responses\[1\]': identical responses"),
    ({"prompt": "", "responses": ["a", "b"]}, "field 'prompt': empty field"),
    ({"responses": ["a", "b"]}, "field 'prompt': missing field"),
    ({"prompt": "p", "answers": ["a", "b"]}, "unknown form: .*{prompt, responses} or "),
])  # fmt: skip
def test_a_bad_task_is_named_and_can_be_skipped(tmp_path, row, message):
    good = {"prompt": "p", "responses": ["a", "b"]}
    file = written(tmp_path, row, good)
    with pytest.raises(RowError, match=message):
        read_tasks(file, defaults=DEFAULTS)
    found = read_tasks(file, defaults=DEFAULTS, on_error=OnError.SKIP)
    assert (len(found), found.skipped.total()) == (1, 1)
