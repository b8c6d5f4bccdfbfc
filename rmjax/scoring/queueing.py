"""What a batcher is told and what it tells: its limits, its refusals, its answers and its batches."""

from dataclasses import dataclass

from rmjax.errors import ReportedError
from rmjax.scoring.scorer import Reward


class QueueFullError(ReportedError):
    """As many responses wait as may; ``retry_after`` is in how many seconds there should be room."""

    def __init__(self, waiting: int, limit: int, retry_after: int):
        super().__init__(f"{waiting} responses wait already, of at most {limit}; try again in {retry_after} s")
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
      waiting_responses: the most responses that wait or are computed.
      batching: false takes one call at a time, for comparison.
    """

    batch_tokens: int
    waiting_responses: int
    batching: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoredGroup:
    """The rewards of a prompt's responses.

    Attributes:
      rewards: of each response.
      tokens: of each conversation, prompt and end token included.
      computed_tokens: of all conversations, with what they begin with alike counted once.
      cut_tokens: that the prompt lost to the model's limit.
    """

    rewards: list[Reward]
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
