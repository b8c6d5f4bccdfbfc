"""Every row form reads its documented example, and every kind of bad row gets a message that names its fault."""

import inspect
import json
import random
import re
from pathlib import Path

import pytest
from bad_rows import BAD_ROWS, BadRow, read_bad_row, table

from rmjax.preferences.fields import Fields, shown
from rmjax.preferences.record import Comparison, Message, RowError, Source
from rmjax.preferences.row_forms import ROW_FORMS, RowDefaults, RowForm, find_form, parse_row

DEFAULTS = RowDefaults("harmlessness", Source.RULE)
USER = Message(role="user", content="Name a prime.")


def examples(form: RowForm) -> list[dict]:
    """The JSON objects in a form's docstring."""
    text, decoder = inspect.getdoc(form.parse) or "", json.JSONDecoder()  # Python 3.13 takes the indentation away
    return [decoder.raw_decode(text, match.start() + 4)[0] for match in re.finditer(r"^ {4}\{", text, re.MULTILINE)]


def read(row: dict):
    return parse_row(row, origin="rows, line 1", defaults=DEFAULTS)


@pytest.mark.parametrize("form", ROW_FORMS, ids=lambda form: form.name)
def test_the_examples_of_the_documentation_are_read(form):
    rows = examples(form)
    assert rows
    for row in rows:
        assert find_form(Fields(row, "")) is form
        preference = read(row)
        assert {"7", "9"} <= {
            (text if isinstance(text, str) else text[-1].content).strip() for text in preference.responses
        }
        assert preference.origin == "rows, line 1"


def test_a_pair_has_chosen_left_and_the_margin_towards_it():
    text, messages = (read(row) for row in examples(ROW_FORMS[2]))
    assert text.prompt == "Name a prime."
    assert text.responses == (" 7", " 9")
    assert text.comparisons == (Comparison(left=0, right=1, probability=1.0, margin=1.5),)
    assert (text.dimension, text.source) == ("harmlessness", Source.RULE)
    assert messages.prompt == (USER,)
    assert messages.responses[0] == (Message(role="assistant", content="7"),)


def test_a_conversation_is_the_same_with_and_without_its_prompt():
    row = examples(ROW_FORMS[2])[1]
    written_out = {**row, **{name: row["prompt"] + row[name] for name in ("chosen", "rejected")}}
    implicit = {name: written_out[name] for name in ("chosen", "rejected")}
    assert read(row) == read(written_out) == read(implicit)


def test_whole_conversations_may_have_their_first_turn_as_the_prompts_text():
    """As UltraFeedback was published in pairs."""
    row = examples(ROW_FORMS[2])[1]
    implicit = {name: row["prompt"] + row[name] for name in ("chosen", "rejected")}
    published = {"prompt": "Name a prime.", "prompt_id": "f0e3", **implicit, "score_chosen": 8.0, "messages": []}
    assert read(published) == read(implicit) == read({**implicit, "prompt": "Name a prime.\n"})
    system = {name: [{"role": "system", "content": "Be brief."}, *implicit[name]] for name in implicit}
    assert read({"prompt": "Name a prime.", **system}) == read(system)
    with pytest.raises(RowError, match=r"'Name a prime\.' as the first user's message; right would be whole conv.*'Na"):
        read({**implicit, "prompt": "Name a number."})


def test_text_in_reply_to_messages_is_the_assistants_message():
    row = examples(ROW_FORMS[2])[1]
    assert read({**row, "chosen": "7", "rejected": "9"}) == read({**row, "rejected": "9"}) == read(row)
    ranked = {"prompt": row["prompt"], "responses": ["7", row["rejected"]], "ranking": [1, 2]}
    assert read(ranked) == read({**ranked, "responses": [row["chosen"], "9"]})
    assert read(ranked).responses == read(row).responses


def test_a_message_may_be_parts_of_text():
    row = examples(ROW_FORMS[2])[1]
    parts = [{"type": "text", "text": "Name a "}, {"type": "text", "text": "prime."}]
    assert read({**row, "prompt": [{"role": "user", "content": parts}]}) == read(row)


def test_a_misspelt_prompt_is_seen_in_the_message():
    with pytest.raises(RowError, match="in a row with the fields 'promt', 'chosen', 'rejected'; right would be"):
        read({"promt": "a", "chosen": "b", "rejected": "c"})


