"""What rewards are asked of, wherever the model is: in this process or behind a server. Nothing here needs jax."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable


@dataclass(frozen=True, kw_only=True, slots=True)
class PromptGroup:
    """A prompt and responses to it, in the form that rows have (``rmjax.scoring.rows``); origin names it in errors."""

    prompt: Any
    responses: tuple[Any, ...]
    origin: str

    def parts(self, size: int) -> Iterator["PromptGroup"]:
        """The prompt with so many of its responses at a time, in their order."""
        for place in range(0, len(self.responses), size):
            yield PromptGroup(prompt=self.prompt, responses=self.responses[place : place + size], origin=self.origin)


@dataclass(frozen=True, kw_only=True, slots=True)
class TooLong:
    """In the place of a reward: the response, or the system turn before it, has more tokens than the model takes, or it
    spells a special token.

    Attributes:
      kind, found, right: as the model's ``RowError`` has them.
    """

    kind: str
    found: str
    right: str

    def __str__(self) -> str:
        return f"{self.kind}: found {self.found}; right would be {self.right}"


@runtime_checkable
class RewardSource(Protocol):
    """What gives rewards."""

    def rewards(self, groups: Sequence[PromptGroup]) -> list[list[float | TooLong]]:
        """The reward of each response of each group, in their order."""
        ...
