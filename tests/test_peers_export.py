"""What transformers makes of an export: `make test-peers` runs this."""

import dataclasses
import json

import numpy as np
import pytest
from peers import needs, run_peer
from pretrained_folders import KINDS
from test_scoring_export import some_preferences
from test_training_pretrained import config_of
from untrained import untrained_config, write_run

from rmjax import RewardScorer
from rmjax.config import TuningConfig
from rmjax.evaluation.validation import make_evaluator
from rmjax.scoring.export import export
from rmjax.training.loop import train

pytestmark = needs()
TURNS = (
    [{"role": "system", "content": "seven bridges"}, {"role": "user", "content": "never asks why"}],
    [{"role": "user", "content": "why"}, {"role": "assistant", "content": "it"}, {"role": "user", "content": "rains?"}],
)


def assert_alike(scorer, folder, tmp_path, *, head=None):
    """Plain texts and messages have the same tokens and scores in transformers, alone and padded on either side."""
    asked = [(entry.prompt, response) for entry in some_preferences(1, 6) for response in entry.responses]
    asked += [(turns, answer) for turns in TURNS for answer in ("it rains", "never", "")]
    texts = [
        prompt + response if isinstance(prompt, str) else [*prompt, {"role": "assistant", "content": response}]
        for prompt, response in asked
    ]
    (tmp_path / "texts.json").write_text(json.dumps(texts))
    theirs = run_peer("peer_scores.py", str(folder), str(tmp_path / "texts.json"))
    found = [scorer.score(prompt, [response])[0] for prompt, response in asked]
    ours = [reward[head] if head else reward for reward in found]
    assert np.std(ours) > 0.003
    for way in ("alone", "left", "right"):
        np.testing.assert_allclose(theirs[way], ours, atol=1e-5)


@pytest.mark.parametrize(("heads", "head"), [((), None), (("a", "b"), "a"), (("a", "b"), "b")])
def test_a_model_from_scratch_has_the_same_scores(tmp_path, heads, head):
    workdir = write_run(tmp_path / "run", untrained_config(heads=heads))
    folder = export(workdir, tmp_path / "out", head=head)
    assert_alike(RewardScorer.from_workdir(workdir), folder, tmp_path, head=head)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rank", [0, 2])
def test_a_fine_tuned_model_has_the_same_scores(tmp_path, kind, rank):
    """With somebody else's tokenizer and chat template, whole or by adapters that are merged."""
    config = config_of(tmp_path, kind)
    config.text.max_prompt_tokens = 256  # transformers cuts no prompt
    config.optimizer.learning_rate, config.tuning = 0.05, TuningConfig(lora_rank=rank)
    train(dataclasses.replace(config, steps=6), tmp_path / "run", make_evaluator=make_evaluator)
    folder = export(tmp_path / "run", tmp_path / "out")
    assert_alike(RewardScorer.from_workdir(tmp_path / "run"), folder, tmp_path)
