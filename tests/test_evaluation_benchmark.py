"""Models on benchmarks of the field, from published files to lines."""

import dataclasses
import json
from collections import Counter

import numpy as np
import pytest
from absl import logging
from benchmark_cases import reward_bench_2_row, reward_bench_row, rm_bench_row, scored
from pretrained_folders import write_pretrained
from untrained import WORDS, untrained_config, write_run

from rmjax.config import OnError
from rmjax.evaluation import benchmark as module
from rmjax.evaluation.benchmark import RULES, Benchmark, evaluate_benchmark
from rmjax.evaluation.evaluate import EvaluationError
from rmjax.evaluation.rewards import RewardComputer
from rmjax.preferences.record import RowError
from rmjax.scoring.scorer import RewardScorer


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("runs") / "a", untrained_config(response_tokens=60))


@pytest.fixture(scope="module")
def two_heads(tmp_path_factory):
    config = untrained_config(response_tokens=60, heads=("helpfulness", "brevity"))
    return write_run(tmp_path_factory.mktemp("runs") / "b", config)


def published(benchmark: Benchmark, *, each: int = 4, seed: int = 0) -> list[dict]:
    """So many rows of each subset (of the tied prompts of Ties, each with its reference)."""
    rng = np.random.default_rng(seed)
    if benchmark is Benchmark.REWARD_BENCH:
        names = RULES[benchmark].totals["overall"]
        return [reward_bench_row(rng, subset) for subset in names for _ in range(each)]
    if benchmark is Benchmark.RM_BENCH:
        return [rm_bench_row(rng, domain) for domain in RULES[benchmark].published for _ in range(each)]
    rows = [
        reward_bench_2_row(rng, subset)
        for subset in RULES[benchmark].published
        if subset != "Ties"
        for _ in range(each)
    ]
    for number in range(each):
        rows.append(reward_bench_2_row(rng, "Ties", key=f"ref:{number}"))
        rows.append(reward_bench_2_row(rng, "Ties", key=f"tied:{number}", right=3))
    return rows


def write(path, rows) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def scored_alone(scorer: RewardScorer, prompt: str, responses: list[str]) -> list[float]:
    """The rewards as the scorer has them, without what the benchmarks do to rows."""
    said = [[{"role": "assistant", "content": response}] for response in responses]
    return scorer.score([{"role": "user", "content": prompt}], said)


@pytest.mark.parametrize("benchmark", Benchmark)
def test_the_score_is_that_of_the_rewards_of_each_response_alone(tmp_path, run, benchmark, monkeypatch):
    """With as many rows as were published (here: few), it is the benchmark's number."""
    rows = published(benchmark)
    subset_of = "domain" if benchmark is Benchmark.RM_BENCH else "subset"
    rule = RULES[benchmark]
    counts = {**rule.published, **Counter(row[subset_of] for row in rows)}
    monkeypatch.setitem(RULES, benchmark, dataclasses.replace(rule, published=counts))
    (found,) = evaluate_benchmark([run], [write(tmp_path / "rows.jsonl", rows)], benchmark=benchmark)
    assert found.complete
    line = json.loads(found.to_json())
    assert line["partial"] is None
    scorer = RewardScorer.from_workdir(run)
    correct: dict[str, list[float]] = {}
    for row in rows:
        chosen, rejected = ([row[name]] if isinstance(row[name], str) else row[name] for name in ("chosen", "rejected"))
        rewards = np.array(scored_alone(scorer, row["prompt"], [*chosen, *rejected]))
        right, wrong = rewards[: len(chosen)], rewards[len(chosen) :]
        if benchmark is Benchmark.REWARD_BENCH_2:
            correct.setdefault(row["subset"], []).append(float(right[0] > wrong.max()))
        else:
            correct.setdefault(row[subset_of], []).append(float((right[:, None] > wrong).mean()))
    if "Ties" in correct:
        rows = [row for row in rows if row["subset"] == "Ties"]
        alone = [
            scored(
                "Ties", *np.split(scored_alone(scorer, row["prompt"], [*row["chosen"], *row["rejected"]]), [count]), key
            )
            for row, count, key in ((row, row["num_correct"], row["id"]) for row in rows)
        ]
        correct["Ties"] = [rule.score(alone).subsets["Ties"]]
    assert {name: line["subsets"][name] for name in correct} == pytest.approx(
        {name: np.mean(values) for name, values in correct.items()}, abs=1e-4
    )
    assert 0 < line["overall"] < 1


