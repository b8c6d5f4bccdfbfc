"""Scored rows of benchmarks, laws that hold for each of their rules, and rows in their published forms."""

import dataclasses
import json
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from untrained import random_text

from rmjax.evaluation.benchmark_rule import BenchmarkRow, BenchmarkRule, ScoredRow, Scores
from rmjax.preferences.fields import Fields
from rmjax.preferences.record import RowError

GOLDEN = pathlib.Path(__file__).parent / "golden" / "benchmarks.json"
CASES = range(6)


def golden(benchmark: str, case: int) -> tuple[list[ScoredRow], dict[str, dict[str, float]]]:
    """Random rewards, and what the published code makes of them (tests/golden/make_benchmarks.py)."""
    found = json.loads(GOLDEN.read_text())[benchmark][case]
    return [scored(**row) for row in found.pop("rows")], found


def scored(subset: str, chosen: Any, rejected: Any, key: str = "") -> ScoredRow:
    """A row of these rewards; a number stands for one response."""
    chosen, rejected = (np.atleast_1d(np.array(rewards, np.float64)) for rewards in (chosen, rejected))
    return ScoredRow(subset=subset, key=key, chosen=chosen, rejected=rejected)


def check_golden(rule: BenchmarkRule, benchmark: str, case: int) -> None:
    rows, expected = golden(benchmark, case)
    assert dataclasses.asdict(rule.score(rows)) == {
        part: pytest.approx(values, abs=1e-12) for part, values in expected.items()
    }


def check_laws(rule: BenchmarkRule, rows: Sequence[ScoredRow]) -> None:
    """Nothing depends on the order of the rows, nor on the zero and the unit of rewards."""
    before = rule.score(rows)
    shuffled = [rows[place] for place in np.random.default_rng(1).permutation(len(rows))]
    near(rule.score(shuffled), before)
    near(rule.score([changed(row, scale=1.0, shift=2.0) for row in rows]), before)
    near(rule.score([changed(row, scale=4.0, shift=0.0) for row in rows]), before)


def near(found: Scores, expected: Scores) -> None:
    assert dataclasses.asdict(found) == {
        part: pytest.approx(values, abs=1e-12) for part, values in dataclasses.asdict(expected).items()
    }


def changed(row: ScoredRow, *, scale: float, shift: float) -> ScoredRow:
    return dataclasses.replace(row, chosen=scale * row.chosen + shift, rejected=scale * row.rejected + shift)


def swapped(row: ScoredRow) -> ScoredRow:
    return dataclasses.replace(row, chosen=row.rejected, rejected=row.chosen)


def parsed(rule: BenchmarkRule, row: dict[str, Any], file: str = "rows.jsonl") -> BenchmarkRow:
    return rule.parse(Fields(row, f"{file}, line 4"), file)


def check_bad(rule: BenchmarkRule, row: dict[str, Any], kind: str, field: str) -> None:
    """The error names the file, the row, the field and the kind of the fault."""
    with pytest.raises(RowError) as raised:
        parsed(rule, row)
    assert str(raised.value).startswith(f"rows.jsonl, line 4: field {field!r}: {kind}: found ")
    assert raised.value.kind == kind


def reward_bench_row(rng: np.random.Generator, subset: str) -> dict[str, Any]:
    """With all columns that the published file has."""
    texts = {name: random_text(rng, 9) for name in ("prompt", "chosen", "rejected")}
    return {**texts, "chosen_model": "a", "rejected_model": "b", "subset": subset, "id": 7}


def reward_bench_2_row(rng: np.random.Generator, subset: str, *, key: str = "7", right: int = 1) -> dict[str, Any]:
    chosen, rejected = ([random_text(rng, 9) for _ in range(count)] for count in (right, 3))
    return {
        "id": key, "prompt": random_text(rng, 9), "chosen": chosen, "rejected": rejected, "num_correct": right,
        "num_incorrect": 3, "total_completions": right + 3, "models": ["a"], "subset": subset,
        "additional_metadata": {"category": None},
    }  # fmt: skip


def rm_bench_row(rng: np.random.Generator, domain: str) -> dict[str, Any]:
    chosen, rejected = ([random_text(rng, 9) for _ in range(3)] for _ in range(2))
    return {"id": 8, "prompt": random_text(rng, 9), "chosen": chosen, "rejected": rejected, "domain": domain}
