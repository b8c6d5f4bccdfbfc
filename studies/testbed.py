"""Records of the synthetic testbed that nobody has judged yet, with any number of responses."""

import itertools

from rmjax.datasets.synthetic import ERROR_RATE, TEMPERATURE
from rmjax.datasets.synthetic_scenes import UTILITIES, Scene, make_scenes
from rmjax.labeling.simulated import SimulatedLabeler
from rmjax.preferences.record import Comparison, Preference, Source


def unjudged(
    dimension: str, *, count: int, responses: int = 2, seed: int = 0, test: bool = False
) -> tuple[Preference, ...]:
    """``count`` prompts whose responses all pairs are to be judged of, each with the same weight, one for a prompt.

    The same prompts and responses whatever the dimension. ``utilities`` are the true ones on it.
    """
    scenes = make_scenes(count=count, seed=seed, test=test, responses=responses)
    return tuple(_record(scene, dimension, f"scene {place}") for place, scene in enumerate(scenes))


def _record(scene: Scene, dimension: str, origin: str) -> Preference:
    pairs = list(itertools.combinations(range(len(scene.responses)), 2))
    return Preference(
        prompt=scene.prompt,
        responses=scene.responses,
        comparisons=tuple(Comparison(left=left, right=right, weight=1 / len(pairs)) for left, right in pairs),
        dimension=dimension,
        source=Source.SIMULATED,
        utilities=tuple(UTILITIES[dimension](latents) for latents in scene.latents),
        origin=origin,
    )


def labeler(dimension: str, *, temperature: float = TEMPERATURE, error_rate: float = ERROR_RATE) -> SimulatedLabeler:
    """A labeler as the testbed's data sets have them, where nothing else is asked for."""
    return SimulatedLabeler(dimension=dimension, temperature=temperature, error_rate=error_rate)
