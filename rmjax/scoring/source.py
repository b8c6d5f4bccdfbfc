"""What rewards are asked of, wherever the model is: in this process or behind a server. Nothing here needs jax."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

from rmjax.errors import UserError
from rmjax.model_config import ComputeDtype, fault_of_head

Reward = float | dict[str, float]  # of a model with several heads, by their names


class Uncertain(NamedTuple):
    """A reward, and the standard deviation of the members of its head (``rmjax.evaluation.spread``) in its units; None
    of a model whose heads have one member."""

    reward: Reward
    spread: Reward | None


class EnsembleError(UserError):
    """A spread that is asked of a model without an ensemble: the message says how one would have it."""


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


def check_of_server(
    url: str, *, step: int | None, compute_dtype: ComputeDtype, pessimism: float = 0.0, prefix: str = ""
) -> None:
    """UserError for options that are decided where a server was started; ``prefix`` stands before their names."""
    dtype = None if compute_dtype is ComputeDtype.FLOAT32 else compute_dtype.value
    for name, given in (("step", step), ("compute_dtype", dtype), ("pessimism", pessimism or None)):
        if given is not None:
            raise UserError(f"{prefix}{name} is {given}, and {url} is a server: that is decided where it is started")


def checked_head(head: str | None, heads: tuple[str, ...], option: str = "--head") -> str | None:
    """The head, which must be one of the model's; None where it has a single one, which needs no name."""
    if fault := fault_of_head(head, heads, option):
        raise UserError(f"the model {fault}")
    return head


def of_head(reward: Reward, head: str | None) -> float:
    """A reward of the head; UserError where there are several and it is none of them."""
    if isinstance(reward, dict):
        return reward[checked_head(head, tuple(reward)) or ""]
    return reward
