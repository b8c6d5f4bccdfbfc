"""What conversations of a group begin with alike, of every choice of them."""

import itertools

import numpy as np
import pytest
from tokenized_data import random_tokenized

from rmjax.batches.lengths import measure


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
def test_what_is_shared_is_the_longest_prefix_and_leaves_each_response_a_token(seed, vocabulary):
    tokenized = random_tokenized(seed, groups=12, vocabulary=vocabulary)
    lengths = measure(tokenized)
    for group, whole_group in enumerate(lengths.prefix):
        members = range(*tokenized.group_offsets[group : group + 2])
        conversations = {response: tokenized.conversation(response).tolist() for response in members}
        assert whole_group == slow_prefix(list(conversations.values()))
        for count in range(2, len(members) + 1):
            for chosen in itertools.combinations(members, count):
                places = lengths.place[list(chosen)]
                (found,) = lengths.shared(places[[places.argmin()]], places[[places.argmax()]])
                assert found == slow_prefix([conversations[response] for response in chosen])
    assert (lengths.own >= 1).all()
    assert sorted(lengths.place) == list(range(tokenized.responses))


def test_one_response_shares_nothing():
    lengths = measure(random_tokenized(0, groups=3))
    assert lengths.shared(np.arange(3), np.arange(3)).tolist() == [0, 0, 0]
