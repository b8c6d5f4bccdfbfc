"""The model card says what is known of a model, as the files of its run have it."""

import dataclasses
import json
import shutil

import pytest
from tiny_run import tiny_config, write_rows

from rmjax.config import OnError
from rmjax.evaluation.evaluate import evaluate
from rmjax.evaluation.validation import make_evaluator
from rmjax.scoring.card import CardError, read_results
from rmjax.scoring.export import export
from rmjax.training.checkpoint import CheckpointError
from rmjax.training.loop import train
from rmjax.training.portable import PortableModelError, run_of
from rmjax.training.trained import load_trained
from rmjax.training.workdir import read_config


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("card")
    write_rows(folder / "rows.jsonl", rows=60)
    write_rows(folder / "test.jsonl", rows=40, seed=1)
    for name, count in (("rows", 3), ("test", 2)):
        with (folder / f"{name}.jsonl").open("a") as file:
            for number in range(count):
                too_long = {"prompt": f"{number}? ", "chosen": "apple " * 99, "rejected": "bird"}
                file.write(json.dumps(too_long) + "\n")
    config = tiny_config(str(folder / "rows.jsonl"), steps=4, evaluate_every=2)
    config.data.on_error = OnError.SKIP
    train(config, folder / "run", make_evaluator=make_evaluator)
    evaluate([str(folder / "run")], [str(folder / "test.jsonl")], report=folder / "report")
    return folder


def test_a_card_has_data_measurements_license_and_golden_scores(run, tmp_path):
    folder = export(run / "run", tmp_path / "out", report=run / "report", license="apache-2.0")
    card = (folder / "README.md").read_text()
    head = card.split("---")[1]
    assert 'license: "apache-2.0"' in head
    assert 'tags: ["reward-model", "rmjax"]' in head
    trained = load_trained(run / "run")
    golden = json.loads((folder / "scoring_contract.json").read_text())["record"]["golden"][0]
    held_out = int(trained.validation["comparisons"])  # each row has a prompt and a comparison of its own
    trained_on = 60 - held_out
    for part in (
        "# A reward model of brevity",
        f"| `{run / 'rows.jsonl'}` | brevity/human | {trained_on} | {held_out} | 3 | not stated |",
        "Judgments that don't say whose they are count as human.",
        f"accuracy {trained.validation['accuracy']:.4g}",
        f"{trained.step} steps of 4 rows, from scratch",
        "keep their last 32 tokens",
        f"{golden['rewards'][0]:.6g}",
    ):
        assert part in card, part
    (line,) = [json.loads(text) for text in (run / "report" / "results.jsonl").read_text().splitlines()]
    row = next(row for row in card.splitlines() if "test.jsonl" in row)
    assert f"{line['accuracy']:.3f} ({line['accuracy_low']:.3f} to {line['accuracy_high']:.3f})" in row
    assert f"{line['ece']:.3f}" in row
    assert f"| {line['comparisons']} | 2 | " in row
    assert line["comparisons"] + line["skipped"] == 42


def test_the_card_of_one_of_several_heads_has_what_was_measured_of_that_head_alone(tmp_path):
    write_rows(tmp_path / "rows.jsonl", rows=60)
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    for number, row in enumerate(rows):
        row["dimension"] = "honesty" if number % 3 else "brevity"
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = tiny_config(str(tmp_path / "rows.jsonl"), steps=4, evaluate_every=2)
    config.model.reward_heads = ("brevity", "honesty", "nothing")
    train(config, tmp_path / "run", make_evaluator=make_evaluator)
    evaluate([str(tmp_path / "run")], [str(tmp_path / "rows.jsonl")], report=tmp_path / "report")
    line = json.loads((tmp_path / "report" / "results.jsonl").read_text())
    validation = load_trained(tmp_path / "run").validation
    assert line["heads"].keys() == {"brevity", "honesty"}
    assert {head: found["comparisons"] for head, found in line["heads"].items()} == {"brevity": 20, "honesty": 40}
    correct = sum(found["accuracy"] * found["decided"] for found in line["heads"].values())
    assert correct / line["decided"] == pytest.approx(line["accuracy"])
    for head, found in line["heads"].items():
        card = (
            export(tmp_path / "run", tmp_path / head, head=head, report=tmp_path / "report") / "README.md"
        ).read_text()
        assert f"| {head} | human | {found['comparisons']} | 0 of all heads | {found['accuracy']:.3f} (" in card
        own = validation[f"accuracy/{head}"], validation[f"comparisons/{head}"]
        assert f"accuracy {own[0]:.4g}, nll" in card
        assert f"comparisons {own[1]:.4g}." in card
    evaluate([str(tmp_path / "run")], [str(tmp_path / "rows.jsonl")], heads=["all"], report=tmp_path / "chosen")
    lines = [json.loads(text) for text in (tmp_path / "chosen" / "results.jsonl").read_text().splitlines()]
    card = export(tmp_path / "run", tmp_path / "out", head="honesty", report=tmp_path / "chosen") / "README.md"
    rows = [row for row in card.read_text().splitlines() if "brevity+honesty | human" in row]
    (own,) = [line for line in lines if line["head"] == "honesty"]
    assert len(rows) == 1
    assert f"| 60 | 0 | {own['accuracy']:.3f} (" in rows[0]


