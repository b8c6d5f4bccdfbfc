"""Labelers that follow a rule: a measure of the response, and nothing hidden."""

import dataclasses
import math
import re
from collections.abc import Callable
from dataclasses import dataclass

from rmjax.errors import UserError
from rmjax.preferences.record import Comparison, Preference, Source, Text


@dataclass(frozen=True, kw_only=True)
class RuleLabeler:
    """Prefers the response with the higher measure.

    Attributes:
      dimension: what the rule judges.
      measure: (prompt, response) -> a finite number; more is better.
      tie_margin: measures that differ by no more than this are a tie, of probability 0.5.
    """

    dimension: str
    measure: Callable[[Text, Text], float]
    tie_margin: float = 0.0

    def __post_init__(self):
        if not 0 <= self.tie_margin < math.inf:
            raise UserError(f"tie_margin is {self.tie_margin}; it must be a finite number of at least 0")

    @property
    def source(self) -> Source:
        return Source.RULE

    def judge(self, preference: Preference) -> Preference:
        """The same pairs judged by the rule; UserError when the measure of a response is not a finite number.

        Utilities are dropped, for they belong to the dimension that was judged before; so does a known answer, which
        stays where the rule judges that one.
        """
        measures = [float(self.measure(preference.prompt, response)) for response in preference.responses]
        for index, value in enumerate(measures):
            if not math.isfinite(value):
                raise UserError(
                    f"{preference.origin}: the rule for {self.dimension} measures response {index} as {value}; "
                    "a measure must be a finite number"
                )
        comparisons = tuple(
            Comparison(
                left=old.left,
                right=old.right,
                probability=self._probability(measures[old.left], measures[old.right]),
                weight=old.weight,
            )
            for old in preference.comparisons
        )
        judged = preference.on(self.dimension)
        return dataclasses.replace(judged, comparisons=comparisons, source=self.source, utilities=None)

    def _probability(self, left: float, right: float) -> float:
        if abs(left - right) <= self.tie_margin:
            return 0.5
        return float(left > right)


def characters(text: Text) -> int:
    """The number of characters (code points) of a text, or of all contents of its messages."""
    return sum(len(content) for content in contents(text))


def contents(text: Text) -> tuple[str, ...]:
    """The text, or the contents of its messages."""
    return (text,) if isinstance(text, str) else tuple(message.content for message in text)


def brevity(
    *, count: Callable[[Text], int] = characters, tie_margin: float = 0.0, dimension: str = "brevity"
) -> RuleLabeler:
    """Prefers the response of which less is counted, characters or anything else (the tokens of a tokenizer, say)."""
    return RuleLabeler(
        dimension=dimension, measure=lambda prompt, response: -float(count(response)), tie_margin=tie_margin
    )


def matches(pattern: str, *, dimension: str, unwanted: bool = False, tie_margin: float = 0.0) -> RuleLabeler:
    """Prefers the response in which a regular expression is found more often, or less often where it is ``unwanted``.

    UserError for what is no regular expression.
    """
    try:
        found = re.compile(pattern)
    except re.error as error:
        raise UserError(f"{pattern!r} is no regular expression: {error}; right would be one of Python's") from None

    def measure(prompt: Text, response: Text) -> float:
        times = sum(1 for content in contents(response) for _ in found.finditer(content))
        return -float(times) if unwanted else float(times)

    return RuleLabeler(dimension=dimension, measure=measure, tie_margin=tie_margin)


BREVITY = brevity()
