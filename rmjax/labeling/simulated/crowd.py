"""Several simulated people, each with a way of judging of their own."""

import dataclasses
import math
from dataclasses import dataclass

import numpy as np

from rmjax.labeling.simulated.labeler import SimulatedLabeler, chance
from rmjax.preferences.record import Preference, Source


@dataclass(frozen=True, kw_only=True)
class SimulatedCrowd:
    """Each pair is judged by some of the labelers, drawn from the seed, the dimension and the texts.

    A pair becomes as many comparisons, each with its annotator, that share the pair's weight.

    Attributes:
      labelers: of one dimension, each with a name as ``annotator``.
      per_pair: how many of them judge a pair.
      seed: of who judges what.
    """

    labelers: tuple[SimulatedLabeler, ...]
    per_pair: int = 1
    seed: int = 0

    def __post_init__(self):
        names = [labeler.annotator for labeler in self.labelers]
        if not names or None in names or len(set(names)) < len(names):
            raise ValueError(f"labelers are named {names}; each must have an annotator's name of its own")
        dimensions = sorted({labeler.dimension for labeler in self.labelers})
        if len(dimensions) > 1:
            raise ValueError(f"labelers judge {', '.join(dimensions)}; all must judge one dimension")
        if not 1 <= self.per_pair <= len(names):
            raise ValueError(f"per_pair is {self.per_pair}; it must be from 1 to {len(names)}, the number of labelers")

    @property
    def dimension(self) -> str:
        return self.labelers[0].dimension

    @property
    def source(self) -> Source:
        return Source.SIMULATED

    def judge(self, preference: Preference) -> Preference:
        """The same pairs, each judged by ``per_pair`` labelers; ValueError as ``SimulatedLabeler.judge``."""
        rng = chance(self.seed, self.dimension, "crowd", preference.prompt, preference.responses)
        judged = [labeler.judge(preference).comparisons for labeler in self.labelers]
        comparisons = [
            dataclasses.replace(judged[who][place], weight=old.weight / self.per_pair)
            for place, old in enumerate(preference.comparisons)
            for who in sorted(rng.permutation(len(self.labelers))[: self.per_pair].tolist())
        ]
        return dataclasses.replace(preference, comparisons=tuple(comparisons), source=self.source)


def simulated_crowd(
    base: SimulatedLabeler,
    *,
    count: int,
    per_pair: int = 1,
    temperature_spread: float = 0.0,
    position_spread: float = 0.0,
    length_spread: float = 0.0,
    seed: int = 0,
) -> SimulatedCrowd:
    """People around a labeler: of each, what makes them differ is drawn once, from the seed.

    Args:
      base: what they have in common; its ``taste`` is that of each, but the offsets are each one's own.
      count: how many they are, named ``annotator_0`` and so on.
      per_pair: how many of them judge a pair.
      temperature_spread: the standard deviation of the logarithm of their temperatures, whose median is the base's.
      position_spread: of their position biases around the base's, in logits.
      length_spread: of their length biases around the base's.
      seed: of all draws; equal seeds give equal people, and people of different seeds are different ones.

    ValueError for a spread below 0 and for what ``SimulatedCrowd`` refuses.
    """
    spreads = np.array([temperature_spread, position_spread, length_spread])
    if not np.all((spreads >= 0) & np.isfinite(spreads)):
        raise ValueError(f"spreads are {spreads.tolist()}; they must be finite numbers of at least 0")
    labelers = []
    for number in range(count):
        rng = chance(seed, "annotator", number)
        temperature, position, length = (rng.standard_normal(3) * spreads).tolist()
        labelers.append(
            dataclasses.replace(
                base,
                temperature=base.temperature * math.exp(temperature),
                position_bias=base.position_bias + position,
                length_bias=base.length_bias + length,
                annotator=f"annotator_{number}",
                seed=int(rng.integers(2**63)),
            )
        )
    return SimulatedCrowd(labelers=tuple(labelers), per_pair=per_pair, seed=seed)