def test_a_card_without_a_report_says_what_validation_said_alone(run, tmp_path):
    card = (export(run / "run", tmp_path / "out") / "README.md").read_text()
    assert "On validation data" in card
    assert "95 % interval" not in card
    assert "license:" not in card


def test_results_of_another_model_are_refused(run, tmp_path):
    with pytest.raises(CardError, match=r"has no result of other; it has those of .*run"):
        read_results(run / "report", "other", run="", step=4)
    with pytest.raises(CardError, match="right would be the folder of a report"):
        export(run / "run", tmp_path / "out", report=tmp_path)
    assert not (tmp_path / "out").exists()


def refuse_to_load(*_):
    raise AssertionError("the parameters were loaded")


def test_a_report_of_another_step_is_refused_before_anything_is_loaded(run, tmp_path, monkeypatch):
    best = load_trained(run / "run").step
    (line,) = [json.loads(text) for text in (run / "report" / "results.jsonl").read_text().splitlines()]
    assert line["step"] == best
    other = 6 - best  # of the two there are
    monkeypatch.setattr("rmjax.scoring.export.load_model", refuse_to_load)
    expected = rf"results\.jsonl, line 1: step is {best}; it must be {other}, that of the model from .*run that"
    with pytest.raises(CardError, match=expected):
        export(run / "run", tmp_path / "out", step=other, report=run / "report")
    with pytest.raises(CheckpointError, match="no checkpoint of step 3"):
        export(run / "run", tmp_path / "out", step=3, report=run / "report")


def test_a_report_of_another_run_in_the_same_folder_is_refused(run, tmp_path, monkeypatch):
    shutil.copytree(run / "run", tmp_path / "run")
    evaluate([str(tmp_path / "run")], [str(run / "test.jsonl")], report=tmp_path / "report")
    config = read_config(tmp_path / "run")
    shutil.rmtree(tmp_path / "run")
    train(dataclasses.replace(config, seed=1), tmp_path / "run", make_evaluator=make_evaluator)
    monkeypatch.setattr("rmjax.scoring.export.load_model", refuse_to_load)
    with pytest.raises(CardError, match=r"line 1: run is '\w{16}'; it must be '\w{16}', that of the model from"):
        export(tmp_path / "run", tmp_path / "out", report=tmp_path / "report")


def test_a_report_that_does_not_say_its_step_is_refused(run, tmp_path):
    shutil.copytree(run / "report", tmp_path / "report")
    path = tmp_path / "report" / "results.jsonl"
    line = json.loads(path.read_text())
    del line["step"]
    path.write_text(json.dumps(line) + "\n")
    with pytest.raises(CardError, match="step is None; it must be"):
        export(run / "run", tmp_path / "out", report=tmp_path / "report")


def test_the_run_of_a_workdir_stays_when_it_moves_or_goes_on(run, tmp_path):
    before = run_of(run / "run")
    shutil.copytree(run / "run", tmp_path / "moved")
    train(read_config(tmp_path / "moved"), tmp_path / "moved", make_evaluator=make_evaluator)
    assert len(json.loads((tmp_path / "moved" / "environment.json").read_text())["starts"]) == 2
    assert run_of(tmp_path / "moved") == before


def test_an_exported_model_is_exported_on_with_a_report_of_its_own(run, tmp_path):
    folder = export(run / "run", tmp_path / "out")
    evaluate([str(folder)], [str(run / "test.jsonl")], report=tmp_path / "report", on_error=OnError.SKIP)
    again = export(folder, tmp_path / "again", report=tmp_path / "report")
    assert "test.jsonl" in (again / "README.md").read_text()
    with pytest.raises(PortableModelError, match="has no checkpoint of step 4"):
        export(folder, tmp_path / "third", step=4, report=tmp_path / "report")
