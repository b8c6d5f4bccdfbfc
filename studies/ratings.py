"""People of the testbed who rate and who compare: the same eyes, each with a rating scale of their own."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from rmjax.datasets.synthetic import TEMPERATURE
from rmjax.labeling.simulated.labeler import chance, true_utilities
from rmjax.labeling.simulated.rating import SimulatedRater, simulated_raters
from rmjax.preferences.record import Preference
from studies.testbed import sign

# What two responses' utilities are seen as differs, by the model of Bradley and Terry, from what they are by a logistic
# error: the difference of two independent errors, one for each response, with this standard deviation.
EYES = TEMPERATURE * math.pi / math.sqrt(6)


def raters(dimension: str, *, count: int, spread: float, seed: int = 0) -> tuple[SimulatedRater, ...]:
    """People who see a response as a labeler at the testbed's temperature does, and rate it.

    Args:
      dimension: what they rate.
      count: how many they are.
      spread: of their offsets, in points; a third of it is that of the logarithm of their scales, whose median is
        a point for a unit of utility. 0: they all have one scale.
      seed: of who they are; the same people have more pronounced scales at a larger spread.
    """
    people = simulated_raters(
        dimension=dimension, count=count, scale=1.0, scale_spread=spread / 3, offset_spread=spread, seed=seed
    )
    return tuple(dataclasses.replace(rater, noise=EYES * rater.scale) for rater in people)


def assigned(people: Sequence[SimulatedRater], preference: Preference, *, alone: bool) -> tuple[SimulatedRater, ...]:
    """Who rates each response of the prompt, by lot: one person all of them, or each another one."""
    lot = chance("who rates", preference.prompt).permutation(len(people))
    return tuple(people[lot[0 if alone else place]] for place in range(len(preference.responses)))


def rated(people: Sequence[SimulatedRater], preferences: Sequence[Preference], *, alone: bool) -> list[list[float]]:
    """The rating of each response of each record, by those who are ``assigned``."""
    return [
        [float(rater.rate(entry)[place]) for place, rater in enumerate(assigned(people, entry, alone=alone))]
        for entry in preferences
    ]


def standardized(
    people: Sequence[SimulatedRater],
    preferences: Sequence[Preference],
    ratings: Sequence[Sequence[float]],
    *,
    alone: bool,
) -> list[list[float]]:
    """Each rating less the mean of all that its rater gave, by their standard deviation.

    0 for a rater who gave all responses one number, so that the other rater of a pair decides.
    """
    names = [[rater.annotator for rater in assigned(people, entry, alone=alone)] for entry in preferences]
    given: dict[str | None, list[float]] = {}
    for own_names, own in zip(names, ratings, strict=True):
        for name, value in zip(own_names, own, strict=True):
            given.setdefault(name, []).append(value)
    scales = {name: (float(np.mean(values)), float(np.std(values))) for name, values in given.items()}
    return [
        [(value - scales[name][0]) / (scales[name][1] or 1.0) for name, value in zip(own_names, own, strict=True)]
        for own_names, own in zip(names, ratings, strict=True)
    ]


def label_quality(preferences: Sequence[Preference]) -> Mapping[str, float]:
    """What the labels are worth, on pairs whose true utilities differ: ``ties``, the share labeled so, and ``right``,
    the share labeled with the truly better response, a tie as half of it."""
    agreed = []
    for entry in preferences:
        utilities = true_utilities(entry, entry.dimension)
        for pair in entry.comparisons:
            truth = sign(utilities[pair.left] - utilities[pair.right])
            if truth:
                agreed.append(truth * (pair.probability - 0.5))
    found = np.array(agreed)
    return {"ties": float(np.mean(found == 0)), "right": float(0.5 + np.mean(found))}
