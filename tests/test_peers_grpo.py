"""TRL's GRPOTrainer with our reward from a running server, and a server that ends meanwhile: `make test-peers`."""

import json
import threading
import time

import numpy as np
import pytest
from live_server import live
from peers import ROOT, needs, run_peer
from untrained import random_text, untrained_config, write_run

from rmjax import RewardScorer, reward_function
from rmjax.batches.limits import ResponseTooLongError
from rmjax.scoring.export import export

pytestmark = needs()


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("run"), untrained_config())


def alone(scorer, prompt, completion):
    """The reward of one completion by itself; None where it is too long for the model."""
    try:
        return scorer.score(prompt, [completion])[0]
    except ResponseTooLongError:
        return None


@pytest.mark.parametrize("messages", [False, True])
def test_grpo_trains_on_the_rewards_of_a_server(tmp_path, workdir, messages):
    rng = np.random.default_rng(0)
    texts = [random_text(rng, 9) for _ in range(8)]
    prompts = [[{"role": "user", "content": text}] for text in texts] if messages else texts
    (tmp_path / "prompts.json").write_text(json.dumps(prompts))
    tokenizer = export(workdir, tmp_path / "exported")
    with live(workdir) as url:
        given = url, str(tokenizer), str(tmp_path / "trained"), str(tmp_path / "prompts.json")
        found = run_peer("peer_grpo.py", *given, path=(ROOT,))
    assert found["steps"] == len(found["calls"]) == len(found["logged"]) == 3
    scorer = RewardScorer.from_workdir(workdir)
    for call, logged in zip(found["calls"], found["logged"], strict=True):
        expected = [alone(scorer, *pair) for pair in zip(call["prompts"], call["completions"], strict=True)]
        scored = [reward for reward in expected if reward is not None]
        assert len(expected) == 8
        assert len(scored) > 1
        assert np.std(scored) > 1e-3
        # None becomes NaN, which is where NaN is expected.
        np.testing.assert_allclose(np.array(call["rewards"], float), np.array(expected, float), rtol=0, atol=1e-5)
        assert logged["rewards/helpfulness/mean"] == pytest.approx(np.mean(scored), abs=1e-5)
        assert logged["helpfulness/too_long"] == expected.count(None)
    assert any(None in call["rewards"] for call in found["calls"])


def test_a_server_that_is_killed_and_started_again_loses_nothing(workdir):
    """Fifty calls go on while the server is killed in the middle of them and started again on the same port."""
    rng = np.random.default_rng(1)
    prompts = [random_text(rng, 9) for _ in range(50)]
    completions = [" " + random_text(rng, 9) for _ in prompts]
    found: list[list[float | None]] = []

    def ask(url):
        reward = reward_function(url)
        found.extend(reward([prompt], [text]) for prompt, text in zip(prompts, completions, strict=True))

    with live(workdir) as url:
        asking = threading.Thread(target=ask, args=(url,))
        asking.start()
        while len(found) < 5:
            time.sleep(0.005)
    assert len(found) < 50
    with live(workdir, port=int(url.rpartition(":")[2])):
        asking.join(timeout=120)
    scorer = RewardScorer.from_workdir(workdir)
    expected = [scorer.score(prompt, [text])[0] for prompt, text in zip(prompts, completions, strict=True)]
    assert [reward for (reward,) in found] == pytest.approx(expected, rel=0, abs=1e-5)
