"""What transformers makes of an export: `make test-peers` runs this."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from test_scoring_export import some_preferences
from untrained import untrained_config, write_run

from rmjax import RewardScorer
from rmjax.preferences.record import Message
from rmjax.scoring.export import export

ROOT = Path(__file__).parents[1]
PEERS = ROOT / ".venv-peers" / "bin" / "python"
pytestmark = pytest.mark.skipif(not PEERS.exists(), reason="no .venv-peers: `make test-peers` makes it and runs this")


def scores_of_transformers(folder, texts, tmp_path):
    (tmp_path / "texts.json").write_text(json.dumps(texts))
    command = [str(PEERS), str(ROOT / "tests" / "peer_scores.py"), str(folder), str(tmp_path / "texts.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={"PATH": os.environ["PATH"]})
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(("heads", "head"), [((), None), (("a", "b"), "b")])
def test_transformers_gives_the_same_scores(tmp_path, heads, head):
    workdir = write_run(tmp_path / "run", untrained_config(heads=heads))
    folder = export(workdir, tmp_path / "out", head=head)
    scorer = RewardScorer.from_workdir(workdir)
    pairs = [(entry.prompt, response) for entry in some_preferences(1, 8) for response in entry.responses]
    theirs = scores_of_transformers(folder, [prompt + response for prompt, response in pairs], tmp_path)
    found = [scorer.score(prompt, [response])[0] for prompt, response in pairs]
    ours = [reward[head] if head else reward for reward in found]
    assert np.std(ours) > 0.01
    np.testing.assert_allclose(theirs["alone"], ours, atol=1e-5)
    np.testing.assert_allclose(theirs["padded"], ours, atol=1e-5)


def test_messages_are_rendered_alike(tmp_path):
    workdir = write_run(tmp_path / "run", untrained_config())
    folder = export(workdir, tmp_path / "out")
    scorer = RewardScorer.from_workdir(workdir)
    prompt = (Message(role="system", content="seven bridges"), Message(role="user", content="never asks why"))
    answer = (Message(role="assistant", content="it rains"),)
    turns = [{"role": turn.role, "content": turn.content} for turn in (*prompt, *answer)]
    theirs = scores_of_transformers(folder, [turns], tmp_path)
    np.testing.assert_allclose(theirs["alone"], scorer.score(prompt, [answer]), atol=1e-5)
