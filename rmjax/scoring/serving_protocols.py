"""What other programs send to be scored and read as an answer, in their own words; one class for each message.

Texts may end in the model's end token, which is not doubled. One model is served, whatever name a request calls it by:
several of these clients send a name of their own that says nothing.
"""

import math
import time
import uuid
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue

from rmjax.errors import UserError
from rmjax.scoring.asked import Asked, in_pairs, whole_texts


def _unicode(text: str) -> str:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise ValueError(
                f"half of a surrogate pair at character {error.start + 1}, which UTF-8 can't hold"
            ) from error
    return text


Text = Annotated[str, AfterValidator(_unicode)]
Texts = Annotated[list[Text], Field(min_length=1)]
ModelName = Annotated[str | None, Field(description="Taken and not read: one model is served.")]


class ProtocolError(UserError):
    """A request whose fields don't suit each other or the model."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Answered:
    """The rewards of a call in the order that was asked for, the tokens of their conversations, and the model's id."""

    model: str
    rewards: list[float]
    tokens: int


def _same_length(name: str, count: int, other: str, expected: int) -> None:
    if count != expected:
        raise ProtocolError(f"{name!r} has {count} texts and {other!r} has {expected}; right would be as many in both")


class Message(BaseModel):
    """Types are taken as they are: no number passes for a text."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)


class QueryRequest(Message):
    """OpenRLHF's: each query is a prompt and its response in one text.

    With ``prompts``, a query that begins with its prompt is divided there: a long prompt then keeps its end as in
    training, and queries that share a prompt share its computation.
    """

    query: Texts
    prompts: list[Text] | None = None
    labels: list[JsonValue] | None = Field(default=None, description="Taken and not read.")

    def asked(self) -> Asked:
        if not self.prompts:
            return whole_texts(self.query, "query")
        _same_length("prompts", len(self.prompts), "query", len(self.query))
        return in_pairs(
            [
                (prompt, query.removeprefix(prompt)) if query.startswith(prompt) else ("", query)
                for prompt, query in zip(self.prompts, self.query, strict=True)
            ],
            "query",
        )


class QueryAnswer(BaseModel):
    """To OpenRLHF: ``rewards`` are what is learned from, ``scores`` what samples are filtered by; here they are one."""

    rewards: list[float]
    scores: list[float]
    extra_logs: dict[str, list[float]]

    @classmethod
    def of(cls, answered: Answered) -> "QueryAnswer":
        return cls(rewards=answered.rewards, scores=answered.rewards, extra_logs={"reward": answered.rewards})


class PairsRequest(Message):
    """align-anything's."""

    prompts: Texts
    responses: Texts

    def asked(self) -> Asked:
        _same_length("responses", len(self.responses), "prompts", len(self.prompts))
        return in_pairs(list(zip(self.prompts, self.responses, strict=True)), "responses")


class PairsAnswer(BaseModel):
    """To align-anything."""

    rewards: list[float]

    @classmethod
    def of(cls, answered: Answered) -> "PairsAnswer":
        return cls(rewards=answered.rewards)


class InputRequest(Message):
    """vLLM's and SGLang's: a text, or several, each a whole conversation as the chat template renders it."""

    model: ModelName = None
    input: Text | Texts

    def asked(self) -> Asked:
        return whole_texts(self.input, "input")


class ClassifyRequest(InputRequest):
    """vLLM's ``/classify``; with ``activation`` (``use_activation`` in newer versions) the answer is in (0, 1)."""

    activation: bool | None = Field(default=None, description="Whether the logistic function is applied; false if not.")
    use_activation: bool | None = Field(default=None, description="The same.")

    @property
    def activated(self) -> bool:
        return bool(self.use_activation if self.activation is None else self.activation)


class Usage(BaseModel):
    """In tokens of whole conversations, as vLLM counts; ``completion_tokens`` is 0, for nothing is generated."""

    prompt_tokens: int
    total_tokens: int
    completion_tokens: int = 0

    @classmethod
    def of(cls, answered: Answered) -> "Usage":
        return cls(prompt_tokens=answered.tokens, total_tokens=answered.tokens)


