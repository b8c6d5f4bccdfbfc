"""Makes tests/golden/benchmarks.json: random rewards, and what the published code of three benchmarks makes of them.

    git clone https://github.com/allenai/reward-bench && git clone https://github.com/THU-KEG/RM-Bench
    .venv-peers/bin/python tests/golden/make_benchmarks.py reward-bench RM-Bench

The functions that score are taken out of their files, so that nothing else of those projects has to be installed. Half
of the cases have rewards of few values, so that many are equal.
"""

import ast
import contextlib
import io
import json
import math
import sys
import typing
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from datasets import Dataset

FILE = Path(__file__).parent / "benchmarks.json"
CASES = 6
RM_DOMAINS = ("chat", "math", "code", "safety-refuse", "safety-response")
PRIOR = ("anthropic_helpful", "anthropic_hhh", "shp", "summarize")
SUBSETS_2 = ("Factuality", "Precise IF", "Math", "Safety", "Focus")


def published(file: Path, *names: str) -> dict[str, Any]:
    """Functions and constants of a file, without what else it does and imports."""

    def name_of(node: ast.stmt) -> str | None:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            return node.targets[0].id
        return node.name if isinstance(node, ast.FunctionDef) else None

    kept = [node for node in ast.parse(file.read_text()).body if name_of(node) in names]
    assert len(kept) == len(names), f"{file} has changed"
    libraries = {"np": np, "pd": pd, "Dataset": Dataset, "defaultdict": defaultdict, "math": math}
    space = vars(typing) | libraries
    exec(compile(ast.Module(kept, []), str(file), "exec"), space)
    return space


def drawn(rng: np.random.Generator, case: int, count: int) -> list[float]:
    """Rewards of four decimals; in odd cases of seven values."""
    values = rng.integers(-3, 4, count) / 2 if case % 2 else rng.normal(size=count)
    return [round(float(value), 4) for value in values]


def reward_bench(checkout: Path, rng: np.random.Generator, case: int) -> dict[str, Any]:
    constants = published(checkout / "rewardbench/constants.py", "EXAMPLE_COUNTS", "SUBSET_MAPPING")
    code = published(checkout / "rewardbench/utils.py", "calculate_scores_per_section")
    counts, mapping = constants["EXAMPLE_COUNTS"], constants["SUBSET_MAPPING"]
    rows = []
    for subset in (*counts, *PRIOR):
        for _ in range(int(rng.integers(2, 6))):
            chosen, rejected = drawn(rng, case, 2)
            rows.append({"subset": subset, "chosen": [chosen], "rejected": [rejected]})
    wins = defaultdict(list)
    for row in rows:
        wins[row["subset"]].append(1 if row["chosen"][0] > row["rejected"][0] else 0)
    subsets = {subset: sum(found) / len(found) for subset, found in wins.items()}
    sections = code["calculate_scores_per_section"](counts, mapping, subsets)
    totals = {"overall": float(np.mean(list(sections.values())))}
    code = published(checkout / "analysis/get_benchmark_results.py", "get_average_over_rewardbench")
    code["get_average_over_rewardbench"].__globals__.update(constants)
    core = pd.DataFrame([{"model": "m", "model_type": "t"} | {name: subsets[name] for name in counts}])
    prior = pd.DataFrame([{"model": "m"} | {name: subsets[name] for name in PRIOR}])
    found = code["get_average_over_rewardbench"](core, prior).iloc[0]
    sections["Prior Sets"], totals["overall_with_prior_sets"] = found["Prior Sets (0.5 weight)"], found["average"]
    return {"rows": rows, "subsets": subsets, "sections": sections, "totals": totals}


def reward_bench_2(checkout: Path, rng: np.random.Generator, case: int) -> dict[str, Any]:
    names = ("reroll_and_score_dataset", "_compute_prompt_stats", "process_single_model")
    code = published(checkout / "rewardbench/utils.py", *names)
    rows, subsets = [], {}
    for subset in SUBSETS_2:
        mine = [{"subset": subset, "chosen": drawn(rng, case, 1), "rejected": drawn(rng, case, 3)} for _ in range(7)]
        flat = [reward for row in mine for reward in row["chosen"] + row["rejected"]]
        given = Dataset.from_dict(
            {"scores": flat, "text": ["" for _ in flat], "id": [i // 4 for i in range(len(flat))]}
        )
        results = code["reroll_and_score_dataset"](given, [4] * len(mine))["results"]
        subsets[subset] = sum(results) / len(results)
        rows += mine
    ties = []
    for number in range(6):
        # The right responses of half of the prompts are clearly better, as otherwise no prompt would be won.
        shift = 2.0 * (number % 2)
        for kind, right in (("ref", 1), ("tied", int(rng.integers(2, 5)))):
            chosen = [value / (1 + 3 * shift) + shift for value in drawn(rng, case, right)]
            rejected = drawn(rng, case, int(rng.integers(1, 5)))
            if number == 5:
                chosen = [chosen[0]] * right  # no spread between the right ones
            ties.append({"subset": "Ties", "key": f"{kind}:{number}", "chosen": chosen, "rejected": rejected})
    given = Dataset.from_dict({
        "id": [row["key"] for row in ties],
        "scores": [row["chosen"] + row["rejected"] for row in ties],
        "num_correct": [len(row["chosen"]) for row in ties],
    })  # fmt: skip
    with np.errstate(all="ignore"):
        subsets["Ties"] = code["process_single_model"](given)[1]
    overall = float(np.mean(list(subsets.values())))
    return {"rows": rows + ties, "subsets": subsets, "sections": {}, "totals": {"overall": overall}}


def domain_score(code: dict[str, Any], rows: list[dict[str, Any]], domain: str) -> float:
    """The mean of what the published code finds in the rows of one file, which don't name their domain."""
    mine = [{key: value for key, value in row.items() if key != "domain"} for row in rows if row["domain"] == domain]
    return float(np.mean(list(code["compute_accuracy"](mine).values())))


def rm_bench(checkout: Path, rng: np.random.Generator, case: int) -> dict[str, Any]:
    code = published(checkout / "scripts/utils.py", "split_dataset_by_domain", "compute_accuracy")
    rows = [
        {"subset": domain, "chosen": drawn(rng, case, 3), "rejected": drawn(rng, case, 3)}
        for domain in RM_DOMAINS
        for _ in range(int(rng.integers(2, 7)))
    ]
    given = [
        {"domain": row["subset"], "score_chosen": row["chosen"], "score_rejected": row["rejected"]} for row in rows
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        subsets = {domain: domain_score(code, given, domain) for domain in RM_DOMAINS}
        found = {name.removesuffix("_acc"): float(value) for name, value in code["compute_accuracy"](given).items()}
    overall = found.pop("total_avg")
    return {"rows": rows, "subsets": subsets, "sections": found, "totals": {"overall": overall}}


def main() -> None:
    reward_bench_checkout, rm_bench_checkout = map(Path, sys.argv[1:])
    rng = np.random.default_rng(0)
    cases = {
        "reward_bench": [reward_bench(reward_bench_checkout, rng, case) for case in range(CASES)],
        "reward_bench_2": [reward_bench_2(reward_bench_checkout, rng, case) for case in range(CASES)],
        "rm_bench": [rm_bench(rm_bench_checkout, rng, case) for case in range(CASES)],
    }
    FILE.write_text(json.dumps(cases, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
