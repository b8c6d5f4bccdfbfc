"""A run of an ensemble: resumed it is the same bits; loaded it gives golden scores, spreads and an evaluation."""

import json
import pathlib

import numpy as np
import pytest
from test_training_resume import assert_same_run
from tiny_run import tiny_config, write_rows

from rmjax.evaluation.evaluate import evaluate
from rmjax.evaluation.validation import make_evaluator
from rmjax.scoring.rows import parse_request
from rmjax.scoring.scorer import RewardScorer
from rmjax.training.loop import train
from rmjax.training.preemption import Preempted, PreemptionNotice


def test_a_run_of_an_ensemble(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch):
    write_rows(tmp_path / "rows.jsonl")
    config = tiny_config(str(tmp_path / "rows.jsonl"), steps=4, evaluate_every=2)
    config.model.ensemble = 3
    train(config, tmp_path / "whole", make_evaluator=make_evaluator)
    with monkeypatch.context() as patch:
        answers = iter([False, True])
        patch.setattr(PreemptionNotice, "reached", lambda _: next(answers))
        with pytest.raises(Preempted):
            train(config, tmp_path / "cut", make_evaluator=make_evaluator)
    train(config, tmp_path / "cut", make_evaluator=make_evaluator)
    assert_same_run(tmp_path / "cut", tmp_path / "whole")

    scorer = RewardScorer.from_workdir(tmp_path / "whole", pessimism=1.0)
    assert scorer.trained.params["reward_head"]["kernel"].shape == (16, 3)
    golden = scorer.trained.record.golden
    requests = [
        parse_request({"prompt": entry.prompt, "response": entry.response}, origin="golden") for entry in golden
    ]
    members = np.concatenate(scorer.members(requests))[:, 0]
    np.testing.assert_allclose(members.mean(-1), [entry.rewards[0] for entry in golden], atol=1e-5)
    pessimistic = [found[0] for found in scorer.score_many(requests)]
    np.testing.assert_allclose(pessimistic, members.mean(-1) - members.std(-1, ddof=1), atol=1e-5)

    (found,) = evaluate([str(tmp_path / "whole")], config.data.train, report=tmp_path / "report")
    numbers = json.loads(found.to_json())
    assert 0 < numbers["mean_difference_spread"] < 1
    assert len(numbers["accuracy_by_spread_quartile"]) == 4
    assert "accuracy by spread of the difference" in (tmp_path / "report" / "report.html").read_text()
