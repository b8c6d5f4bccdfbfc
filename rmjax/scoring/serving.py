"""From a protocol's request to its rewards: limits, the batcher, and clients that go away."""

import asyncio
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fastapi import Request

from rmjax.config import ConfigError
from rmjax.errors import ReportedError
from rmjax.model_config import fault_of_head
from rmjax.scoring import rows
from rmjax.scoring.asked import Asked
from rmjax.scoring.batcher import Batcher
from rmjax.scoring.queueing import BatchLimits, ScoredGroup, text_bytes
from rmjax.scoring.scorer import RewardScorer
from rmjax.scoring.serving_metrics import ServingMetrics
from rmjax.scoring.serving_protocols import Answered, ProtocolError
from rmjax.scoring.serving_rewards import Heads, Normalization, TokenUsage
from rmjax.scoring.whole_texts import TextError, encode_requests, ended_by


@dataclass(frozen=True, kw_only=True, slots=True)
class ServerSettings:
    """How a model is served.

    Attributes:
      model: the id that answers name.
      head: whose rewards the protocols of other programs give, of a model with several heads.
      batch_tokens: the budget of a batch; None for as many as the model computes at once.
      batching: false computes one request at a time, for comparison.
      max_waiting: responses that wait or are computed; more get a 429.
      max_waiting_bytes: bytes of their texts, the prompt counted for each response; more get a 429, a request of more
        than that alone a 413.
      max_responses: of a request; more get a 422.
      max_request_bytes: of a request's body; more get a 413.
      api_key: what requests must bring; None lets everyone in.
    """

    model: str
    head: str | None = None
    batch_tokens: int | None = None
    batching: bool = True
    max_waiting: int = 8192
    max_waiting_bytes: int = 64 << 20
    max_responses: int = 1024
    max_request_bytes: int = 4 << 20
    api_key: str | None = field(default=None, repr=False)

    def __post_init__(self):
        for name in ("max_responses", "max_request_bytes"):
            if getattr(self, name) < 1:
                raise ConfigError(f"--{name} is {getattr(self, name)}; it must be at least 1")
        if self.batch_tokens is not None and self.batch_tokens < 1:
            raise ConfigError(f"--max_batch_tokens is {self.batch_tokens}; it must be at least 1")
        if self.max_waiting < self.max_responses:
            raise ConfigError(
                f"--max_waiting is {self.max_waiting}; it must be at least --max_responses={self.max_responses}, or a "
                "request of that many would never be taken"
            )
        if self.max_waiting_bytes < self.max_request_bytes:
            raise ConfigError(
                f"--max_waiting_bytes is {self.max_waiting_bytes}; it must be at least --max_request_bytes="
                f"{self.max_request_bytes}, or some request of a single response would never be taken"
            )
        if self.api_key is not None and not (self.api_key.isascii() and self.api_key.isprintable() and self.api_key):
            raise ConfigError("RMJAX_API_KEY holds what no header can; it must be printable ASCII, or unset for no key")


class ClientGoneError(ReportedError):
    """Whoever asked has closed the connection."""


class TooManyResponsesError(ProtocolError):
    """A request for more responses than ``limit``, which are taken at a time."""

    def __init__(self, responses: int, limit: int):
        super().__init__(f"the request has {responses} responses; right would be at most {limit} at a time")
        self.limit = limit


class TextsTooLargeError(ProtocolError):
    """A request whose texts have more bytes than ``limit``, with its prompt counted for each response."""

    def __init__(self, found: int, limit: int):
        super().__init__(
            f"the request's texts have {found} bytes, with the prompt counted for each response; right would be at "
            f"most {limit} (--max_waiting_bytes), as with fewer responses at a time"
        )
        self.limit = limit


class Serving:
    """A scorer behind a batcher.

    Raises:
      ConfigError: where ``settings.head`` is none of the model's.
    """

    def __init__(self, scorer: RewardScorer, settings: ServerSettings, normalization: Mapping[str, Normalization]):
        self.settings = settings
        self.pessimism = scorer.pessimism
        self.heads = Heads(names=scorer.trained.config.model.reward_heads, normalization=normalization)
        if settings.head is not None and (fault := fault_of_head(settings.head, self.heads.names)):
            raise ConfigError(f"the model {fault}")
        self._scorer = scorer
        limits = BatchLimits(
            batch_tokens=settings.batch_tokens or scorer.tokens_at_once,
            call_tokens=scorer.tokens_a_call,
            waiting_responses=settings.max_waiting,
            waiting_bytes=settings.max_waiting_bytes,
            batching=settings.batching,
        )
        self.metrics = ServingMetrics(limits.batch_tokens)
        encode = functools.partial(encode_requests, contract=scorer.contract)
        self.batcher = Batcher(encode, scorer.score_encoded, limits, self.metrics.computed)
        self.metrics.watch(
            waiting=lambda: self.batcher.waiting,
            waiting_bytes=lambda: self.batcher.waiting_bytes,
            ready=lambda: self.batcher.taking,
        )

    def start(self) -> None:
        """Compiles what the model needs, then takes requests."""
        self._scorer.warm_up()
        self.batcher.start()

    async def score(self, http: Request, requests: Sequence[rows.Request]) -> list[ScoredGroup]:
        """The rewards of requests that came as one.

        Raises:
          TooManyResponsesError, TextsTooLargeError: where it must be asked in parts.
          ClientGoneError: where the client didn't wait; what of it wasn't computed never is.
          TextError: for a text that the model can't take.
          QueueFullError, StoppedError, NonFiniteRewardsError: as ``Batcher.submit``.
        """
        responses, most = sum(len(request.responses) for request in requests), self.settings.max_responses
        if responses > most:
            raise TooManyResponsesError(responses, most)
        found, room = text_bytes(requests), self.settings.max_waiting_bytes
        if found > room:
            raise TextsTooLargeError(found, room)
        waiting = asyncio.wrap_future(self.batcher.submit(requests))
        gone = asyncio.ensure_future(http.receive())  # the body is read: all that can come is that the client has gone
        try:
            await asyncio.wait({waiting, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done():
                raise ClientGoneError
            return waiting.result()
        finally:
            gone.cancel()
            waiting.cancel()

    def usage(self, groups: Sequence[ScoredGroup]) -> TokenUsage:
        """What is said of the tokens of groups."""
        return TokenUsage.of(groups, max_prompt_tokens=self._scorer.contract.max_prompt_tokens)

    async def answer(self, http: Request, asked: Asked) -> Answered:
        """The same as one number for each text, in the order that was asked for.

        Raises:
          ProtocolError: where the model has several heads and the server was told none, too.
        """
        head = self.heads.checked(self.settings.head)
        if head is None and self.heads.names:
            known = ", ".join(self.heads.names)
            raise ProtocolError(f"the model has the heads {known} and this protocol one number; serve it with --head")
        try:
            groups = await self.score(http, ended_by(self._scorer.contract, asked.requests))
        except TextError as error:
            raise asked.moved(error) from error
        described = [self.heads.describe(group, head) for group in groups]
        found = [described[group][response] for group, response in asked.places]
        rewards = [entry.reward for entry in found if isinstance(entry.reward, float)]
        return Answered(model=self.settings.model, rewards=rewards, tokens=sum(entry.tokens for entry in found))
