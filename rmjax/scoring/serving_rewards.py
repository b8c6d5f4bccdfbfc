"""The protocol of rmjax itself, ``/v1/rewards``: rows as ``rmjax.scoring.rows`` has them, and all about a reward."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from rmjax.scoring.queueing import ScoredGroup
from rmjax.scoring.rows import Request, parse_request
from rmjax.scoring.serving_protocols import ProtocolError
from rmjax.scoring.source import Reward, Uncertain
from rmjax.training.scoring_record import Normalization
from rmjax.training.trained import TrainedModel


def normalization_of(trained: TrainedModel) -> dict[str, Normalization]:
    """Of each head by its name (``""`` for one without), as the model's record has it; none where nothing is known."""
    record, heads = trained.record, trained.config.model.reward_heads or ("",)
    if record is None:
        return {}
    found = {head: record.normalization(number) for number, head in enumerate(heads)}
    return {head: normalization for head, normalization in found.items() if normalization is not None}


class _Checked(BaseModel):
    """An unknown field is an error: it may be a misspelt one."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)


class Turn(_Checked):
    """A message of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


Turns = Annotated[list[Turn], Field(min_length=1)]


class Row(_Checked):
    """A prompt with a response or several, or a conversation whose last message is scored; see ``rmjax.scoring.rows``.

    Responses to one prompt share its computation.
    """

    prompt: str | Turns | None = Field(default=None, examples=["\n\nHuman: Name a prime.\n\nAssistant:"])
    response: str | Turns | None = Field(default=None, examples=[" 7"])
    responses: Annotated[list[str | Turns], Field(min_length=1)] | None = None
    messages: Annotated[list[Turn], Field(min_length=2)] | None = None

    def request(self, *, origin: str) -> Request:
        """RowError where it is none of the forms."""
        return parse_request(self.model_dump(include={"prompt", "response", "responses", "messages"}), origin=origin)


class RewardsRequest(Row):
    """One row."""

    head: str | None = Field(
        default=None, description="Of a model with several reward heads; all of them if not given."
    )

    def requests(self) -> list[Request]:
        return [self.request(origin="the request")]


class BatchRequest(_Checked):
    """Several rows."""

    requests: Annotated[list[Row], Field(min_length=1)]
    head: str | None = Field(
        default=None, description="Of a model with several reward heads; all of them if not given."
    )

    def rows(self) -> list[Request]:
        return [row.request(origin=f"requests[{number}]") for number, row in enumerate(self.requests)]


class RewardOfResponse(BaseModel):
    """The reward of one response.

    ``reward`` and ``normalized_reward`` (null where the model has no normalization) are numbers; of a model with
    several heads, where the request names none, objects with one for each head. ``spread`` and ``normalized_spread``,
    in their units, are the standard deviation over the members of the model's ensemble; null where it has none.
    """

    reward: float | dict[str, float]
    head: str | None
    normalized_reward: float | dict[str, float] | None
    spread: float | dict[str, float] | None
    normalized_spread: float | dict[str, float] | None
    tokens: int = Field(description="Of the conversation: prompt, response and end token.")


class TokenUsage(BaseModel):
    """Tokens of all conversations, how many of them were computed, where a shared prompt counts once, how many the
    prompts lost to the model's limit, of which they keep the last, how many prompts that were, and the limit."""

    total_tokens: int
    computed_tokens: int
    cut_tokens: int
    cut_prompts: int
    max_prompt_tokens: int

    @classmethod
    def of(cls, groups: Sequence[ScoredGroup], *, max_prompt_tokens: int) -> "TokenUsage":
        return cls(
            total_tokens=sum(sum(group.tokens) for group in groups),
            computed_tokens=sum(group.computed_tokens for group in groups),
            cut_tokens=sum(group.cut_tokens for group in groups),
            cut_prompts=sum(group.cut_tokens > 0 for group in groups),
            max_prompt_tokens=max_prompt_tokens,
        )


class RewardsAnswer(BaseModel):
    """The rewards of a row's responses, in their order."""

    model: str
    rewards: list[RewardOfResponse]
    usage: TokenUsage


class BatchAnswer(BaseModel):
    """For each row its rewards."""

    model: str
    results: list[list[RewardOfResponse]]
    usage: TokenUsage


@dataclass(frozen=True, kw_only=True, slots=True)
class Heads:
    """The reward heads of a model; none of a model that has a single one without a name.

    Attributes:
      names: of the heads.
      normalization: of each head that has it; of one without a name by ``""``.
    """

    names: tuple[str, ...]
    normalization: Mapping[str, Normalization]

    def checked(self, head: str | None) -> str | None:
        """The head that a request names; ProtocolError where the model has no such head."""
        if head is not None and head not in self.names:
            known = ", ".join(map(repr, self.names)) or "no field 'head': the model has a single head without a name"
            raise ProtocolError(f"'head' names no reward head of the model; right would be {known}")
        return head or (self.names[0] if len(self.names) == 1 else None)

    def describe(self, group: ScoredGroup, head: str | None) -> list[RewardOfResponse]:
        """What is answered of a group; ``head`` has been checked."""
        return [
            RewardOfResponse(head=head, tokens=tokens, **self._values(entry, head))
            for entry, tokens in zip(group.rewards, group.tokens, strict=True)
        ]

    def _values(self, entry: Uncertain, head: str | None) -> dict[str, Any]:
        reward, spread = (_of_head(found, head) for found in entry)
        return {
            "reward": reward,
            "normalized_reward": self._normalized(reward, head, Normalization.of),
            "spread": spread,
            "normalized_spread": self._normalized(spread, head, Normalization.of_spread),
        }

    def _normalized(
        self, found: Reward | None, head: str | None, unit: Callable[[Normalization, float], float]
    ) -> Reward | None:
        if isinstance(found, dict):
            if not self.normalization.keys() >= found.keys():
                return None
            return {name: unit(self.normalization[name], value) for name, value in found.items()}
        known = self.normalization.get(head or "")
        return None if known is None or found is None else unit(known, found)


def _of_head(found: Reward | None, head: str | None) -> Reward | None:
    """That of the head, or of all heads where none is named."""
    return found[head] if isinstance(found, dict) and head is not None else found
