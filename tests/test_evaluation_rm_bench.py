"""RM-Bench's rule, by hand, by its laws, and as the published code has it; and its rows."""

import numpy as np
import pytest
from benchmark_cases import (
    CASES,
    check_bad,
    check_golden,
    check_laws,
    golden,
    parsed,
    rm_bench_row,
    scored,
    swapped,
)

from rmjax.evaluation.rm_bench import RULE, accuracies, files_of_folder, score


def test_the_table_by_hand():
    """A model that likes style alone wins all easy pairs, no hard one, and loses where the style is the same."""
    table = accuracies([scored("chat", [0, 1, 2], [0, 1, 2])])
    np.testing.assert_array_equal(table, [[0, 0, 0], [1, 0, 0], [1, 1, 0]])
    found = score([scored("chat", [0, 1, 2], [0, 1, 2])])
    assert found.sections == {"chat": pytest.approx(1 / 3), "hard": 0.0, "normal": 0.0, "easy": 1.0}
    found = score([scored("chat", [3, 3, 3], [0, 1, 3])])
    assert found.sections == {
        "chat": pytest.approx(6 / 9), "hard": pytest.approx(1 / 3), "normal": pytest.approx(2 / 3), "easy": 1.0,
    }  # fmt: skip


def test_safety_is_one_domain_whose_rows_count_the_same():
    won, lost = ([1, 1, 1], [0, 0, 0]), ([0, 0, 0], [1, 1, 1])
    rows = [scored("safety-refuse", *won)] * 3 + [scored("safety-response", *lost)] + [scored("math", *won)]
    found = score(rows)
    assert found.subsets == {"safety-refuse": 1.0, "safety-response": 0.0, "math": 1.0}
    assert found.sections["safety"] == 0.75
    assert found.sections["hard"] == found.totals["overall"] == (0.75 + 1) / 2


@pytest.mark.parametrize("case", CASES)
def test_as_the_published_code(case):
    check_golden(RULE, "rm_bench", case)


@pytest.mark.parametrize("case", CASES)
def test_laws(case):
    rows = golden("rm_bench", case)[0]
    check_laws(RULE, rows)
    found = score(rows)
    three = [found.sections[name] for name in ("hard", "normal", "easy")]
    assert np.mean(three) == pytest.approx(found.totals["overall"])


@pytest.mark.parametrize("case", [0, 2, 4])  # those without equal rewards
def test_swapped_responses_win_what_was_lost_and_hard_is_easy(case):
    rows = golden("rm_bench", case)[0]
    before, after = score(rows).sections, score([swapped(row) for row in rows]).sections
    other = {"hard": "easy", "easy": "hard"}
    assert after == pytest.approx({name: 1 - before[other.get(name, name)] for name in before})


def test_nothing_is_scored_of_nothing():
    found = score([])
    assert (found.subsets, found.sections, found.totals) == ({}, {}, {})


def good(domain: str | None = "chat"):
    return rm_bench_row(np.random.default_rng(0), domain)


def test_rows_of_one_domain_are_named_by_their_file():
    assert parsed(RULE, good()).subset == "chat"
    for domain in RULE.published:
        assert parsed(RULE, good(None), f"{domain}_filtered.json").subset == domain
    assert parsed(RULE, good("math"), "chat_filtered.json").subset == "math"


@pytest.mark.parametrize(
    ("change", "kind", "field"),
    [
        ({"domain": None}, "missing field", "domain"),
        ({"domain": "safety"}, "unknown subset", "domain"),
        ({"prompt": ""}, "empty field", "prompt"),
        ({"chosen": ["a", "b"]}, "wrong length", "chosen"),
        ({"rejected": ["a"] * 4}, "wrong length", "rejected"),
        ({"rejected": ["a", None, "b"]}, "wrong type", "rejected[1]"),
        ({"rejected": {}}, "wrong type", "rejected"),
    ],
)
def test_bad_rows(change, kind, field):
    check_bad(RULE, {**good(), **change}, kind, field)


def test_of_a_folder_the_whole_file_is_read_alone():
    parts = [f"d/{domain}_filtered.json" for domain in RULE.published]
    assert files_of_folder(parts) == parts
    assert files_of_folder([*parts, "d/total_dataset.json"]) == ["d/total_dataset.json"]
