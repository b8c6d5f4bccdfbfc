"""What a run is told of its data before it begins."""

import pathlib

import pytest
from absl import logging
from etils import epath
from tiny_run import tiny_config, write_rows

from rmjax.config import ExperimentConfig
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