def test_a_file_that_lacks_rows_is_partial(tmp_path, run, monkeypatch):
    said = []
    monkeypatch.setattr(logging, "info", lambda *values: said.append(values[-1]))
    path = write(tmp_path / "rows.jsonl", published(Benchmark.RM_BENCH, each=1)[1:])
    seen = []
    (found,) = evaluate_benchmark([run], [path], benchmark=Benchmark.RM_BENCH, each=seen.append)
    assert seen == [found]
    line = json.loads(found.to_json())
    assert not line["complete"]
    assert (line["overall"], line["missing"]) == (None, ["chat"])
    assert "PARTIAL" in said[-1]


def test_equal_responses_have_equal_rewards_and_are_computed_once(tmp_path, run, monkeypatch):
    row = reward_bench_row(np.random.default_rng(0), "hep-go")
    computed = []

    class Counting(RewardComputer):
        def __call__(self, params, tokenized):
            computed.append(tokenized.responses)
            return super().__call__(params, tokenized)

    monkeypatch.setattr(module, "trusted_computer", lambda trained: Counting(trained.model, trained.config))
    path = write(tmp_path / "rows.jsonl", [{**row, "rejected": row["chosen"]}] * 9)
    (found,) = evaluate_benchmark([run], [path], benchmark=Benchmark.REWARD_BENCH)
    assert found.scores.subsets == {"hep-go": 0.0}
    assert computed == [9]


def test_somebody_elses_model_says_where_its_limits_are_from(tmp_path):
    write_pretrained(tmp_path / "theirs", "llama", reward=True)
    row = published(Benchmark.REWARD_BENCH, each=1)[0] | {"rejected": " ".join(WORDS * 90)}
    said = r"; its limits are each half of the 512 tokens that it has positions for, and no flag changes them; --on_err"
    with pytest.raises(RowError, match=said):
        evaluate_benchmark(
            [str(tmp_path / "theirs")], [write(tmp_path / "rows.jsonl", [row])], benchmark=Benchmark.REWARD_BENCH
        )


LONG = {"reward_bench": "rejected", "reward_bench_2": "rejected[1]", "rm_bench": "rejected[1]"}


@pytest.mark.parametrize("benchmark", Benchmark)
def test_a_response_that_is_too_long_is_an_error_that_helps_or_counted(tmp_path, run, benchmark):
    rows = published(benchmark, each=2)
    text = " ".join(WORDS * 9)
    rows[0]["rejected"] = text if isinstance(rows[0]["rejected"], str) else [rows[0]["rejected"][0], text, "why"]
    rows[1]["chosen"] = text if isinstance(rows[1]["chosen"], str) else [text, *rows[1]["chosen"][1:]]
    path = write(tmp_path / "rows.jsonl", rows)
    field = LONG[benchmark.value].replace("[", r"\[").replace("]", r"\]")
    expected = (
        rf"rows\.jsonl, line 1: field '{field}': response too long: found \d+ tokens, the model's limit "
        r"text\.max_response_tokens is 60; .*; a model trained with --config\.text\.max_response_tokens=\d+.* takes "
        r"all 2 such texts; --on_error=skip leaves such rows out, and the score is a partial one"
    )
    with pytest.raises(RowError, match=expected):
        evaluate_benchmark([run], [path], benchmark=benchmark)
    (found,) = evaluate_benchmark([run], [path], benchmark=benchmark, on_error=OnError.SKIP)
    assert found.left_out == {"response too long": 2}
    assert found.rows.total() == len(rows) - 2
    assert not found.complete


def test_bad_rows_are_an_error_that_names_the_way_out_or_counted_with_the_rest(tmp_path, run):
    rows = published(Benchmark.REWARD_BENCH, each=1)
    path = write(tmp_path / "rows.jsonl", [*rows, {**rows[0], "chosen": None}])
    with pytest.raises(RowError, match=r"line 24: field 'chosen': missing field: .*--on_error=skip leaves such rows"):
        evaluate_benchmark([run], [path], benchmark=Benchmark.REWARD_BENCH)
    (found,) = evaluate_benchmark([run], [path], benchmark=Benchmark.REWARD_BENCH, on_error=OnError.SKIP)
    assert (found.left_out, found.rows.total()) == ({"missing field": 1}, 23)


