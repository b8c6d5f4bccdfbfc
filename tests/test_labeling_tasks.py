"""Any row that we read is a task, its judgments ignored; gold pairs keep exactly their answers."""

import json

import pytest

from rmjax.labeling.tasks import Task, read_gold, read_tasks
from rmjax.preferences.record import FileError, Message, RowError, Side

USER = {"role": "user", "content": "Name a prime."}


def answer(text: str) -> tuple[Message, ...]:
    return (Message(role="assistant", content=text),)


def written(tmp_path, *rows, name="tasks.jsonl") -> str:
    path = tmp_path / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.mark.parametrize(
    ("row", "prompt", "responses"),
    [
        ({"prompt": "Q", "responses": ["a", "b", "c"]}, "Q", ("a", "b", "c")),
        ({"prompt": "Q", "responses": ["a", "b"], "ranking": [2, 1]}, "Q", ("a", "b")),
        ({"prompt": "Q", "responses": ["a", "b"], "comparisons": [{"left": 1, "right": 0}]}, "Q", ("a", "b")),
        ({"prompt": "Q", "chosen": "a", "rejected": "b", "source": "ai"}, "Q", ("a", "b")),
        ({"prompt": "Q", "responses": ["", "b"], "allow_empty": True}, "Q", ("", "b")),
        (
            {"prompt": [USER], "responses": ["7", [{"role": "assistant", "content": "9"}]]},
            (Message(**USER),),
            (answer("7"), answer("9")),
        ),
        (
            {"chosen": "\n\nHuman: Q\n\nAssistant: a", "rejected": "\n\nHuman: Q\n\nAssistant: b"},
            "\n\nHuman: Q\n\nAssistant:",
            (" a", " b"),
        ),
    ],
)
def test_a_row_is_a_task_whatever_was_judged(tmp_path, row, prompt, responses):
    (task,) = read_tasks(written(tmp_path, row))
    assert (task.prompt, task.responses) == (prompt, responses)
    assert Task.of_texts(task.id, task.texts()) == task


def test_the_id_is_the_row_s_own_or_follows_from_the_texts_alone(tmp_path):
    rows = [
        {"prompt": "Q", "responses": ["a", "b"], "id": "seven"},
        {"prompt": "Q", "responses": ["a", "b"], "id": 7},
        {"prompt": "Q", "responses": ["a", "b"]},
        {"prompt": "Q", "responses": ["b", "a"]},
    ]
    first, second, third, fourth = read_tasks(written(tmp_path, *rows))
    assert (first.id, second.id) == ("seven", "7")
    assert third.id != fourth.id
    (again,) = read_tasks(written(tmp_path, rows[2] | {"note": "ignored"}, name="other.jsonl"))
    assert again.id == third.id


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"prompt": "Q", "responses": ["a"]}], r"line 1: field 'responses': too few responses"),
        ([{"prompt": "Q", "responses": ["a", "a"]}], r"field 'responses\[1\]': identical responses"),
        ([{"prompt": "Q", "responses": "ab"}], r"field 'comparisons': missing field"),
        ([{"prompt": "Q", "responses": ["a", "b"], "id": ["x"]}], r"field 'id': wrong type"),
        ([{"prompt": "Q", "responses": ["a", "b"], "id": ""}], r"field 'id': bad id"),
        ([{"prompt": "Q", "responses": ["a", "b"], "id": "gold:1"}], r"field 'id': bad id"),
        ([{"prompt": "Q", "responses": ["a", "b"], "rewards": [1.0]}], r"field 'rewards': wrong length"),
        ([{"prompt": "Q", "responses": ["a", "b"], "rewards": [1.0, "x"]}], r"field 'rewards\[1\]': wrong type"),
        ([{"prompt": "Q", "responses": ["a", "b"]}] * 2, r"line 2: field 'id': task twice.*line 1"),
    ],
)
def test_a_row_that_is_no_task_is_an_error_with_its_place(tmp_path, rows, message):
    with pytest.raises(RowError, match=message):
        read_tasks(written(tmp_path, *rows))


def test_bad_transcripts_are_skipped_and_a_file_of_nothing_else_is_an_error(tmp_path):
    bad = {"chosen": "\n\nHuman: Q\n\nAssistant: a", "rejected": "\n\nHuman: Q\n\nAssistant: a"}
    good = {"chosen": "\n\nHuman: Q\n\nAssistant: a", "rejected": "\n\nHuman: Q\n\nAssistant: b"}
    assert len(read_tasks(written(tmp_path, bad, good))) == 1
    with pytest.raises(FileError, match="no row that can be used"):
        read_tasks(written(tmp_path, bad))


def test_gold_pairs_keep_the_answer_of_each_comparison(tmp_path):
    rows = [
        {"prompt": "Q", "chosen": "good", "rejected": "bad"},
        {"prompt": "Q", "chosen": "worse", "rejected": "better", "probability": 0.1},
        {"prompt": "Q", "responses": ["x", "y", "z"], "ranking": [1, 2, 3]},
    ]
    pairs = read_gold(written(tmp_path, *rows), "helpfulness")
    found = [(pair.task.responses, pair.answer) for pair in pairs]
    assert found[:2] == [(("good", "bad"), Side.LEFT), (("worse", "better"), Side.RIGHT)]
    assert [pair for pair, _ in found[2:]] == [("x", "y"), ("x", "z"), ("y", "z")]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"prompt": "Q", "chosen": "a", "rejected": "b", "probability": 0.5}], "no known answer"),
        ([{"prompt": "Q", "chosen": "a", "rejected": "b", "dimension": "brevity"}], "another dimension"),
        (
            [{"prompt": "Q", "chosen": "a", "rejected": "b", "probability": number} for number in (1, 0)],
            "two answers",
        ),
    ],
)  # fmt: skip
def test_a_pair_without_a_known_answer_is_no_gold(tmp_path, rows, message):
    with pytest.raises(RowError, match=message):
        read_gold(written(tmp_path, *rows), "helpfulness")
