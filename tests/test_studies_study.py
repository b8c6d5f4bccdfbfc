"""The frame of studies: what they train is what any run would be, and their command leaves results and a figure."""

import json

import numpy as np
import pytest
from random_batches import small_model_config

from rmjax.config import ExperimentConfig, ParallelConfig, Strategy
from rmjax.evaluation.evaluate import evaluate
from studies.models import trained_on
from studies.testbed import judged_truly, labeler, unjudged


def small() -> ExperimentConfig:
    config = ExperimentConfig(dimension="brevity", steps=4, evaluate_every=2, model=small_model_config())
    config.text.vocabulary_size, config.text.max_prompt_tokens, config.text.max_response_tokens = 300, 128, 192
    config.batch.row_length, config.batch.rows = 512, 4
    config.logging.tensorboard = False
    config.parallel = ParallelConfig(strategy=Strategy.JIT)
    return config


def test_a_model_is_that_of_a_run_and_measured_as_evaluate_does(tmp_path):
    judged = [labeler("brevity").judge(record) for record in unjudged("brevity", count=40)]
    test = judged_truly(unjudged("brevity", count=10, responses=3, test=True))
    model = trained_on(judged, small(), tmp_path / "one", test)
    (said,) = evaluate([str(tmp_path / "one" / "run")], [str(tmp_path / "one" / "validation.jsonl")])
    found = model.measured(test)
    assert found == said.measurement.numbers
    assert found["decided"] > 20
    rewards = model.rewards(test)
    assert [reward.shape for reward in rewards] == [(3, 1)] * 10
    right = [
        np.sign(reward[pair.left, 0] - reward[pair.right, 0]) == np.sign(pair.probability - 0.5)
        for reward, record in zip(rewards, test, strict=True)
        for pair in record.comparisons
        if pair.probability != 0.5
    ]
    assert np.mean(right) == pytest.approx(found["accuracy"])
    again = trained_on(judged, small(), tmp_path / "one", test)  # nothing is trained again
    for one, other in zip(rewards, again.rewards(test), strict=True):
        np.testing.assert_array_equal(one, other)


CODE = """
from studies.study import run_study

run_study(
    "noise",
    lambda study: study.add(steps=study.config.steps, accuracy=0.75),
    lambda rows: "\\n".join(str(sorted(row.items())) for row in rows).encode(),
)
"""


def test_the_command_leaves_results_and_a_figure_and_draws_them_again(server, tmp_path):
    for more in ("--config.steps=7", "--draw"):
        done = server.run("-c", CODE, f"--workdir={tmp_path}", more)
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "figure.png").read_bytes() == b"[('accuracy', 0.75), ('steps', 7)]"
        (tmp_path / "figure.png").unlink()
        assert json.loads((tmp_path / "results.jsonl").read_text()) == {"steps": 7, "accuracy": 0.75}