class Listed(BaseModel):
    """What vLLM's answers have in common."""

    id: str
    object: Literal["list"] = "list"
    created: int
    model: str
    usage: Usage

    @staticmethod
    def head(answered: Answered) -> dict[str, str | int | Usage]:
        name, now = f"rmjax-{uuid.uuid4().hex}", int(time.time())
        return {"id": name, "created": now, "model": answered.model, "usage": Usage.of(answered)}


class Classified(BaseModel):
    """The reward of a text as the one number of a classifier."""

    index: int
    label: str
    probs: list[float]
    num_classes: int = 1


class ClassifyAnswer(Listed):
    """To a client of vLLM's ``/classify``, as verl is."""

    data: list[Classified]

    @classmethod
    def of(cls, answered: Answered, *, label: str, activated: bool) -> "ClassifyAnswer":
        values = [_logistic(reward) if activated else reward for reward in answered.rewards]
        data = [Classified(index=index, label=label, probs=[value]) for index, value in enumerate(values)]
        return cls.model_validate(cls.head(answered) | {"data": data})


def _logistic(value: float) -> float:
    return 0.5 * (1.0 + math.tanh(0.5 * value))  # exp would overflow


class Embedded(BaseModel):
    """The reward of a text as an embedding of one number."""

    index: int
    object: Literal["embedding"] = "embedding"
    embedding: list[float]


class EmbeddingAnswer(Listed):
    """To a client of SGLang's ``/v1/embeddings``, as verl is."""

    data: list[Embedded]

    @classmethod
    def of(cls, answered: Answered) -> "EmbeddingAnswer":
        data = [Embedded(index=index, embedding=[reward]) for index, reward in enumerate(answered.rewards)]
        return cls.model_validate(cls.head(answered) | {"data": data})


class ScoreRequest(Message):
    """vLLM's ``/score``: a prompt and its responses, or as many prompts as responses."""

    model: ModelName = None
    text_1: Text | Texts
    text_2: Text | Texts

    def asked(self) -> Asked:
        responses = [self.text_2] if isinstance(self.text_2, str) else self.text_2
        prompts = [self.text_1] if isinstance(self.text_1, str) else self.text_1
        prompts = prompts * len(responses) if len(prompts) == 1 else prompts
        _same_length("text_2", len(responses), "text_1", len(prompts))
        pairs, listed = list(zip(prompts, responses, strict=True)), not isinstance(self.text_2, str)
        return in_pairs(pairs, "text_2", listed=listed)


class Scored(BaseModel):
    """The reward of a pair of texts."""

    index: int
    object: Literal["score"] = "score"
    score: float


class ScoreAnswer(Listed):
    """To a client of vLLM's ``/score``."""

    data: list[Scored]

    @classmethod
    def of(cls, answered: Answered) -> "ScoreAnswer":
        data = [Scored(index=index, score=reward) for index, reward in enumerate(answered.rewards)]
        return cls.model_validate(cls.head(answered) | {"data": data})


class EvaluationRequest(Message):
    """LLaMA-Factory's: ``messages`` are texts, each a whole conversation."""

    model: ModelName = None
    messages: Texts
    max_length: Annotated[int | None, Field(ge=1, description="Taken and not read: the model has its own limits.")] = (
        None
    )

    def asked(self) -> Asked:
        return whole_texts(self.messages, "messages")


class EvaluationAnswer(BaseModel):
    """To LLaMA-Factory."""

    id: str
    object: Literal["score.evaluation"] = "score.evaluation"
    model: str
    scores: list[float]

    @classmethod
    def of(cls, answered: Answered) -> "EvaluationAnswer":
        return cls(id=f"scoreeval-{uuid.uuid4().hex}", model=answered.model, scores=answered.rewards)
