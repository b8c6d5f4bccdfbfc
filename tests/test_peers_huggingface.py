"""Models of every architecture with fresh weights, made and computed by transformers now: `make test-peers` runs this.

The golden ones of tests/test_models_huggingface.py are the same comparison without torch.
"""

import subprocess
from pathlib import Path

import numpy as np
import pytest
from test_models_huggingface import GOLDEN, REWARD_MODELS, compare_hidden_states, compare_rewards, expected_of

from rmjax.models.attention_choice import ANYWHERE

ROOT = Path(__file__).parents[1]
PEERS = ROOT / ".venv-peers" / "bin" / "python"
SEED = 1
pytestmark = pytest.mark.skipif(not PEERS.exists(), reason="no .venv-peers: `make test-peers` makes it and runs this")


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    folder = tmp_path_factory.mktemp("huggingface")
    command = [str(PEERS), str(ROOT / "tests" / "golden" / "make_huggingface.py"), str(folder), str(SEED)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_there_is_a_fresh_model_of_every_architecture(fresh):
    assert sorted(path.parent.name for path in fresh.glob("*/expected.npz")) == REWARD_MODELS
    for name in REWARD_MODELS:
        assert not np.array_equal(expected_of(fresh / name)[2], expected_of(GOLDEN / name)[2])


@pytest.mark.parametrize("name", REWARD_MODELS)
def test_hidden_states_are_those_of_transformers(fresh, name):
    compare_hidden_states(fresh / name)


@pytest.mark.parametrize("name", REWARD_MODELS)
@pytest.mark.parametrize("kind", ANYWHERE, ids=lambda kind: kind.value)
def test_rewards_are_those_of_transformers_alone_and_beside_others(fresh, name, kind):
    compare_rewards(fresh / name, ANYWHERE[kind])
