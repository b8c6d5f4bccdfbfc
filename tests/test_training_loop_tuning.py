"""A run with adapters from config to scores; a beginning that no parameter has stops it before anything is written."""

import numpy as np
import pytest
from tiny_run import tiny_config, write_rows

from rmjax import RewardScorer
from rmjax.config import ConfigError, TuningConfig
from rmjax.evaluation.validation import make_evaluator
from rmjax.models.lora import is_adapter, leaves_of
from rmjax.training.loop import train


def test_a_run_with_adapters_is_trained_and_read_again(tmp_path):
    write_rows(tmp_path / "rows.jsonl", rows=60)
    config = tiny_config(str(tmp_path / "rows.jsonl"), steps=4, evaluate_every=2)
    config.tuning = TuningConfig(lora_rank=2)
    train(config, tmp_path / "run", make_evaluator=make_evaluator)
    scorer = RewardScorer.from_workdir(tmp_path / "run", 4)
    moved = [leaf for names, leaf in leaves_of(scorer.trained.params).items() if is_adapter(names) and names[-1] == "b"]
    assert len(moved) == 7
    assert all(np.any(leaf) for leaf in moved)
    assert np.isfinite(scorer.score("Question 1: bird? ", ["apple", "cloud door"])).all()


def test_a_beginning_that_nothing_has_stops_it_at_once(tmp_path):
    config = tiny_config(str(tmp_path / "rows.jsonl"))
    config.tuning = TuningConfig(trained=("score",))
    with pytest.raises(ConfigError, match=r"config\.tuning\.trained has 'score'"):
        train(config, tmp_path / "run", make_evaluator=make_evaluator)
    assert not (tmp_path / "run").exists()
