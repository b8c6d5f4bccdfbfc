"""A number is the benchmark's where all published rows of all its subsets were scored, and is marked where not."""

import json
from collections import Counter

import pytest
from benchmark_cases import golden

from rmjax.evaluation import reward_bench, reward_bench_2, rm_bench
from rmjax.evaluation.benchmark_result import BenchmarkResult, in_words

MODULES = {"reward_bench": reward_bench, "reward_bench_2": reward_bench_2, "rm_bench": rm_bench}


def result(benchmark: str, *, without: tuple[str, ...] = (), rows: dict[str, int] | None = None) -> BenchmarkResult:
    """Scores of a few rows, with the counts of all published rows but for those that are given."""
    rule = MODULES[benchmark].RULE
    scored = [row for row in golden(benchmark, 0)[0] if row.subset not in without]
    counts = Counter({row.subset: rule.published[row.subset] for row in scored})
    counts.update({subset: count - counts[subset] for subset, count in (rows or {}).items()})
    return BenchmarkResult(
        model="runs/a", benchmark=benchmark, data=("rows.jsonl",), step=5, head=None, rule=rule,
        scores=rule.score(scored), rows=counts, left_out=Counter({"response too long": 2}), cut_prompts=3,
    )  # fmt: skip


@pytest.mark.parametrize("benchmark", MODULES)
def test_all_published_rows_make_the_number(benchmark):
    found = result(benchmark)
    line = json.loads(found.to_json())
    assert line["complete"] is True
    assert (line["partial"], line["missing"], line["incomplete"]) == (None, [], {})
    expected = golden(benchmark, 0)[1]
    assert line["overall"] == pytest.approx(expected["totals"]["overall"])
    assert line["sections"] == pytest.approx(expected["sections"])
    assert line["subsets"] == pytest.approx(expected["subsets"])
    assert line["rows"] == {subset: MODULES[benchmark].RULE.published[subset] for subset in expected["subsets"]}
    assert (line["left_out"], line["cut_prompts"], line["step"]) == ({"response too long": 2}, 3, 5)
    assert in_words(found).startswith(f"runs/a on {benchmark}: overall {line['overall']:.4f}")
    assert "PARTIAL" not in in_words(found)


@pytest.mark.parametrize(
    ("benchmark", "without", "rows", "missing", "incomplete", "sections"),
    [
        ("reward_bench", ("hep-go",), {}, ["hep-go"], {}, {"Reasoning"}),
        ("reward_bench", (), {"math-prm": 446}, [], {"math-prm": "446 of 447 rows"}, {"Reasoning"}),
        ("reward_bench", (), {"donotanswer": 137}, [], {"donotanswer": "137 of 136 rows"}, {"Safety"}),
        ("reward_bench_2", ("Ties",), {}, ["Ties"], {}, set()),
        ("rm_bench", ("safety-refuse",), {}, ["safety-refuse"], {}, {"safety", "hard", "normal", "easy"}),
        ("rm_bench", (), {"math": 528}, [], {"math": "528 of 529 rows"}, {"math", "hard", "normal", "easy"}),
    ],
)
def test_anything_else_is_partial(benchmark, without, rows, missing, incomplete, sections):
    found = result(benchmark, without=without, rows=rows)
    line = json.loads(found.to_json())
    assert line["complete"] is False
    assert (line["overall"], line["missing"], line["incomplete"]) == (None, missing, incomplete)
    assert line["partial"]["overall"] == found.scores.totals["overall"]
    assert set(line["partial"].get("sections", {})) == sections
    assert {name for name, value in line["sections"].items() if value is None} == sections
    assert line["partial"].get("subsets", {}).keys() == incomplete.keys()
    for part in ("sections", "subsets"):
        for name, value in getattr(found.scores, part).items():
            assert value in (line[part][name], line["partial"].get(part, {}).get(name))
    assert "PARTIAL, not the published score" in in_words(found)
    assert all(subset in in_words(found) for subset in (*missing, *incomplete))


def test_nobody_misses_the_prior_sets_until_one_of_them_is_there():
    prior = tuple(reward_bench.PRIOR_ROWS)
    line = json.loads(result("reward_bench", without=prior).to_json())
    assert line["complete"]
    assert (line["missing"], line["partial"]) == ([], None)
    assert "overall_with_prior_sets" not in line
    found = result("reward_bench", without=prior[1:])
    assert "PARTIAL" not in in_words(found)
    assert f"{prior[1]} is missing" in in_words(found)
    line = json.loads(found.to_json())
    assert line["complete"]
    assert line["missing"] == list(prior[1:])
    assert line["overall_with_prior_sets"] is line["sections"]["Prior Sets"] is None
    assert line["partial"].keys() == {"overall_with_prior_sets", "sections"}


def test_without_any_score_there_is_still_a_line():
    rows = [subset for subset in reward_bench_2.ROWS if subset != "Ties"]
    found = result("reward_bench_2", without=(*rows, "Ties"))
    line = json.loads(found.to_json())
    assert line["missing"] == [*rows, "Ties"]
    assert not line["complete"]
    assert line["overall"] is None
    assert set(line["rows"].values()) == {0}
    assert "no overall score" in in_words(found)
