"""Labelers who know the true utilities and err as people do: Bradley-Terry, with mistakes, tastes and biases."""

import dataclasses
import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from rmjax.labeling.rule import characters
from rmjax.preferences.record import Comparison, Preference, Side, Source, Text


@dataclass(frozen=True, kw_only=True)
class SimulatedLabeler:
    """Prefers left with probability (1-e) s + e (1-s), where s = sigmoid((v_left - v_right) / temperature + b).

    s is the model of Bradley and Terry (1952); with probability e, the error rate, the labeler marks the wrong box
    (the label noise of "label smoothing"), so no pair is ever certain. v is what the labeler sees of a response: its
    utility, ``length_bias`` for each of its characters, and an offset that is this labeler's own, the same whenever the
    response is judged. b is ``position_bias`` where left is shown first, and its negative where right is.

    Attributes:
      dimension: what is judged; the utilities of a record must be those of this dimension.
      temperature: in units of utility; high: the labelers hardly see the difference.
      error_rate: in [0, 0.5).
      position_bias: in logits, for the response that is shown first. Where it is not 0, a coin says for each pair which
        one that is, and the comparison has it as ``shown_first``.
      length_bias: in units of utility for a character.
      taste: the standard deviation, in units of utility, of the labeler's own offsets.
      annotator: the name that the comparisons bear.
      seed: labelers with different seeds are different people, who draw independently.
    """

    dimension: str
    temperature: float
    error_rate: float
    position_bias: float = 0.0
    length_bias: float = 0.0
    taste: float = 0.0
    annotator: str | None = None
    seed: int = 0

    def __post_init__(self):
        if not 0 < self.temperature < math.inf:
            raise ValueError(f"temperature is {self.temperature}; it must be a finite number above 0")
        if not 0 <= self.error_rate < 0.5:
            raise ValueError(f"error_rate is {self.error_rate}; it must be in [0, 0.5)")
        for name in ("position_bias", "length_bias"):
            if not math.isfinite(getattr(self, name)):
                raise ValueError(f"{name} is {getattr(self, name)}; it must be a finite number")
        if not 0 <= self.taste < math.inf:
            raise ValueError(f"taste is {self.taste}; it must be a finite number of at least 0")

    @property
    def source(self) -> Source:
        return Source.SIMULATED

    def probability(self, utility_left: float, utility_right: float, shown_first: Side | None = None) -> float:
        """The probability that this labeler prefers left, of two responses of these utilities as the labeler sees them.

        ``shown_first`` says whom the position bias favours; nobody if None.
        """
        bias = {Side.LEFT: self.position_bias, Side.RIGHT: -self.position_bias, None: 0.0}[shown_first]
        difference = (utility_left - utility_right) / self.temperature + bias
        # tanh never overflows, whatever the difference
        agreed = 0.5 * (1 + math.tanh(0.5 * difference))
        return (1 - self.error_rate) * agreed + self.error_rate * (1 - agreed)

    def draw(
        self, rng: np.random.Generator, utility_left: float, utility_right: float, shown_first: Side | None = None
    ) -> float:
        """One judgment: 1.0 for left or 0.0 for right."""
        return float(rng.random() < self.probability(utility_left, utility_right, shown_first))

    def judge(self, preference: Preference, order: "Order | None" = None) -> Preference:
        """The same pairs judged by this labeler; ValueError when the record holds no utilities of this dimension.

        The draws are a function of the seed, the dimension, the texts and the order of the comparisons, so other
        records change nothing; another comparison of this one changes those after it. ``true_probability`` is that of
        the draw, biases included.

        Args:
          preference: the record.
          order: says of each comparison who is shown first, each time that it is asked for. A pair becomes as many
            comparisons, which share its weight: two judgments of half the weight have the loss of one with the mean of
            their labels. None: once, by a coin where there is a position bias.
        """
        seen = self.seen(preference)
        texts = (preference.prompt, preference.responses)
        rng = chance(self.seed, self.dimension, *texts)
        order = order or self._by_coin(texts)
        comparisons = []
        for old in preference.comparisons:
            shown = order(preference, old)
            for first in shown:
                values = seen[old.left], seen[old.right], first
                comparisons.append(
                    Comparison(
                        left=old.left,
                        right=old.right,
                        probability=self.draw(rng, *values),
                        weight=old.weight / len(shown),
                        annotator=self.annotator,
                        true_probability=self.probability(*values),
                        shown_first=first,
                    )
                )
        return dataclasses.replace(preference, comparisons=tuple(comparisons), source=self.source)

    def _by_coin(self, texts: tuple[Text, tuple[Text, ...]]) -> "Order":
        """A coin for each comparison, where there is a position bias; nobody is first where there is none."""
        if not self.position_bias:
            return lambda preference, comparison: (None,)
        coins = chance(self.seed, self.dimension, "order", *texts)
        return lambda preference, comparison: ((Side.LEFT, Side.RIGHT)[coins.integers(2)],)

    def seen(self, preference: Preference) -> tuple[float, ...]:
        """The utility of each response as this labeler sees it; ValueError as ``judge``.

        An offset is drawn from the seed, the dimension, the prompt and the response alone, whatever stands beside it.
        """
        utilities = true_utilities(preference, self.dimension)
        if not self.taste and not self.length_bias:
            return utilities
        return tuple(
            utility
            + self.length_bias * characters(response)
            + self.taste * chance(self.seed, self.dimension, "taste", preference.prompt, response).standard_normal()
            for utility, response in zip(utilities, preference.responses, strict=True)
        )


Order = Callable[[Preference, Comparison], Sequence[Side | None]]
"""Which response is shown first, each time that a comparison is asked for."""


def true_utilities(preference: Preference, dimension: str) -> tuple[float, ...]:
    """The utilities of a record's responses on the dimension; ValueError where the record doesn't hold them."""
    utilities = preference.utilities
    if utilities is None or preference.dimension != dimension:
        found = "none" if utilities is None else f"those of {preference.dimension}"
        raise ValueError(
            f"{preference.origin}: a simulated labeler of {dimension} needs the true utilities of the "
            f"responses on {dimension}; found {found}"
        )
    return utilities


def chance(*said: object) -> np.random.Generator:
    """Random numbers that are a function of what is said alone."""
    digest = hashlib.sha256(repr(said).encode("utf-8", "surrogatepass")).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "little")))
