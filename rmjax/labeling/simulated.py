"""Labelers who know the true utilities and err as people do: Bradley-Terry, with a share of plain mistakes."""

import dataclasses
import hashlib
import math
from dataclasses import dataclass

import numpy as np

from rmjax.preferences.record import Comparison, Preference, Source


@dataclass(frozen=True, kw_only=True)
class SimulatedLabeler:
    """Prefers left with probability (1-e) s + e (1-s), where s = sigmoid((u_left - u_right) / temperature).

    s is the model of Bradley and Terry (1952); with probability e, the error rate, the labeler marks the wrong box
    (the label noise of "label smoothing"), so no pair is ever certain.

    Attributes:
      dimension: what is judged; the utilities of a record must be those of this dimension.
      temperature: in units of utility; high: the labelers hardly see the difference.
      error_rate: in [0, 0.5).
      seed: labelers with different seeds are different people, who draw independently.
    """

    dimension: str
    temperature: float
    error_rate: float
    seed: int = 0

    def __post_init__(self):
        if not 0 < self.temperature < math.inf:
            raise ValueError(f"temperature is {self.temperature}; it must be a finite number above 0")
        if not 0 <= self.error_rate < 0.5:
            raise ValueError(f"error_rate is {self.error_rate}; it must be in [0, 0.5)")

    @property
    def source(self) -> Source:
        return Source.SIMULATED

    def probability(self, utility_left: float, utility_right: float) -> float:
        """The probability that this labeler prefers left."""
        difference = (utility_left - utility_right) / self.temperature
        # tanh never overflows, whatever the difference
        agreed = 0.5 * (1 + math.tanh(0.5 * difference))
        return (1 - self.error_rate) * agreed + self.error_rate * (1 - agreed)

    def draw(self, rng: np.random.Generator, utility_left: float, utility_right: float) -> float:
        """One judgment: 1.0 for left or 0.0 for right."""
        return float(rng.random() < self.probability(utility_left, utility_right))

    def judge(self, preference: Preference) -> Preference:
        """The same pairs judged by this labeler; ValueError when the record holds no utilities of this dimension.

        The draw is a function of the seed, the dimension and the texts, so neither the order of the records nor what
        else was judged changes it.
        """
        utilities = preference.utilities
        if utilities is None or preference.dimension != self.dimension:
            found = "none" if utilities is None else f"those of {preference.dimension}"
            raise ValueError(
                f"{preference.origin}: a simulated labeler of {self.dimension} needs the true utilities of the "
                f"responses on {self.dimension}; found {found}"
            )
        rng = self._chance_for(preference)
        comparisons = tuple(
            Comparison(
                left=old.left,
                right=old.right,
                probability=self.draw(rng, utilities[old.left], utilities[old.right]),
                weight=old.weight,
                true_probability=self.probability(utilities[old.left], utilities[old.right]),
            )
            for old in preference.comparisons
        )
        return dataclasses.replace(preference, comparisons=comparisons, source=self.source)

    def _chance_for(self, preference: Preference) -> np.random.Generator:
        said = repr((self.seed, self.dimension, preference.prompt, preference.responses))
        digest = hashlib.sha256(said.encode("utf-8", "surrogatepass")).digest()
        return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "little")))
