import dataclasses

import pytest
from tokenized_data import random_tokenized


@pytest.mark.parametrize("seed", range(3))
def test_the_digest_is_that_of_all_that_is_learned_from(seed):
    tokenized = random_tokenized(seed)
    assert tokenized.digest() == random_tokenized(seed).digest()
    assert tokenized.digest() != random_tokenized(seed + 1).digest()
    for name in ("tokens", "left", "right", "head", "probability", "margin", "weight"):
        changed = getattr(tokenized, name).copy()
        changed[-1] += 1
        assert dataclasses.replace(tokenized, **{name: changed}).digest() != tokenized.digest(), name
    elsewhere = {"response_origin": tokenized.response_origin + 1, "cut_prompts": 7}  # how it is found, not what it is
    assert dataclasses.replace(tokenized, **elsewhere).digest() == tokenized.digest()
