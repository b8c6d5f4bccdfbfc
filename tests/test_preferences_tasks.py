"""Responses that nobody has compared are read as all their pairs, beside every form that holds judgments."""

import itertools
import json

import pytest

from rmjax.config import OnError
from rmjax.preferences.groups import RowDefaults
from rmjax.preferences.read import read_preferences
from rmjax.preferences.record import Comparison, Message, RowError
from rmjax.preferences.tasks import Task, compared_pairs, digest, each_once, read_tasks, task_of

DEFAULTS = RowDefaults("helpfulness")
USER = {"role": "user", "content": "Name a prime."}


def answer(text: str) -> tuple[Message, ...]:
    return (Message(role="assistant", content=text),)


def written(tmp_path, *rows) -> str:
    file = tmp_path / "tasks.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(file)


def read(path: str) -> tuple[Task, ...]:
    return read_tasks(path, defaults=DEFAULTS)[0]


@pytest.mark.parametrize("count", [2, 3, 5])
def test_every_two_responses_are_a_pair_and_a_prompt_counts_once(tmp_path, count):
    file = written(tmp_path, {"prompt": "p", "responses": [f"r{i}" for i in range(count)], "dimension": "wit"})
    (task,) = read(file)
    pairs = [(left, right) for left in range(count) for right in range(left + 1, count)]
    assert list(task.pairs()) == pairs
    judged = task.to_judge(pairs, "wit")
    assert [(one.left, one.right) for one in judged.comparisons] == pairs
    assert sum(one.weight for one in judged.comparisons) == pytest.approx(1)
    assert {one.probability for one in judged.comparisons} == {0.5}
    assert judged.dimension == "wit"


def test_text_in_reply_to_messages_is_the_assistants(tmp_path):
    prompt = [{"role": "user", "content": "Hi."}]
    file = written(tmp_path, {"prompt": prompt, "responses": ["Hello.", [{"role": "assistant", "content": "Yes?"}]]})
    (task,) = read(file)
    assert task.responses == tuple((Message(role="assistant", content=text),) for text in ("Hello.", "Yes?"))


@pytest.mark.parametrize(("row", "pairs"), [
    ({"chosen": "a", "rejected": "b"}, [(0, 1)]),
    ({"responses": ["a", "b", "c"]}, [(0, 1), (0, 2), (1, 2)]),
    ({"responses": ["a", "b", "c"], "ranking": [3, 1, 2]}, [(1, 2), (1, 0), (2, 0)]),
    ({"responses": ["a", "b", "c"], "comparisons": [
        {"left": 1, "right": 0, "weight": 0.25}, {"left": 1, "right": 2}, {"left": 0, "right": 1, "weight": 0.5},
    ]}, [(1, 0), (1, 2)]),
])  # fmt: skip
def test_the_pairs_of_a_row_are_those_that_it_compares_or_all_of_a_row_that_compares_none(tmp_path, row, pairs):
    """However many of them are chosen, and whatever they weighed before, they share a weight of 1."""
    (task,) = read(written(tmp_path, {"prompt": "p"} | row))
    assert sorted(task.pairs()) == sorted(pairs)
    for count in range(1, len(pairs) + 1):
        judged = task.to_judge(pairs[:count], "wit")
        assert [(one.left, one.right) for one in judged.comparisons] == pairs[:count]
        assert [one.weight for one in judged.comparisons] == [1 / count] * count


def test_training_reads_no_row_without_a_judgment(tmp_path):
    with pytest.raises(
        RowError,
        match=r"tasks.jsonl, line 1: field 'comparisons': missing field: found the fields 'prompt', 'responses'; "
        r"right would be a judgment of the responses: the field 'ranking', or 'comparisons', which .*label writes",
    ):
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
        read(file)
    found, skipped = read_tasks(file, defaults=DEFAULTS, on_error=OnError.SKIP)
    assert (len(found), skipped.total()) == (1, 1)


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
    (task,) = read(written(tmp_path, row))
    assert (task.prompt, task.responses) == (prompt, responses)
    assert Task.of_texts(task.id, task.texts()) == task


def test_the_id_is_the_row_s_own_or_follows_from_the_texts_alone(tmp_path):
    rows = [
        {"prompt": "Q", "responses": ["a", "b"], "id": "seven"},
        {"prompt": "Q", "responses": ["a", "b"], "id": 7},
        {"prompt": "Q", "responses": ["a", "b"]},
        {"prompt": "Q", "responses": ["b", "a"]},
    ]
    first, second, third, fourth = read(written(tmp_path, *rows))
    assert (first.id, second.id) == ("seven", "7")
    assert third.id != fourth.id
    (again,) = read(written(tmp_path, rows[2] | {"note": "ignored"}))
    assert again.id == third.id


