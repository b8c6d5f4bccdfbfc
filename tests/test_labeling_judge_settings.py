"""Impossible settings are named, and the files lie beside the output."""

import pytest

from rmjax.errors import UserError
from rmjax.labeling.judge.constitution import FOLDER, read_constitution
from rmjax.labeling.judge.settings import JudgeSettings

GOOD = {"model": "m", "dimension": "d", "constitution": "c", "output": "runs/labels.jsonl"}


@pytest.mark.parametrize(("changes", "message"), [
    ({"model": " "}, "model is empty"), ({"constitution": ""}, "constitution is empty"),
    ({"votes": 0}, "votes is 0; it must be at least 1"), ({"concurrency": 0}, "concurrency is 0"),
    ({"tries": 0}, "tries is 0"), ({"max_tokens": 0}, "max_tokens is 0"),
    ({"nonsense_tries": 0}, "nonsense_tries is 0"), ({"timeout_s": 0.0}, "timeout_s is 0.0"),
    ({"timeout_s": float("inf")}, "timeout_s is inf"), ({"price_in": 1.0}, "price_in and price_out go together"),
    ({"price_in": -1.0, "price_out": 1.0}, "price_in is -1.0"), ({"output": "x.csv"}, r"must end in \.jsonl"),
    ({"base_url": "127.0.0.1:8000/v1"}, "base_url has no scheme"), ({"max_tokens_name": "n"}, "max_tokens_name is 'n'"),
    ({"output": "gs://b/x.jsonl"}, "--store=FILE"),
])  # fmt: skip
def test_impossible_settings_are_named(changes, message):
    with pytest.raises(UserError, match=message):
        JudgeSettings(**(GOOD | changes))


def test_files_lie_beside_the_output():
    plain, packed = JudgeSettings(**GOOD), JudgeSettings(**(GOOD | {"output": "a/b.jsonl.gz", "store": "c.sqlite"}))
    assert (plain.store_path, plain.orders_path) == ("runs/labels.answers.sqlite", "runs/labels.orders.jsonl")
    assert (packed.store_path, packed.orders_path) == ("c.sqlite", "a/b.orders.jsonl.gz")


def test_every_dimension_has_a_text_and_a_file_goes_before_it(tmp_path):
    assert {path.stem for path in FOLDER.glob("*.md")} >= {"helpfulness", "harmlessness", "honesty", "brevity"}
    for path in FOLDER.glob("*.md"):
        assert read_constitution(path.stem).splitlines()[0].lower() == f"# {path.stem}"
    own = tmp_path / "own.md"
    own.write_text("\nThe one with more flowers.\n")
    assert read_constitution("helpfulness", own) == "The one with more flowers."
    own.write_text(" \n")
    with pytest.raises(UserError, match=r"own.md: found an empty constitution"):
        read_constitution("helpfulness", own)
    own.write_bytes(b"\xff")
    with pytest.raises(UserError, match=r"own.md: found what is no UTF-8"):
        read_constitution("helpfulness", own)
    for wrong in ("wit", "../constitutions/brevity"):
        with pytest.raises(UserError, match=r"no constitution for the dimension .*brevity, .*--constitution=FILE"):
            read_constitution(wrong)
    with pytest.raises(FileNotFoundError):
        read_constitution("helpfulness", tmp_path / "none.md")
