"""What a run is told of its data before it begins."""

import json
import pathlib

import pytest
from absl import logging
from etils import epath
from tiny_run import tiny_config, write_rows

from rmjax.config import ConfigError, ExperimentConfig, OnError
from rmjax.errors import UserError
from rmjax.labels_config import LabelsConfig, Several
from rmjax.training.data import FEW, prepare_data


def told(config: ExperimentConfig, folder: pathlib.Path, caplog: pytest.LogCaptureFixture) -> dict[str, list[str]]:
    """What is logged, by level."""
    with caplog.at_level("INFO", logger="absl"):
        prepare_data(config, epath.Path(folder))
    levels = ("INFO", "WARNING")
    return {level: [record.getMessage() for record in caplog.records if record.levelname == level] for level in levels}


@pytest.mark.parametrize(
    ("rows", "fraction", "named", "remedy"),
    [
        (
            FEW - 1,
            0.05,
            False,
            "--config.data.validation_fraction=0.2 or --config.data.validation=FILE would give more",
        ),
        (FEW - 1, 0.2, False, "best; --config.data.validation=FILE would give more"),
        (FEW - 1, 0.05, True, "best; a larger --config.data.validation would give more"),
        (FEW, 0.05, True, None),
    ],
)
def test_few_validation_comparisons_are_warned_of(tmp_path, caplog, monkeypatch, rows, fraction, named, remedy):
    monkeypatch.setattr(logging.get_absl_logger(), "propagate", True)
    write_rows(tmp_path / "rows.jsonl", rows=rows)
    config = tiny_config(str(tmp_path / "rows.jsonl"))
    config.data.validation_fraction = fraction
    if named:
        config.data.validation = config.data.train
    found = told(config, tmp_path, caplog)
    if remedy is None:
        assert found["WARNING"] == []
    else:
        (warning,) = found["WARNING"]
        count = next(line.split()[5] for line in found["INFO"] if line.startswith("validation: "))
        assert warning.startswith(f"there are only {count} validation comparisons (ties left out), fewer than 100: ")
        assert warning.endswith(remedy)
        assert 0 < int(count) < FEW


@pytest.mark.parametrize("limit", [32, 2])
def test_prompts_that_are_cut_are_told_once_as_a_warning(tmp_path, caplog, monkeypatch, limit):
    monkeypatch.setattr(logging.get_absl_logger(), "propagate", True)
    write_rows(tmp_path / "rows.jsonl", rows=FEW)
    config = tiny_config(str(tmp_path / "rows.jsonl"))
    config.data.validation = config.data.train
    config.text.max_prompt_tokens = limit
    found = told(config, tmp_path, caplog)
    assert not any("cut" in line or "lost" in line for line in found["INFO"])
    expected = [
        f"{name}: 100 prompts have more than 2 tokens and lost the first of them (a system turn stays); training with "
        "a higher --config.text.max_prompt_tokens keeps more"
        for name in ("train", "validation")
    ]
    assert found["WARNING"] == (expected if limit == 2 else [])


def test_labels_are_changed_where_they_are_trained_on_and_not_where_they_are_validated_on(
    tmp_path, caplog, monkeypatch
):
    """Of three responses one loses its comparison, for the annotators contradict each other there."""
    monkeypatch.setattr(logging.get_absl_logger(), "propagate", True)
    judged = [
        {"left": 0, "right": 1, "annotator": "ann", "strength": "much"},
        {"left": 1, "right": 0, "annotator": "ben", "probability": 0.0, "strength": "much"},
        {"left": 1, "right": 2, "annotator": "ann"},
        {"left": 2, "right": 1, "annotator": "ben"},
    ]
    responses = [" apple", " bird", " cloud"]
    rows = [{"prompt": f"Name {place}:", "responses": responses, "comparisons": judged} for place in range(FEW)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = tiny_config(str(tmp_path / "rows.jsonl"))
    config.data.validation = config.data.train
    config.labels = LabelsConfig(
        margins=("llama2_large",), annotator_weights=("ann=3",), least_agreement=0.6, several=Several.MEAN
    )
    found = told(config, tmp_path, caplog)["INFO"]
    assert f"config.labels: of {4 * FEW} comparisons to train on, {FEW} remain" in found
    data = prepare_data(config, epath.Path(tmp_path))
    assert (data.train.comparisons, data.validation.comparisons) == (FEW, 4 * FEW)
    numbers = [(one.probability, one.margin, one.weight) for one in (data.train, data.validation)]
    assert [set(column) for column in numbers[0]] == [{1}, {3}, {4}]
    assert [set(column) for column in numbers[1]] == [{0, 1}, {0}, {1}]
    config.labels = LabelsConfig(source_weights=("human=0",))
    with pytest.raises(ConfigError, match=r"config\.labels leaves no training comparisons; it must leave at least one"):
        prepare_data(config, epath.Path(tmp_path / "other"))
    config.labels = LabelsConfig(annotator_weights=("mia=1",))
    with pytest.raises(ConfigError, match="names 'mia', who judged nothing"):
        prepare_data(config, epath.Path(tmp_path / "another"))


def test_the_card_counts_rows_that_the_labels_leave_out_as_skipped(tmp_path):
    """Every second prompt has two rows that contradict each other; of those that are trained on they are left out."""
    rows = [
        {"prompt": f"Name {place}:", "chosen": chosen, "rejected": rejected}
        for place in range(FEW)
        for chosen, rejected in ((" apple", " bird"), (" bird", " apple") if place % 2 else (" apple", " bird"))
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = tiny_config(str(tmp_path / "rows.jsonl"))
    found = {}
    for several in Several:
        config.labels = LabelsConfig(least_agreement=0.6, several=several)
        folder = epath.Path(tmp_path / several.value)
        data = prepare_data(config, folder)
        (about,) = json.loads((folder / "data.json").read_text())["data sets"]
        found[several] = {use: sum(counts.values()) for use, counts in about["prompts"].items()}
        assert data.train.comparisons * (1 if several is Several.KEPT else 2) == found[several]["trained on"]
    assert found[Several.KEPT] == found[Several.MEAN] == found[Several.MAJORITY]
    counts = found[Several.KEPT]
    assert sum(counts.values()) == 2 * FEW
    assert counts["held out"] == data.validation.comparisons
    assert 0 < counts["skipped"] < FEW


@pytest.mark.parametrize("field", ["train", "validation"])
def test_checks_of_attention_are_neither_trained_on_nor_validated_on(tmp_path, field):
    write_rows(tmp_path / "rows.jsonl", rows=FEW)
    said = {"prompt": "Q", "responses": ["a", "b"], "comparisons": [{"left": 0, "right": 1}], "known_answer": "left"}
    (tmp_path / "rows.gold.jsonl").write_text(json.dumps(said) + "\n")
    config = tiny_config(str(tmp_path / "rows.jsonl"))
    setattr(config.data, field, (*config.data.train, str(tmp_path / "rows.gold.jsonl")))
    right = r"rows.gold.jsonl, line 1: field 'known_answer': found 'left', .* right would be data without such rows"
    for config.data.on_error in OnError:
        with pytest.raises(UserError, match=right):
            prepare_data(config, epath.Path(tmp_path))
