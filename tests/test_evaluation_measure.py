"""What evaluation joins to the comparisons, and what it doesn't claim."""

import numpy as np
import pytest
from untrained import untrained_config, untrained_contract

from rmjax.batches.tokenize import tokenize
from rmjax.evaluation.measure import JudgedPairs, judged_pairs, measure, whole_pairs
from rmjax.preferences.record import Comparison, Preference, Source


@pytest.mark.parametrize(("dimensions", "known"), [(("a", "a"), True), (("a", "b"), False)])
def test_utilities_of_several_dimensions_are_not_compared(dimensions: tuple[str, ...], known: bool):
    random = np.random.default_rng(0)
    preferences = [
        Preference(
            prompt=f"q{number}",
            responses=(" a", " b"),
            comparisons=(Comparison(left=0, right=1),),
            dimension=dimensions[number % 2],
            source=Source.SIMULATED,
            utilities=tuple(random.normal(size=2)),
        )
        for number in range(20)
    ]
    tokenized = tokenize(preferences, untrained_contract(untrained_config()))
    rewards = random.normal(size=(40, 1)).astype(np.float32)
    assert ("spearman" in measure(rewards, judged_pairs(tokenized, preferences)).numbers) == known


def test_pairs_of_whole_records_are_those_that_tokenizing_keeps():
    """Of records of different sizes, one of them without comparisons of its last response."""
    random = np.random.default_rng(1)
    preferences = [
        Preference(
            prompt=f"q{number % 3}",
            responses=tuple(f" {'a' * (place + 1)}" for place in range(size)),
            comparisons=tuple(
                Comparison(left=left, right=right, probability=random.random())
                for left, right in ((1, 0), (0, size - 1), (1, size - 2))
                if left != right
            ),
            dimension="a",
            source=Source.SIMULATED,
            utilities=tuple(random.normal(size=size)),
        )
        for number, size in enumerate((4, 3, 5, 2))
    ]
    there = judged_pairs(tokenize(preferences, untrained_contract(untrained_config())), preferences)
    here = whole_pairs(preferences)
    for name in JudgedPairs.__slots__:
        np.testing.assert_array_equal(getattr(here, name), getattr(there, name), err_msg=name)
    assert here.on_head(3).head.tolist() == [3] * len(here.left)
