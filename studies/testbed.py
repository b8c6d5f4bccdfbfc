"""Records of the synthetic testbed that nobody has judged yet, with any number of responses."""

import dataclasses
import itertools
from collections.abc import Sequence

from rmjax.datasets.synthetic import ERROR_RATE, TEMPERATURE
from rmjax.datasets.synthetic_scenes import UTILITIES, Scene, make_scenes
from rmjax.labeling.simulated.labeler import SimulatedLabeler, true_utilities
from rmjax.preferences.record import Comparison, Preference, Source


def unjudged(
    dimension: str, *, count: int, responses: int = 2, seed: int = 0, test: bool = False, every_pair: bool = True
) -> tuple[Preference, ...]:
    """``count`` prompts whose responses all pairs are to be judged of, each with the same weight, one for a prompt.

    The same prompts and responses whatever the dimension. ``utilities`` are the true ones on it, to 9 digits after the
    point, so that those that are equal but for rounding are equal. Without ``every_pair`` only the first two responses
    are to be compared, as where many are there to be scored.
    """
    scenes = make_scenes(count=count, seed=seed, test=test, responses=responses)
    compared = responses if every_pair else 2
    return tuple(_record(scene, dimension, compared, f"scene {place}") for place, scene in enumerate(scenes))


def judged_truly(preferences: Sequence[Preference]) -> tuple[Preference, ...]:
    """The same pairs, of which the response of the higher true utility is preferred for certain, and neither of equal
    ones: what accuracy against the truth is measured on."""
    return compared_by(preferences, [true_utilities(entry, entry.dimension) for entry in preferences])


def compared_by(preferences: Sequence[Preference], values: Sequence[Sequence[float]]) -> tuple[Preference, ...]:
    """The pairs labeled by which response has the higher value; a tie where they are equal."""
    return tuple(
        dataclasses.replace(
            entry,
            comparisons=tuple(
                dataclasses.replace(pair, probability=0.5 + 0.5 * sign(own[pair.left] - own[pair.right]))
                for pair in entry.comparisons
            ),
        )
        for entry, own in zip(preferences, values, strict=True)
    )


def sign(value: float) -> int:
    """1, 0 or -1."""
    return (value > 0) - (value < 0)


def _record(scene: Scene, dimension: str, compared: int, origin: str) -> Preference:
    pairs = list(itertools.combinations(range(compared), 2))
    return Preference(
        prompt=scene.prompt,
        responses=scene.responses,
        comparisons=tuple(Comparison(left=left, right=right, weight=1 / len(pairs)) for left, right in pairs),
        dimension=dimension,
        source=Source.SIMULATED,
        utilities=tuple(round(UTILITIES[dimension](latents), 9) for latents in scene.latents),
        origin=origin,
    )


def labeler(
    dimension: str, *, temperature: float = TEMPERATURE, error_rate: float = ERROR_RATE, seed: int = 0
) -> SimulatedLabeler:
    """A labeler as the testbed's data sets have them, where nothing else is asked for."""
    return SimulatedLabeler(dimension=dimension, temperature=temperature, error_rate=error_rate, seed=seed)
