"""What a checkpoint says of its rewards: a few golden ones, and how those of held-out responses are spread.

A model that is loaded later, elsewhere, from another format, is checked against the golden scores; the mean and the
standard deviation are what a reward can be normalized by.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from rmjax.batches.tokenized import TokenizedPreferences
from rmjax.preferences.record import Message, Preference, Text
from rmjax.training.parallel import describe_devices

GOLDEN = 12  # conversations


class Validation(NamedTuple):
    """What an evaluator says of parameters.

    Attributes:
      metrics: by name.
      rewards: of all responses of the validation data, in their order.
    """

    metrics: dict[str, float]
    rewards: Float[np.ndarray, "responses heads"]


class Conversation(NamedTuple):
    """A response of the validation data, by its number there, and its text."""

    number: int
    prompt: Text
    response: Text


@dataclass(frozen=True, kw_only=True, slots=True)
class GoldenScore:
    """A conversation, its tokens, and its reward on each head."""

    prompt: Text
    response: Text
    tokens: tuple[int, ...]
    rewards: tuple[float, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Normalization:
    """Mean and standard deviation of a head's rewards on held-out responses."""

    mean: float
    deviation: float

    def of(self, reward: float) -> float:
        """The reward in standard deviations from the mean."""
        return (reward - self.mean) / self.deviation

    def of_spread(self, spread: float) -> float:
        """The spread of a reward, or of what else has its unit, in the same standard deviations."""
        return spread / self.deviation


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoringRecord:
    """Golden scores and the spread of rewards.

    Attributes:
      golden: a few conversations, of the validation data unless an export was given others.
      mean, deviation: of the rewards of the responses of the validation data on each head; the parameters were not
        trained on these.
      responses: how many these were.
      device: the kind that computed them.
    """

    golden: tuple[GoldenScore, ...]
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    responses: int
    device: str

    def to_json(self) -> dict[str, Any]:
        """As an object of JSON, messages as ``{"role", "content"}``."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "ScoringRecord":
        golden = tuple(
            GoldenScore(
                prompt=_text(entry["prompt"]),
                response=_text(entry["response"]),
                tokens=tuple(entry["tokens"]),
                rewards=tuple(entry["rewards"]),
            )
            for entry in values["golden"]
        )
        spread = {name: tuple(values[name]) for name in ("mean", "deviation")}
        return cls(golden=golden, **spread, responses=values["responses"], device=values["device"])

    def of_head(self, head: int) -> "ScoringRecord":
        """The same of one head alone."""
        golden = tuple(dataclasses.replace(entry, rewards=(entry.rewards[head],)) for entry in self.golden)
        return dataclasses.replace(self, golden=golden, mean=(self.mean[head],), deviation=(self.deviation[head],))

    def normalization(self, head: int) -> Normalization | None:
        """Of a head; None where the rewards it was measured on are all equal."""
        mean, deviation = self.mean[head], self.deviation[head]
        return Normalization(mean=mean, deviation=deviation) if deviation > 0 else None


def golden_conversations(
    tokenized: TokenizedPreferences, preferences: Sequence[Preference]
) -> tuple[Conversation, ...]:
    """The first responses of the validation data, with their texts."""
    found = []
    for number, (record, response) in enumerate(tokenized.response_origin[:GOLDEN].tolist()):
        preference = preferences[record]
        found.append(Conversation(number, preference.prompt, preference.responses[response]))
    return tuple(found)


def make_record(
    rewards: Float[np.ndarray, "responses heads"],
    tokenized: TokenizedPreferences,
    golden: Sequence[Conversation],
) -> ScoringRecord:
    """The record of parameters that give the responses of ``tokenized`` these rewards."""
    exact = rewards.astype(np.float64)
    return ScoringRecord(
        golden=tuple(
            GoldenScore(
                prompt=prompt,
                response=response,
                tokens=tuple(tokenized.conversation(number).tolist()),
                rewards=tuple(exact[number].tolist()),
            )
            for number, prompt, response in golden
        ),
        mean=tuple(exact.mean(axis=0).tolist()),
        deviation=tuple(exact.std(axis=0).tolist()),
        responses=len(exact),
        device=str(describe_devices()["kind"]),
    )


def _text(value: Any) -> Text:
    return value if isinstance(value, str) else tuple(Message(**turn) for turn in value)