@pytest.mark.parametrize(("name", "message"), [
    (["x"], "wrong type"), (1.5, "wrong type"), (True, "wrong type"), ("", "bad id"), ("gold:1", "bad id"),
])  # fmt: skip
def test_a_bad_id_is_nothing_to_machines_and_an_error_with_its_place_to_people(tmp_path, name, message):
    row, good = {"prompt": "Q", "responses": ["a", "b"]}, {"prompt": "P", "responses": ["a", "b"]}
    plain, tasks = read(written(tmp_path, row)), read(written(tmp_path, row | {"id": name}, good))
    assert [task.id for task in tasks[:1]] == [task.id for task in plain]
    with pytest.raises(RowError, match=rf"line 1: field 'id': {message}"):
        each_once(tasks)
    assert each_once(tasks, OnError.SKIP) == tasks[1:]
    with pytest.raises(RowError, match=rf"line 1: field 'id': {message}"):
        each_once(tasks[:1], OnError.SKIP)


@pytest.mark.parametrize("rewards", [[1.0, None], [{"h": 1.0}, {"h": 2.0}], [1.0], "high", [1.0, "x"]])
def test_rewards_of_any_kind_are_read_as_they_are(tmp_path, rewards):
    (task,) = read(written(tmp_path, {"prompt": "Q", "responses": ["a", "b"], "rewards": rewards}))
    assert task.rewards == rewards


def test_bad_transcripts_are_skipped_and_counted(tmp_path):
    bad = {"chosen": "\n\nHuman: Q\n\nAssistant: a", "rejected": "\n\nHuman: Q\n\nAssistant: a"}
    good = {"chosen": "\n\nHuman: Q\n\nAssistant: a", "rejected": "\n\nHuman: Q\n\nAssistant: b"}
    found, skipped = read_tasks(written(tmp_path, bad, good), defaults=DEFAULTS)
    assert (len(found), skipped.total()) == (1, 1)


def test_a_task_that_comes_twice_is_an_error_or_skipped_but_never_with_other_texts(tmp_path):
    row = {"prompt": "Q", "responses": ["a", "b"]}
    equal = read(written(tmp_path, row, row))
    with pytest.raises(RowError, match=r"line 2: field 'id': task twice.*line 1"):
        each_once(equal)
    assert each_once(equal, OnError.SKIP) == equal[:1]
    other = read(written(tmp_path, row | {"id": "x"}, row | {"id": "x", "prompt": "P"}))
    with pytest.raises(RowError, match=r"line 2: field 'id': task twice"):
        each_once(other, OnError.SKIP)


def test_utilities_stay_with_their_dimension_and_no_other(tmp_path):
    row = {"prompt": "p", "responses": ["a", "b"], "utilities": [1.0, 2.0], "dimension": "wit"}
    (task,) = read(written(tmp_path, row | {"comparisons": [{"left": 0, "right": 1}]}))
    assert task.to_judge(task.pairs(), "wit").utilities == (1.0, 2.0)
    assert task.to_judge(task.pairs(), "honesty").utilities is None


def test_each_pair_comes_once_with_all_its_weight_whichever_way_round():
    for made in itertools.permutations([(0, 1, 0.5), (1, 0, 0.25), (2, 1, 1.0)]):
        comparisons = [Comparison(left=left, right=right, weight=weight) for left, right, weight in made]
        found = compared_pairs(comparisons)
        assert len(found) == 2
        assert {frozenset(pair): weight for pair, weight in found.items()} == {
            frozenset((0, 1)): 0.75, frozenset((1, 2)): 1.0,
        }  # fmt: skip
        firsts = [(left, right) for left, right, _ in made if (left, right) in found]
        assert firsts == list(found)
        turned = [place for place, (left, right, _) in enumerate(made) if (left, right) not in found]
        assert all((made[place][1], made[place][0]) in [one[:2] for one in made[:place]] for place in turned)


def test_what_nobody_has_compared_has_no_comparisons(tmp_path):
    (task,) = read(written(tmp_path, {"prompt": "p", "responses": ["a", "b", "c"]}))
    assert task.compared == ()


@pytest.mark.parametrize(("name", "kept"), [("seven", "seven"), (7, "7"), (None, None), (1.5, None), ("", None)])
def test_the_row_s_own_id_comes_with_its_labels(tmp_path, name, kept):
    """Also where the row held judgments, and where it is read as they are."""
    row = {"prompt": "Q", "responses": ["a", "b"], "id": name}
    compared = row | {"comparisons": [{"left": 0, "right": 1}]}
    for task in read(written(tmp_path, row, compared)):
        assert task.to_judge(task.pairs(), "wit").id == kept
    (preference,) = read_preferences(written(tmp_path, compared), defaults=DEFAULTS)
    assert preference.id == kept
    task = task_of(preference)  # as of a data set, whose rows are records when they come
    assert task.to_judge(task.pairs(), "wit").id == kept
    assert task.id == (kept or digest(task))


def test_a_record_whose_id_is_a_gold_pairs_has_a_digest(tmp_path):
    row = {"prompt": "Q", "responses": ["a", "b"], "id": "gold:1", "comparisons": [{"left": 0, "right": 1}]}
    (preference,) = read_preferences(written(tmp_path, row), defaults=DEFAULTS)
    assert preference.id == "gold:1"
    assert task_of(preference).id == digest(task_of(preference))
