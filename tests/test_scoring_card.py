"""The model card says what is known of a model, as the files of its run have it."""

import json

import pytest
from tiny_run import tiny_config, write_rows

from rmjax.evaluation.evaluate import evaluate
from rmjax.evaluation.validation import make_evaluator
from rmjax.scoring.card import CardError, read_results
from rmjax.scoring.export import export
from rmjax.training.loop import train
from rmjax.training.trained import load_trained


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("card")
    write_rows(folder / "rows.jsonl", rows=60)
    write_rows(folder / "test.jsonl", rows=40, seed=1)
    config = tiny_config(str(folder / "rows.jsonl"), steps=4, evaluate_every=2)
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
    for part in (
        "# A reward model of brevity",
        f"| `{run / 'rows.jsonl'}` | brevity/human: 60 | not stated |",
        f"accuracy {trained.validation['accuracy']:.4g}",
        f"{trained.step} steps of 4 rows, from scratch",
        "keep their last 32 tokens",
        f"{trained.record.golden[0].rewards[0]:.4f}"[:5],
    ):
        assert part in card, part
    (line,) = [json.loads(text) for text in (run / "report" / "results.jsonl").read_text().splitlines()]
    row = next(row for row in card.splitlines() if "test.jsonl" in row)
    assert f"{line['accuracy']:.3f} ({line['accuracy_low']:.3f} to {line['accuracy_high']:.3f})" in row
    assert f"{line['ece']:.3f}" in row


def test_a_card_without_a_report_says_what_validation_said_alone(run, tmp_path):
    card = (export(run / "run", tmp_path / "out") / "README.md").read_text()
    assert "On validation data" in card
    assert "95 % interval" not in card
    assert "license:" not in card


def test_results_of_another_model_are_refused(run, tmp_path):
    with pytest.raises(CardError, match=r"has no result of other; it has those of .*run"):
        read_results(run / "report", "other")
    with pytest.raises(CardError, match="right would be the folder of a report"):
        export(run / "run", tmp_path / "out", report=tmp_path)
    assert not (tmp_path / "out").exists()