def test_an_alpaca_eval_preference_is_one_plus_the_probability_of_the_second():
    preference = read({**examples(ROW_FORMS[5])[0], "annotator": "gpt4"})
    (comparison,) = preference.comparisons
    assert comparison.probability == pytest.approx(0.98, abs=1e-12)
    assert comparison.annotator == "gpt4"
    assert (preference.dimension, preference.source) == ("helpfulness", Source.AI)
    assert preference.prompt == (USER,)
    more = {"margin": 0.5, "weight": 2.0, "true_probability": 0.9}
    (comparison,) = read({**examples(ROW_FORMS[5])[0], **more}).comparisons
    assert {name: getattr(comparison, name) for name in more} == more


def test_the_fields_of_the_row_go_before_the_defaults():
    row = {"dimension": "brevity", "source": "simulated", "annotator": "mia", "utilities": [1, -0.5], "weight": 2}
    preference = read({**examples(ROW_FORMS[2])[0], **row, "probability": 0.25, "true_probability": 0.75})
    assert (preference.dimension, preference.source) == ("brevity", Source.SIMULATED)
    assert preference.utilities == (1.0, -0.5)
    (comparison,) = preference.comparisons
    assert (comparison.annotator, comparison.weight) == ("mia", 2.0)
    assert (comparison.probability, comparison.true_probability) == (0.25, 0.75)


def test_an_annotator_of_a_comparison_goes_before_that_of_the_row():
    comparisons = [{"left": 0, "right": 1, "annotator": "mia"}, {"left": 1, "right": 0}]
    preference = read({"prompt": "Q", "responses": ["a", "b"], "comparisons": comparisons, "annotator": "all"})
    assert [comparison.annotator for comparison in preference.comparisons] == ["mia", "all"]


@pytest.mark.parametrize("seed", range(10))
def test_a_ranking_compares_every_pair_once_and_weighs_one_in_all(seed):
    rng = random.Random(seed)
    count = rng.randint(2, 7)
    ranks = [rng.randint(1, count) for _ in range(count)]
    ranks[rng.randrange(count)] = 1
    preference = read({"prompt": "Q", "responses": [f"r{i}" for i in range(count)], "ranking": ranks})
    pairs = {frozenset((comparison.left, comparison.right)) for comparison in preference.comparisons}
    assert len(pairs) == len(preference.comparisons) == count * (count - 1) // 2
    assert sum(comparison.weight for comparison in preference.comparisons) == pytest.approx(1.0)
    for comparison in preference.comparisons:
        difference = ranks[comparison.right] - ranks[comparison.left]
        assert comparison.probability == {True: 0.5, False: float(difference > 0)}[difference == 0]


@pytest.mark.parametrize("name", ["prompt", "chosen", "rejected"])
def test_allow_empty_is_for_responses_alone(name):
    row = {"prompt": "Q", "chosen": "a", "rejected": "b", "allow_empty": True, name: ""}
    if name == "prompt":
        with pytest.raises(RowError, match="'prompt': empty field"):
            read(row)
    else:
        assert "" in read(row).responses


def test_a_null_is_an_absent_field():
    row = examples(ROW_FORMS[2])[0]
    nulls = dict.fromkeys(("probability", "weight", "annotator", "dimension", "source", "utilities", "ranking"))
    assert read({**row, **nulls}) == read(row)


@pytest.mark.parametrize("case", BAD_ROWS, ids=lambda case: case.name)
def test_a_bad_row_is_an_error_that_names_its_place_field_and_fault(case: BadRow, tmp_path: Path):
    message = read_bad_row(case, tmp_path)
    place = f"{tmp_path / 'rows.jsonl'}, line 3: " + (f"field {case.field!r}: " if case.field else "")
    assert message.startswith(f"{place}{case.kind}: found ")
    found, right = message.removeprefix(f"{place}{case.kind}: found ").split("; right would be ")
    assert found
    assert right
    assert len(found) < 200


def test_the_table_of_messages_has_every_case_and_no_folder_of_this_machine():
    lines = table().splitlines()
    assert len(lines) > len(BAD_ROWS) + 2
    assert len({case.name for case in BAD_ROWS}) == len(BAD_ROWS)
    assert all(line.startswith("| ") and line.endswith(" |") and "/tmp" not in line for line in lines[2:])


@pytest.mark.parametrize("value", ["x" * 500, ["y" * 100] * 50, {"k" * 80: [[[[1]]]]}, 10**300, b"z" * 999, None, True])
def test_values_are_shown_shortened(value):
    assert 0 < len(shown(value)) <= 64
