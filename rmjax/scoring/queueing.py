"""What a batcher is told and what it tells: its limits, its refusals, its answers and its batches."""

from collections.abc import Sequence
from dataclasses import dataclass

from rmjax.errors import ReportedError
from rmjax.preferences.record import Text
from rmjax.scoring.rows import Request
from rmjax.scoring.source import Uncertain

_TURN_BYTES = 24  # about what a template writes around a message, and less than JSON does


class QueueFullError(ReportedError):
    """As much waits as may; ``retry_after`` is in how many seconds there should be room."""

    def __init__(self, waiting: str, limit: int, retry_after: int):
        super().__init__(f"{waiting} wait already, of at most {limit}; try again in {retry_after} s")
        self.retry_after = retry_after


class StoppedError(ReportedError):
    """The batcher takes nothing more."""

    def __init__(self):
        super().__init__("the server is stopping; another one, or this one after a restart, takes the request")


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchLimits:
    """How much is taken at once, and how much may wait.

    Attributes:
      batch_tokens: the budget of a batch, with what responses share counted once. A group with more is taken alone.
      call_tokens: what the device computes in one call: a batch of more is as many as fill whole calls.
      waiting_responses: the most responses that wait or are computed.
      waiting_bytes: the most bytes of their texts, as ``text_bytes`` counts.
      batching: false takes one call at a time, for comparison.
    """

    batch_tokens: int
    call_tokens: int
    waiting_responses: int
    waiting_bytes: int
    batching: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoredGroup:
    """The rewards of a prompt's responses.

    Attributes:
      rewards: of each response, with its spread.
      tokens: of each conversation, prompt and end token included.
      computed_tokens: of all conversations, with what they begin with alike counted once.
      cut_tokens: that the prompt lost to the model's limit.
    """

    rewards: list[Uncertain]
    tokens: list[int]
    computed_tokens: int
    cut_tokens: int


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchReport:
    """What was computed at once: groups, how many of them had a prompt that was cut, responses, tokens (as budgeted)
    and the seconds that it took."""

    groups: int
    cut_prompts: int
    responses: int
    tokens: int
    seconds: float


def text_bytes(requests: Sequence[Request]) -> int:
    """The bytes in UTF-8 of the conversations of requests, each of which is laid out with its prompt to be tokenized.

    That is what bounds the memory that a call takes. A call for one response has no more than the JSON that it came in.
    """
    return sum(
        len(request.responses) * _bytes(request.prompt) + sum(map(_bytes, request.responses)) for request in requests
    )


def _bytes(text: Text) -> int:
    if isinstance(text, str):
        return len(text.encode(errors="surrogatepass"))
    return sum(len(message.content.encode(errors="surrogatepass")) + _TURN_BYTES for message in text)
