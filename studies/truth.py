"""Pairs of the testbed labeled with how likely a labeler's judgment is, in the place of one judgment."""

import dataclasses
from collections.abc import Iterable

from rmjax.labeling.simulated.labeler import SimulatedLabeler
from rmjax.preferences.record import Comparison, Preference


def with_truth(preferences: Iterable[Preference], judge: SimulatedLabeler) -> tuple[Preference, ...]:
    """The pairs labeled with the probability that this labeler prefers left.

    To learn from, they are what the shares of ever more such labelers' votes come to; to measure by, they say which
    response is better and leave nothing of the labels to chance.
    """
    found = map(judge.judge, preferences)
    return tuple(
        dataclasses.replace(entry, comparisons=tuple(_likely(old) for old in entry.comparisons)) for entry in found
    )


def _likely(judged: Comparison) -> Comparison:
    assert judged.true_probability is not None, "a simulated labeler knows it"
    return dataclasses.replace(judged, probability=judged.true_probability)
