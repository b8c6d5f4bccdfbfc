"""What PEFT makes of an adapter of ours, and ours of one of PEFT's: `make test-peers` runs this."""

import json

import numpy as np
import pytest
from peers import needs, run_peer
from test_models_huggingface import GOLDEN, expected_of
from test_models_peft_format import CASES, adapted, rewards_of, written

from rmjax.models.huggingface import HuggingFaceModel
from rmjax.models.lora import merged
from rmjax.models.peft_format import PeftAdapter

pytestmark = needs()


def scores_of_peft(how, name, folder, rows, tmp_path, *more):
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    return run_peer("peer_peft.py", how, str(GOLDEN / name), str(folder), str(tmp_path / "rows.json"), *more)


def rows_of(name):
    return expected_of(GOLDEN / name.removesuffix("_lm"))[0]


@pytest.mark.parametrize(("name", "targets"), CASES)
def test_peft_gives_the_scores_of_an_adapter_that_was_written_here(name, targets, tmp_path):
    _, model, params = written(tmp_path / "adapter", name, targets)
    ours = rewards_of(model, params, rows_of(name))
    assert ours.std() > 0.01
    theirs = scores_of_peft("read", name, tmp_path / "adapter", rows_of(name), tmp_path)
    np.testing.assert_allclose(theirs, ours, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "targets"),
    [("llama3_lm", "q_proj,v_proj"), ("gemma2", "q_proj,o_proj,gate_proj,up_proj,down_proj"), ("gpt2", "mlp.c_proj")],
)
def test_an_adapter_of_peft_gives_the_same_scores_here(name, targets, tmp_path):
    theirs = scores_of_peft("make", name, tmp_path / "adapter", rows_of(name), tmp_path, targets)
    adapter = PeftAdapter(tmp_path / "adapter", HuggingFaceModel(GOLDEN / name).theirs["model_type"])
    assert adapter.base == str(GOLDEN / name)
    assert (adapter.adapters.rank, adapter.adapters.alpha) == (3, 5.0)
    assert adapter.has_reward_head
    model, template, fresh = adapted(name, adapter.adapters)
    params = adapter.onto(fresh, template)
    ours = rewards_of(model, params, rows_of(name))
    assert ours.std() > 0.01
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    plain = adapted(name, None)[0]
    np.testing.assert_allclose(rewards_of(plain, merged(params, adapter.adapters), rows_of(name)), theirs, atol=1e-5)
