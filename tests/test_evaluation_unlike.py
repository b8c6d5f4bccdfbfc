"""An ensemble is less sure of prompts that are unlike those that it was trained on than of held-out ones."""

import numpy as np

from benchmarks.unlike import Ensembles, pairs, with_random_characters


def test_the_spread_is_larger_on_prompts_that_are_unlike_those_of_training():
    """By a fifth at least, at every seed, of a model that tells better from worse on held-out prompts."""
    held_out = pairs(60, test=True)
    unlike = [with_random_characters(entry) for entry in held_out]
    ensembles = Ensembles(pairs(500, test=False), rows=2, members=32, scale=5.0, centering=0.5)
    ratios, accuracies = [], []
    for seed in range(3):
        params = ensembles.params(seed)
        alike = ensembles.apart(params, held_out)
        ratios.append(ensembles.apart(params, unlike).spread / alike.spread)
        accuracies.append(alike.accuracy)
        assert alike.deviation > 0.01
    assert min(ratios) > 1.2, ratios
    assert np.mean(accuracies) > 0.6, accuracies
