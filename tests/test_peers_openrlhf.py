"""OpenRLHF's client code gets its rewards from a running server: `make test-peers` runs this."""

import json

import numpy as np
import pytest
from live_server import live
from peers import ENVIRONMENT, needs, run_peer
from untrained import random_text, untrained_config, write_run

from rmjax import RewardScorer
from rmjax.scoring.export import export

pytestmark = needs("openrlhf")


@pytest.mark.parametrize("path", ["", "/get_reward"])
def test_rollouts_get_the_rewards_of_their_responses(tmp_path, path):
    """The query ends in the policy's end token, spelled out; here it is the reward model's too."""
    workdir = write_run(tmp_path / "run", untrained_config())
    rng = np.random.default_rng(0)
    pairs = [(random_text(rng, 9), " " + random_text(rng, 9)) for _ in range(12)]
    (tmp_path / "pairs.json").write_text(json.dumps(pairs))
    tokenizer = export(workdir, tmp_path / "exported")
    with live(workdir) as url:
        (tmp_path / "urls.json").write_text(json.dumps([url + path]))
        given = str(ENVIRONMENT / "openrlhf"), str(tmp_path / "urls.json"), str(tokenizer), str(tmp_path / "pairs.json")
        found = run_peer("peer_openrlhf.py", *given)
    scorer = RewardScorer.from_workdir(workdir)
    expected = [scorer.score(prompt, [response])[0] for prompt, response in pairs]
    assert np.std(expected) > 1e-3
    # A server's answer is a list for each query of a request, of which a rollout has one.
    assert [entry["reward"] for entry in found] == [[pytest.approx(reward, abs=1e-5)] for reward in expected]
    assert all(entry["scores"] == entry["reward"] for entry in found)
