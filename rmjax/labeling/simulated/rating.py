"""Simulated people who rate responses one by one, from 1 to 7, each on a scale of their own."""

import math
from dataclasses import dataclass

from rmjax.labeling.simulated.labeler import chance, true_utilities
from rmjax.preferences.record import Preference, Text

LOWEST, HIGHEST = 1, 7
_MIDDLE = (LOWEST + HIGHEST) / 2


@dataclass(frozen=True, kw_only=True)
class SimulatedRater:
    """Rates a response 4 + offset + scale (u - center) + noise z, rounded to a whole number from 1 to 7; z is normal.

    Two raters who see the same may so give different numbers, which comparisons of two responses don't show.

    Attributes:
      dimension: what is rated; the utilities of a record must be those of this dimension.
      scale: points for a unit of utility.
      offset: points; a generous rater has one above 0.
      noise: the standard deviation of what is left to chance, in points.
      center: the utility that a rater without offset rates 4.
      annotator: the rater's name.
      seed: raters with different seeds draw independently.
    """

    dimension: str
    scale: float
    offset: float = 0.0
    noise: float = 0.0
    center: float = 0.0
    annotator: str | None = None
    seed: int = 0

    def __post_init__(self):
        if not 0 < self.scale < math.inf:
            raise ValueError(f"scale is {self.scale}; it must be a finite number above 0")
        if not 0 <= self.noise < math.inf:
            raise ValueError(f"noise is {self.noise}; it must be a finite number of at least 0")
        for name in ("offset", "center"):
            if not math.isfinite(getattr(self, name)):
                raise ValueError(f"{name} is {getattr(self, name)}; it must be a finite number")

    def rate(self, preference: Preference) -> tuple[int, ...]:
        """The rating of each response; ValueError when the record holds no utilities of this dimension.

        It is a function of the seed, the dimension, the prompt and the response: what stands beside it changes nothing.
        """
        utilities = true_utilities(preference, self.dimension)
        return tuple(
            self._rating(preference.prompt, response, utility)
            for response, utility in zip(preference.responses, utilities, strict=True)
        )

    def _rating(self, prompt: Text, response: Text, utility: float) -> int:
        left_to_chance = 0.0
        if self.noise:
            rng = chance(self.seed, self.dimension, "rating", prompt, response)
            left_to_chance = self.noise * rng.standard_normal()
        points = _MIDDLE + self.offset + self.scale * (utility - self.center) + left_to_chance
        return math.floor(min(max(points, LOWEST), HIGHEST) + 0.5)


def simulated_raters(
    *,
    dimension: str,
    count: int,
    scale: float,
    scale_spread: float = 0.0,
    offset_spread: float = 0.0,
    noise: float = 0.0,
    center: float = 0.0,
    seed: int = 0,
) -> tuple[SimulatedRater, ...]:
    """Raters named ``annotator_0`` and so on, whose scales and offsets are drawn once, from the seed.

    ``scale`` is the median of their scales and ``scale_spread`` the standard deviation of their logarithm;
    ``offset_spread`` is that of their offsets, in points. ValueError for a spread below 0.
    """
    if not (0 <= scale_spread < math.inf and 0 <= offset_spread < math.inf):
        raise ValueError(f"spreads are {[scale_spread, offset_spread]}; they must be finite numbers of at least 0")
    raters = []
    for number in range(count):
        rng = chance(seed, "rater", number)
        raters.append(
            SimulatedRater(
                dimension=dimension,
                scale=scale * math.exp(scale_spread * rng.standard_normal()),
                offset=offset_spread * rng.standard_normal(),
                noise=noise,
                center=center,
                annotator=f"annotator_{number}",
                seed=int(rng.integers(2**63)),
            )
        )
    return tuple(raters)
