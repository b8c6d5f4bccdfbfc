"""How the scenes of the synthetic testbed are drawn and said: a stream of chance, and the phrases it chooses."""

import functools
import re
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from rmjax.datasets.synthetic_topics import FALSEHOODS, Topic

Item = TypeVar("Item")

_CHOICE = re.compile(r"\{([^}]*)\}")


class Dice:
    """A stream of chance that is the same on every machine: PCG64's doubles, drawn many at a time."""

    def __init__(self, *seeds: int):
        self._rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seeds)))
        self._left: list[float] = []

    def uniform(self) -> float:
        """A number in [0, 1)."""
        if not self._left:
            self._left = self._rng.random(65_536).tolist()
        return self._left.pop()

    def below(self, limit: int) -> int:
        """An integer in [0, limit)."""
        return int(self.uniform() * limit)

    def one_of(self, items: Sequence[Item]) -> Item:
        return items[int(self.uniform() * len(items))]

    def happens(self, probability: float) -> bool:
        return self.uniform() < probability

    def count(self, probabilities: Sequence[float]) -> int:
        """An index, by its probability; the last one takes what is left."""
        rest = self.uniform()
        for index, probability in enumerate(probabilities[:-1]):
            rest -= probability
            if rest < 0:
                return index
        return len(probabilities) - 1

    def shuffled(self, items: Sequence[Item]) -> list[Item]:
        result = list(items)
        for last in range(len(result) - 1, 0, -1):
            other = self.below(last + 1)
            result[last], result[other] = result[other], result[last]
        return result


@functools.cache
def _parts(phrase: str) -> tuple[tuple[str, ...], ...]:
    """The phrase as a sequence of alternatives: odd parts are the choices, even ones have one alternative."""
    return tuple(tuple(part.split("|")) if index % 2 else (part,) for index, part in enumerate(_CHOICE.split(phrase)))


def say(dice: Dice, phrases: Sequence[str], **fillings: str) -> str:
    """One of the phrases, with its choices made and its ``<slots>`` filled."""
    text = "".join(part[0] if len(part) == 1 else dice.one_of(part) for part in _parts(dice.one_of(phrases)))
    for slot, filling in fillings.items():
        text = text.replace(f"<{slot}>", filling)
    return text


def enumeration(parts: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]]) if len(parts) > 1 else parts[0]


def state(dice: Dice, topic: Topic, kind: str, *, true: bool) -> str:
    """A sentence on the topic, about a thing of that kind, that can or can't be true."""
    subject = dice.one_of((f"the {kind}", f"this {kind}", f"such a {kind}", f"your {kind}"))
    text = say(dice, topic.statements, subject=subject, value=say(dice, topic.values if true else FALSEHOODS))
    return text[0].upper() + text[1:]


def as_prompt(question: str) -> str:
    """The question as the human's turn, up to where the assistant begins; responses begin with a space."""
    return f"\n\nHuman: {question}\n\nAssistant:"
