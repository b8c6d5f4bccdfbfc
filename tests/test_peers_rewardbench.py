"""RewardBench's own loading, rendering and pipeline give an export our scores: `make test-peers` runs this."""

import json
from pathlib import Path

import numpy as np
import pytest
from peers import ENVIRONMENT, needs, run_peer
from untrained import random_text, untrained_config, write_run

from rmjax import RewardScorer
from rmjax.batches.contract import text_to_json
from rmjax.batches.template import RoleTemplate
from rmjax.batches.tokenizer import END_TOKEN, OWN_TOKENS
from rmjax.config import BatchConfig, TextConfig
from rmjax.preferences.record import Message
from rmjax.scoring.export import export

pytestmark = needs("rewardbench")


def random_pairs(seed, count):
    """RewardBench's rows: two whole conversations of one or two turns, which differ in the last message."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        roles = ("user", "assistant", "user")[: 1 + 2 * (number % 2)]
        prompt = [{"role": role, "content": random_text(rng, 9)} for role in roles]
        replies = ({"role": "assistant", "content": random_text(rng, 9)} for _ in range(2))
        rows.append(dict(zip(("chosen", "rejected"), ([*prompt, reply] for reply in replies), strict=True)))
    return rows


@pytest.mark.parametrize("beginning", ["", END_TOKEN])
def test_its_scores_and_tokens_are_ours(tmp_path, beginning):
    """With a token that begins conversations, too: it renders the template, which has that token, and tokenizes the
    text with special tokens, which must not add another."""
    text = TextConfig(vocabulary_size=300, max_prompt_tokens=200, max_response_tokens=40)  # theirs cuts no prompt
    workdir = write_run(tmp_path / "run", untrained_config(text=text, batch=BatchConfig(row_length=512, rows=4)))
    Path(workdir, "template.json").write_text(text_to_json(RoleTemplate(beginning=beginning), OWN_TOKENS))
    rows = random_pairs(0, 20)
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    folder = export(workdir, tmp_path / "exported")
    given = str(ENVIRONMENT / "rewardbench"), str(folder), str(tmp_path / "pairs.jsonl")
    theirs = run_peer("peer_rewardbench.py", *given)
    scorer = RewardScorer.from_workdir(workdir)
    for side in ("chosen", "rejected"):
        asked = [(row[side][:-1], [row[side][-1:]]) for row in rows]
        expected = [scorer.score(*pair)[0] for pair in asked]
        assert np.std(expected) > 1e-3
        np.testing.assert_allclose(theirs["scores"][side], expected, rtol=0, atol=1e-5)
    for row, tokens in zip(rows, theirs["tokens"]["chosen"], strict=True):
        rendered = scorer.contract.template.render_turns([Message(**turn) for turn in row["chosen"]])
        assert tokens == [scorer.contract.tokenizer.token_to_id(END_TOKEN)] * bool(beginning) + [
            *scorer.contract.tokenizer.encode(rendered, add_special_tokens=False).ids,
            scorer.contract.tokenizer.token_to_id(END_TOKEN),
        ]