def test_nothing_left_is_an_error(tmp_path, run):
    row = reward_bench_row(np.random.default_rng(0), "hep-go")
    path = write(tmp_path / "rows.jsonl", [{**row, "chosen": "why " * 99}])
    with pytest.raises(EvaluationError, match=r"no row is left .*response too long"):
        evaluate_benchmark([run], [path], benchmark=Benchmark.REWARD_BENCH, on_error=OnError.SKIP)


def test_cut_prompts_are_counted(tmp_path, run):
    rows = published(Benchmark.RM_BENCH, each=1)
    rows[0]["prompt"] = "why " * 99
    path = write(tmp_path / "rows.jsonl", rows)
    (found,) = evaluate_benchmark([run], [path], benchmark=Benchmark.RM_BENCH)
    assert found.cut_prompts == 1


def test_several_heads_need_a_name(tmp_path, run, two_heads):
    path = write(tmp_path / "rows.jsonl", published(Benchmark.RM_BENCH))
    with pytest.raises(EvaluationError, match="several reward heads; --head must be one of helpfulness, brevity"):
        evaluate_benchmark([two_heads], [path], benchmark=Benchmark.RM_BENCH)
    with pytest.raises(EvaluationError, match="no reward head 'wit'; --head must be one of helpfulness, brevity"):
        evaluate_benchmark([two_heads], [path], benchmark=Benchmark.RM_BENCH, head="wit")
    with pytest.raises(EvaluationError, match="no reward head 'wit'; --head must be left out"):
        evaluate_benchmark([run], [path], benchmark=Benchmark.RM_BENCH, head="wit")
    each: list = []
    for models, head, wrong in (([two_heads, run], "brevity", run), ([run, two_heads], None, two_heads)):
        with pytest.raises(EvaluationError, match=f"model {wrong} has "):
            evaluate_benchmark(models, [path], benchmark=Benchmark.RM_BENCH, head=head, each=each.append)
    assert not each  # found before any was evaluated
    scores = [
        evaluate_benchmark([two_heads], [path], benchmark=Benchmark.RM_BENCH, head=head)[0].scores.subsets
        for head in ("helpfulness", "brevity")
    ]
    assert scores[0] != scores[1]


def test_several_models_are_lines_in_order(tmp_path, run, two_heads):
    path = write(tmp_path / "rows.jsonl", published(Benchmark.REWARD_BENCH_2, each=1))
    with pytest.raises(EvaluationError, match="one or more that differ"):
        evaluate_benchmark([run, run], [path], benchmark=Benchmark.REWARD_BENCH_2)
    other = write_run(tmp_path / "other", untrained_config(response_tokens=60), seed=1)
    found = evaluate_benchmark([run, other], [path], benchmark=Benchmark.REWARD_BENCH_2)
    assert [entry.model for entry in found] == [run, other]
    assert [entry.step for entry in found] == [5, 5]


def test_the_command_writes_a_line_and_nothing_else_to_stdout(tmp_path, run, server, cached):
    path = write(tmp_path / "rows.jsonl", published(Benchmark.RM_BENCH, each=1))
    command = ["-m", "rmjax.evaluate", f"--workdir={run}", f"--data={tmp_path}", "--benchmark=rm_bench"]
    done = server.run(*command, **cached)
    assert done.returncode == 0, done.stderr
    (here,) = evaluate_benchmark([run], [path], benchmark=Benchmark.RM_BENCH)
    line = json.loads(done.stdout)
    assert line == json.loads(here.to_json()) | {"data": [str(tmp_path)]}
    assert "PARTIAL" in done.stderr
    for wrong, said in (
        ("--report=x", "go without --benchmark"),
        ("--head=wit,brevity", "no reward head 'wit,brevity'"),
    ):
        done = server.run(*command, wrong, **cached)
        assert done.returncode == 2
        assert said in done.stderr
        assert "no flag can say None" not in done.stderr  # it is said of flags that weren't given
