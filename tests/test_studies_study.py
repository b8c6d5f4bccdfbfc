"""The frame of studies: what they train is what any run would be, and their command leaves results and a figure."""

import itertools
import json

import numpy as np
import pytest
from random_batches import small_model_config

from rmjax.config import ExperimentConfig, ParallelConfig, Strategy
from rmjax.errors import UserError
from rmjax.evaluation.evaluate import evaluate
from studies.labeling_time import DECIDING, PROMPT, RESPONSE, ranking_seconds, rating_seconds
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


def left_in(folder):
    """When the preferences and each file of the checkpoints were last written, and what the steps were."""
    files = [*folder.glob("*.jsonl"), *(path for path in (folder / "run").rglob("*/*") if path.is_file())]
    assert len(files) > 10
    return {path: path.stat().st_mtime_ns for path in files}, (folder / "run" / "metrics.jsonl").read_text()


def test_a_model_is_trained_once_and_on_nothing_else(tmp_path):
    judged = [labeler("brevity").judge(record) for record in unjudged("brevity", count=40)]
    test = judged_truly(unjudged("brevity", count=4, responses=3, test=True))
    first, before = trained_on(judged, small(), tmp_path, test).rewards(test), left_in(tmp_path)
    for one, other in zip(first, trained_on(judged, small(), tmp_path, test).rewards(test), strict=True):
        np.testing.assert_array_equal(one, other)
    assert left_in(tmp_path) == before
    with pytest.raises(UserError, match=r"preferences\.jsonl: found other preferences .* another --workdir"):
        trained_on(judged[1:], small(), tmp_path, test)
    assert left_in(tmp_path) == before


def test_utilities_that_are_equal_but_for_rounding_are_equal():
    for record in unjudged("harmlessness", count=300, responses=4):
        for one, other in itertools.combinations(record.utilities, 2):
            assert one == other or abs(one - other) > 1e-6


def test_a_seed_gives_other_prompts_and_other_people():
    one, other = (unjudged("brevity", count=50, seed=seed) for seed in (0, 1))
    assert not {entry.prompt for entry in one} & {entry.prompt for entry in other}
    first, second = ([labeler("brevity", seed=seed, temperature=5.0).judge(entry) for entry in one] for seed in (0, 1))
    assert first != second


def test_labeling_time_reads_a_prompt_once():
    assert ranking_seconds(2) == pytest.approx(PROMPT + 2 * RESPONSE + DECIDING)
    assert 4 * rating_seconds(4) == pytest.approx(PROMPT + 4 * (RESPONSE + DECIDING))
    assert ranking_seconds(4) == pytest.approx(PROMPT + 4 * RESPONSE + 5 * DECIDING)  # log2(24) = 4.6 decisions


CODE = """
from studies.study import run_study

run_study(
    "noise",
    lambda study: study.add(steps=study.config.steps, accuracy=0.75),
    lambda rows: "\\n".join(str(sorted(row.items())) for row in rows).encode(),
    sets=("model.width",),
)
"""


def test_the_command_leaves_results_and_a_figure_and_draws_them_again(server, tmp_path):
    for name, value in (("model.width", "8"), ("data.train", "mine.jsonl")):
        refused = server.run("-c", CODE, f"--workdir={tmp_path}", f"--config.{name}={value}")
        assert refused.returncode == 2
        assert f"--config.{name} is given; right would be none" in refused.stderr
    refused = server.run("-c", CODE, f"--workdir={tmp_path}", "--config.stepz=3")
    assert refused.returncode == 2
    assert refused.stderr.startswith(
        "error: --config.stepz=3: the config has no such field; did you mean --config.steps?"
    )
    refused = server.run("-c", CODE, f"--workdir={tmp_path}", "--draw")
    said = f"--draw: there is no {tmp_path}/results.jsonl; right would be the --workdir of a study that has ended"
    assert (refused.returncode, refused.stderr) == (2, f"error: {said}\n")
    assert not list(tmp_path.iterdir())
    for more in ("--config.steps=7", "--draw"):
        done = server.run("-c", CODE, f"--workdir={tmp_path}", more)
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "figure.png").read_bytes() == b"[('accuracy', 0.75), ('steps', 7)]"
        (tmp_path / "figure.png").unlink()
        assert json.loads((tmp_path / "results.jsonl").read_text()) == {"steps": 7, "accuracy": 0.75}


@pytest.mark.parametrize("name", ["noise", "dimensions"])
def test_help_says_where_a_study_leaves_what_it_finds_and_which_flags_it_has(server, name):
    done = server.run("-m", f"studies.{name}", "--help")
    assert done.returncode == 0, done.stderr
    shown = " ".join(done.stdout.split())
    assert (
        f"--workdir: The folder of the study, for its runs, results.jsonl and figure.png. (default: 'runs/{name}')"
        in (shown)
    )
    assert f"--config: What the models are; experiments/{name}.py if not given." in shown
    assert "--[no]draw: Draw figure.png again from results.jsonl in the workdir" in shown
    assert ("--[no]hh: " in shown) == (name == "dimensions")
