"""What evaluation joins to the comparisons, and what it doesn't claim."""

import numpy as np
import pytest
from untrained import untrained_config, untrained_contract

from rmjax.batches.tokenize import tokenize
from rmjax.evaluation.measure import judged_pairs, measure
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
