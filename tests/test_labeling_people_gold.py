"""Gold pairs keep exactly their answers."""

import dataclasses
import json

import pytest
from labeling_cases import make_store, make_tasks

from rmjax.errors import UserError
from rmjax.labeling.people.gold import read_gold
from rmjax.preferences.record import RowError, Side


def written(tmp_path, *rows, name="tasks.jsonl") -> str:
    path = tmp_path / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


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


def test_a_pair_is_known_again_by_its_texts_whichever_id_its_row_has(tmp_path):
    row = {"prompt": "Q", "chosen": "a", "rejected": "b"}
    named, plain = ([row | {"id": 7}, row | {"id": "again"}], [row])
    pairs = {
        name: read_gold(written(tmp_path, *rows, name=f"{name}.jsonl"), "helpfulness")
        for name, rows in (("named", named), ("plain", plain))
    }
    assert [pair.task.own_id for pair in pairs["named"]] == ["7"]
    assert [pair.task.own_id for pair in pairs["plain"]] == [None]
    for first, then in (("named", "plain"), ("plain", "named")):
        store = make_store(tmp_path / f"{first}.sqlite", make_tasks(1), pairs[first])
        assert store.add_gold(pairs[then]) == 1
        turned = dataclasses.replace(pairs[then][0], answer=Side.RIGHT)
        with pytest.raises(UserError, match="the answer is right; right would be left, as in"):
            store.add_gold([turned])
