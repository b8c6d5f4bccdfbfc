"""Models on data sets, from workdirs to lines and report."""

import dataclasses
import json

import numpy as np
import pytest
from absl import logging
from untrained import random_text, untrained_config, write_run

from rmjax.config import DataConfig, OnError
from rmjax.errors import UserError
from rmjax.evaluation.evaluate import EvaluationError, _log_differences, evaluate


def workdir(path, *, seed: int = 0, data: DataConfig | None = None, **settings) -> str:
    """A run that was saved and never trained."""
    settings = {"response_tokens": 60, **settings}
    return write_run(path, untrained_config(data=data or DataConfig(), **settings), seed=seed)


def pairs(path, *, seed: int, count: int = 30, dimension: str = "helpfulness") -> str:
    rng = np.random.default_rng(seed)

    def text(most):
        return random_text(rng, most)

    rows = [
        {"prompt": text(9), "chosen": f" {text(9)}", "rejected": f" {text(9)} no", "dimension": dimension}
        for _ in range(count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return [workdir(folder / "a"), workdir(folder / "b", seed=1, response_tokens=12)]


def test_every_model_on_every_data_set_and_a_report(tmp_path, runs):
    specs = [pairs(tmp_path / "x.jsonl", seed=0), pairs(tmp_path / "y.jsonl", seed=1, dimension="brevity")]
    seen = []
    found = evaluate(runs, specs, on_error=OnError.SKIP, report=tmp_path / "report", each=seen.append)
    assert found == seen
    assert [(entry.model, entry.data) for entry in found] == [(run, spec) for run in runs for spec in specs]
    assert [entry.dimension for entry in found] == ["helpfulness", "brevity"] * 2
    assert {entry.source for entry in found} == {"human"}
    assert all(entry.comparisons + entry.skipped == 30 for entry in found)
    assert [entry.skipped > 0 for entry in found] == [False, False, True, True]
    lines = (tmp_path / "report" / "results.jsonl").read_text().splitlines()
    assert lines == [entry.to_json() for entry in found]
    assert all(str(run) in (tmp_path / "report" / "report.html").read_text() for run in runs)


def test_checks_of_attention_are_nothing_to_measure_a_model_by(tmp_path, runs):
    row = {"prompt": "p", "chosen": "a", "rejected": "b", "known_answer": "left"}
    (tmp_path / "x.gold.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(UserError, match=r"x.gold.jsonl, line 1: field 'known_answer': found 'left'"):
        evaluate(runs[:1], [str(tmp_path / "x.gold.jsonl")])


def test_a_response_that_is_too_long_is_an_error_by_default(tmp_path, runs):
    with pytest.raises(ValueError, match="response too long"):
        evaluate(runs[1:], [pairs(tmp_path / "x.jsonl", seed=0)])


def test_a_run_that_skips_is_evaluated_so_unless_told_otherwise(tmp_path):
    skips = workdir(tmp_path / "run", response_tokens=12, data=DataConfig(on_error=OnError.SKIP))
    spec = pairs(tmp_path / "x.jsonl", seed=0)
    (found,) = evaluate([skips], [spec])
    assert found.skipped > 0
    assert len(found.kept) == found.comparisons == 30 - found.skipped
    with pytest.raises(ValueError, match="response too long"):
        evaluate([skips], [spec], on_error=OnError.ERROR)


def test_each_run_skips_by_its_own_config(tmp_path, runs):
    skips = workdir(tmp_path / "run", data=DataConfig(on_error=OnError.SKIP))
    spec = pairs(tmp_path / "x.jsonl", seed=0)
    with open(spec, "a") as file:
        file.write("{}\n")
    (found,) = evaluate([skips], [spec])
    assert (found.comparisons, found.skipped) == (30, 1)
    with pytest.raises(ValueError, match=r"x\.jsonl, line 31"):
        evaluate([skips, runs[0]], [spec])


def warnings_of(monkeypatch, *given, **options) -> list[str]:
    found = []
    monkeypatch.setattr(logging, "warning", lambda text, *values: found.append(text % values))
    evaluate(*given, **options)
    return found


def test_models_that_skip_different_comparisons_are_named_with_what_they_share(tmp_path, runs, monkeypatch):
    """The counts alone don't tell: another tokenizer may skip as many others."""
    spec = pairs(tmp_path / "x.jsonl", seed=0)
    one, two = evaluate(runs, [spec], on_error=OnError.SKIP)
    assert two.kept < one.kept
    said = warnings_of(monkeypatch, runs, [spec], on_error=OnError.SKIP)
    assert f"{spec}: the models were not evaluated on the same comparisons; {two.comparisons} are common to all" in said
    assert f"{runs[0]} on {spec}: 30 comparisons, {two.skipped} of which other models skipped" in said
    assert f"{runs[1]} on {spec}: {two.comparisons} comparisons, 0 of which other models skipped" in said
    said.clear()
    kept = frozenset({("a", 0)}), frozenset({("b", 0)})
    _log_differences([dataclasses.replace(one, kept=kept[0]), dataclasses.replace(two, kept=kept[1])])
    assert "0 are common to all" in said[0]
    said.clear()
    _log_differences([one, one])
    assert said == []


def test_the_order_of_the_models_changes_nothing_of_what_is_found(tmp_path, monkeypatch):
    """Rows without a dimension are of each model's own, and rows of one prompt are apart whatever a model merged."""
    runs = [
        workdir(tmp_path / "a", dimension="brevity", heads=("brevity", "wit"), data=DataConfig(merge_prompts=True)),
        workdir(tmp_path / "b", dimension="harmlessness"),
    ]
    spec = tmp_path / "x.jsonl"
    answers = [" river", " stone", " never", " why"]
    rows = [{"prompt": "asks", "chosen": answers[i], "rejected": answers[i - 1]} for i in range(4)]
    spec.write_text("".join(json.dumps(row) + "\n" for row in rows))
    lines = []
    for order in (runs, runs[::-1]):
        said = warnings_of(monkeypatch, order, [str(spec)], each=lambda found: lines.append(found.to_json()))
        assert not [line for line in said if "same comparisons" in line]
    assert sorted(lines[:2]) == sorted(lines[2:])
    assert {json.loads(line)["model"]: json.loads(line)["dimension"] for line in lines} == {
        runs[0]: "brevity", runs[1]: "harmlessness",
    }  # fmt: skip


def test_rows_that_were_trained_on_are_told(tmp_path, monkeypatch):
    specs = [pairs(tmp_path / f"{name}.jsonl", seed=0) for name in "xy"]
    run = workdir(tmp_path / "run", data=DataConfig(train=(specs[0],)))
    said = warnings_of(monkeypatch, [run], specs)
    assert [line.split(":")[0] for line in said if "was trained on" in line] == [f"{run} was trained on {specs[0]}"]


def test_several_heads_need_one_for_what_was_judged(tmp_path):
    run = workdir(tmp_path / "run", heads=("harmlessness", "brevity"))
    (found,) = evaluate([run], [pairs(tmp_path / "x.jsonl", seed=0, dimension="brevity")])
    assert found.dimension == "brevity"
    with pytest.raises(EvaluationError, match=r"reward heads harmlessness, brevity, but .* was judged on helpfulness"):
        evaluate([run], [pairs(tmp_path / "y.jsonl", seed=0)])


@pytest.mark.parametrize("given", [{"workdirs": []}, {"specs": ["a", "a"]}, {"specs": [""]}])
def test_what_is_asked_for_must_be_told_apart(given):
    with pytest.raises(EvaluationError, match="one or more that differ"):
        evaluate(**{"workdirs": ["a"], "specs": ["b"], **given})


def test_the_command_writes_lines_and_nothing_else_to_stdout(tmp_path, runs, server, cached):
    spec = pairs(tmp_path / "x.jsonl", seed=0)
    command = ["-m", "rmjax.evaluate", f"--workdir={runs[0]}", f"--data={spec}"]
    y, z = [pairs(tmp_path / f"{name}.jsonl", seed=1) for name in "yz"]
    more = [f"--data={y}, {z}", f"--report={tmp_path / 'report'}"]
    done = server.run(*command, *more, **cached)
    assert done.returncode == 0, done.stderr
    line, *others = [json.loads(line) for line in done.stdout.splitlines()]
    assert [other["data"] for other in others] == [y, z]
    (here,) = evaluate(runs[:1], [spec])
    expected = json.loads(here.to_json())
    assert line.keys() == expected.keys()
    assert line["nll"] == pytest.approx(expected["nll"], abs=1e-6)  # another number of devices
    assert (tmp_path / "report" / "report.html").exists()


def test_the_score_command_streams_stdin_to_stdout(runs, server, cached):
    command = ["-m", "rmjax.score", f"--workdir={runs[0]}", "--input=-", "--output=-"]
    rows = [{"prompt": "why", "response": " rains"}, {"id": 2, "prompt": "why", "responses": [" rains", " stone"]}]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    done = server.run(*command, given=text, **cached)
    assert done.returncode == 0, done.stderr
    one, two = (json.loads(line) for line in done.stdout.splitlines())
    assert two["id"] == 2
    assert two["rewards"][0] == pytest.approx(one["reward"], abs=1e-5)
    assert two["rewards"][0] != two["rewards"][1]


def test_prompts_beyond_the_limit_are_warned_of_once_for_each_data_set(tmp_path, runs, monkeypatch, caplog):
    monkeypatch.setattr(logging.get_absl_logger(), "propagate", True)
    specs = [str(tmp_path / "short.jsonl"), str(tmp_path / "long.jsonl")]
    for spec, prompt in zip(specs, ("why", "why " * 99), strict=True):
        (tmp_path / spec).write_text(json.dumps({"prompt": prompt, "chosen": " it", "rejected": " rains"}) + "\n")
    evaluate(runs[:1], specs)
    told = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert [(level, message.partition(";")[0]) for level, message in told if "prompts" in message] == [
        ("WARNING", f"{specs[1]}: 1 prompts have more than 60 tokens and lost the first of them (a system turn stays)")
    ]
