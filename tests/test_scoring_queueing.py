"""How much text a call is counted to bring."""

import json

import numpy as np
import pytest
from untrained import random_text

from rmjax.scoring.queueing import text_bytes
from rmjax.scoring.rows import parse_request


@pytest.mark.parametrize("seed", range(3))
def test_the_bytes_of_a_call_for_one_response_are_no_more_than_those_of_its_json(seed):
    rng = np.random.default_rng(seed)
    for _ in range(50):
        text = [random_text(rng, 9) * int(rng.integers(0, 3)) for _ in range(4)]
        user, assistant = {"role": "user", "content": text[0] + "ü"}, {"role": "assistant", "content": text[1]}
        for row in (
            {"prompt": text[2] + "漢", "response": text[3]},
            {"prompt": [user], "response": text[3]},
            {"prompt": [user, assistant, user], "responses": [[assistant]]},
            {"messages": [user, assistant]},
        ):
            sent = json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode()
            assert 0 < text_bytes([parse_request(row, origin="test")]) <= len(sent)
