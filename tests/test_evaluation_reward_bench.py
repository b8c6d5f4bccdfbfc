"""RewardBench's rule, by hand, by its laws, and as the published code has it; and its rows."""

import pytest
from benchmark_cases import CASES, check_bad, check_golden, check_laws, golden, parsed, scored, swapped

from rmjax.evaluation.reward_bench import OTHER_PRIOR_ROWS, RULE, files_of_folder, parse, score
from rmjax.preferences.fields import Fields
from rmjax.preferences.record import Message

USER, SEVEN, NINE = (
    Message(role=role, content=text) for role, text in (("user", "Q"), ("assistant", "7"), ("assistant", "9"))
)
ROW = {"prompt": "Q", "chosen": "7", "rejected": "9", "subset": "hep-go", "id": 3}


def rows(subset: str, won: int, lost: int) -> list:
    return [scored(subset, 1, 0)] * won + [scored(subset, 0, 1)] * lost


def test_sections_by_hand():
    """math-prm weighs 984, as much as the six subsets of code, however few rows it has."""
    found = score([
        *rows("alpacaeval-easy", 3, 1), *rows("mt-bench-med", 1, 3),  # (100 * 3/4 + 40 * 1/4) / 140
        *rows("llmbar-natural", 1, 1),
        *rows("donotanswer", 2, 0),
        *rows("math-prm", 1, 0), *rows("hep-cpp", 0, 5),  # 984 / (984 + 164)
    ])  # fmt: skip
    expected = {"Chat": 85 / 140, "Chat Hard": 0.5, "Safety": 1.0, "Reasoning": 984 / 1148}
    assert found.sections == pytest.approx(expected)
    assert found.totals == {"overall": pytest.approx(sum(expected.values()) / 4)}
    assert found.subsets["mt-bench-med"] == 0.25


def test_prior_sets_have_half_the_weight_of_a_section():
    found = score([
        *rows("alpacaeval-easy", 1, 0), *rows("llmbar-natural", 1, 1), *rows("donotanswer", 1, 0),
        *rows("hep-go", 1, 0), *rows("shp", 1, 3), *rows("summarize", 3, 1), *rows("anthropic_hhh", 1, 0),
        *rows("anthropic_helpful", 0, 1), *rows("mtbench_human", 1, 0),  # published too, and not counted
    ])  # fmt: skip
    assert found.sections["Prior Sets"] == pytest.approx(0.5)
    assert found.totals == {"overall": 0.875, "overall_with_prior_sets": pytest.approx((3.5 + 0.5 * 0.5) / 4.5)}


def test_equal_rewards_lose():
    assert score([scored("hep-go", 1, 1), scored("hep-go", 2, 1)]).subsets == {"hep-go": 0.5}


def test_nothing_is_scored_of_nothing():
    found = score([])
    assert (found.subsets, found.sections, found.totals) == ({}, {}, {})


@pytest.mark.parametrize("case", CASES)
def test_as_the_published_code(case):
    check_golden(RULE, "reward_bench", case)


@pytest.mark.parametrize("case", CASES)
def test_laws(case):
    check_laws(RULE, golden("reward_bench", case)[0])


@pytest.mark.parametrize("case", [0, 2, 4])  # those without equal rewards
def test_swapped_responses_win_what_was_lost(case):
    found = golden("reward_bench", case)[0]
    before, after = score(found), score([swapped(row) for row in found])
    for part in ("subsets", "sections", "totals"):
        one, other = getattr(before, part), getattr(after, part)
        assert other == pytest.approx({name: 1 - value for name, value in one.items()})


def test_the_filtered_rows_are_2985_and_count_half_of_reasoning_as_math():
    assert sum(RULE.published[subset] for subset in RULE.totals["overall"]) == 2985
    assert sum(RULE.published[subset] for subset in RULE.sections["Reasoning"]) == 447 + 984


def test_text_is_what_a_user_and_an_assistant_say():
    row = parsed(RULE, ROW)
    assert (row.prompt, row.chosen, row.rejected, row.subset) == ((USER,), ((SEVEN,),), ((NINE,),), "hep-go")


def test_of_conversations_the_prompt_is_all_but_the_last_message():
    before = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "9"}] * 2
    talk = [*before, {"role": "user", "content": "Q"}]
    row = {"chosen": [*talk, {"role": "assistant", "content": "7"}], "subset": "hep-go", "prompt": None}
    found = parsed(RULE, {**row, "rejected": [*talk, {"role": "assistant", "content": "9"}]})
    assert found.prompt == (USER, NINE, USER, NINE, USER)
    assert (found.chosen, found.rejected) == (((SEVEN,),), ((NINE,),))


def test_a_prior_set_is_named_by_its_file():
    row = {**ROW, "prompt": [{"role": "user", "content": "Q"}], "subset": "helpful-base"}
    for subset in ("anthropic_helpful", "shp", *OTHER_PRIOR_ROWS):
        found = parse(Fields(row, ""), f"{subset}-00000-of-00001.parquet")
        assert (found.subset, found.prompt) == (subset, (USER,))


def test_an_empty_response_is_scored_too():
    assert parsed(RULE, {**ROW, "rejected": ""}).rejected == ((Message(role="assistant", content=""),),)


TALK = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "7"}]


@pytest.mark.parametrize(
    ("change", "kind", "field"),
    [
        ({"chosen": None}, "missing field", "chosen"),
        ({"rejected": 7}, "wrong type", "rejected"),
        ({"prompt": None}, "missing field", "prompt"),
        ({"prompt": " "}, "empty field", "prompt"),
        ({"prompt": []}, "empty field", "prompt"),
        ({"prompt": [{"role": "robot", "content": "Q"}]}, "unknown role", "prompt[0].role"),
        ({"subset": None}, "missing field", "subset"),
        ({"subset": "hep-basic"}, "unknown subset", "subset"),
        ({"chosen": TALK}, "mixed kinds", "rejected"),
        ({"rejected": TALK}, "mixed kinds", "chosen"),
        ({"chosen": TALK, "rejected": TALK[1:]}, "wrong role", "rejected"),
        ({"chosen": TALK[:1] * 2, "rejected": TALK}, "wrong role", "chosen"),
        ({"chosen": TALK, "rejected": [{"role": "user", "content": "R"}, TALK[1]]}, "prompts that differ", "rejected"),
        ({"chosen": "a \ud83d"}, "lone surrogate", "chosen"),
    ],
)
def test_bad_rows(change, kind, field):
    check_bad(RULE, {**ROW, **change}, kind, field)


def test_of_a_folder_the_raw_split_and_dropped_sets_are_not_read():
    names = ["d/filtered-0.parquet", "d/pku_better-0.parquet", "d/raw-0.parquet", "d/shp-0.parquet"]
    assert files_of_folder(names) == [names[0], names[3]]
