import dataclasses

import numpy as np
import pytest
from tokenized_data import random_tokenized

from rmjax.batches.tokenized import TokenizedPreferences, shared_prefix_lengths


def slow_prefix(conversations) -> int:
    length = 0
    while (
        length < min(map(len, conversations)) - 1
        and len({tuple(tokens[: length + 1]) for tokens in conversations}) == 1
    ):
        length += 1
    return length


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("vocabulary", [1, 2, 5])
def test_the_prefix_is_the_longest_that_all_share_and_leaves_each_a_token(seed, vocabulary):
    tokenized = random_tokenized(seed, vocabulary=vocabulary)
    found = shared_prefix_lengths(tokenized)
    for group, prefix in enumerate(found):
        members = range(*tokenized.group_offsets[group : group + 2])
        assert prefix == slow_prefix([tokenized.conversation(response).tolist() for response in members])


def test_one_response_alone_keeps_its_end_token_as_its_own():
    tokenized = random_tokenized(0, groups=1, most_responses=2)
    alone = TokenizedPreferences(
        tokens=tokenized.conversation(0),
        response_offsets=np.array([0, len(tokenized.conversation(0))]),
        group_offsets=np.array([0, 1]),
        comparison_offsets=np.array([0, 0]),
        left=np.zeros(0, np.int64),
        right=np.zeros(0, np.int64),
        head=np.zeros(0, np.int32),
        probability=np.zeros(0, np.float32),
        margin=np.zeros(0, np.float32),
        weight=np.zeros(0, np.float32),
        response_origin=np.zeros((1, 2), np.int32),
        comparison_origin=np.zeros((0, 2), np.int32),
    )
    assert shared_prefix_lengths(alone).tolist() == [len(tokenized.conversation(0)) - 1]


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
