"""A simulated person who puts all responses to a prompt in order, instead of judging them two by two."""

import dataclasses
import math
from dataclasses import dataclass

from rmjax.labeling.simulated.labeler import chance, true_utilities
from rmjax.preferences.record import Comparison, Preference, Source


@dataclass(frozen=True, kw_only=True)
class SimulatedRanker:
    """Sorts the responses by utility / temperature + a draw from the Gumbel distribution, the highest first.

    It is the model of Plackett (1975) and Luce (1959): the first is chosen among all with probabilities in proportion
    to exp(utility / temperature), the second likewise among the rest, and so on. Each pair of a ranking is then judged
    as by the model of Bradley and Terry at that temperature. But a ranking never contradicts itself, as K(K-1)/2 pairs
    judged one by one may, and its pairs are not independent: they are made of K draws.

    Attributes:
      dimension: what is judged; the utilities of a record must be those of this dimension.
      temperature: in units of utility.
      annotator: the name that the comparisons bear.
      seed: rankers with different seeds draw independently.
    """

    dimension: str
    temperature: float
    annotator: str | None = None
    seed: int = 0

    def __post_init__(self):
        if not 0 < self.temperature < math.inf:
            raise ValueError(f"temperature is {self.temperature}; it must be a finite number above 0")

    @property
    def source(self) -> Source:
        return Source.SIMULATED

    def judge(self, preference: Preference) -> Preference:
        """The same pairs as the ranking has them; ValueError when the record holds no utilities of this dimension.

        The draw of a response is a function of the seed, the dimension, the prompt and the response, whatever stands
        beside it. ``true_probability`` is that of a pair by itself.
        """
        seen = [utility / self.temperature for utility in true_utilities(preference, self.dimension)]
        drawn = [
            value + chance(self.seed, self.dimension, "ranking", preference.prompt, response).gumbel()
            for value, response in zip(seen, preference.responses, strict=True)
        ]
        comparisons = tuple(
            Comparison(
                left=old.left,
                right=old.right,
                probability=float(drawn[old.left] > drawn[old.right]),
                weight=old.weight,
                annotator=self.annotator,
                # tanh never overflows, whatever the difference
                true_probability=0.5 + 0.5 * math.tanh(0.5 * (seen[old.left] - seen[old.right])),
            )
            for old in preference.comparisons
        )
        return dataclasses.replace(preference, comparisons=comparisons, source=self.source)
