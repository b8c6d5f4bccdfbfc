"""What an AI judge will cost, what it did cost, and how much it favours the response that it sees first."""

import dataclasses
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from rmjax.intervals import clustered_mean
from rmjax.labeling.judge.answer import JudgeAnswer
from rmjax.labeling.judge.question import Question, system_message
from rmjax.labeling.judge.settings import JudgeSettings

BYTES_PER_TOKEN = 4  # of UTF-8: the rule of thumb for English text and BPE
TOKENS_PER_MESSAGE = 4  # what chat templates put around each
TOKENS_PER_ANSWER = 2  # the letter and the end token


@dataclass(frozen=True, kw_only=True, slots=True)
class PositionBias:
    """The mean over pairs of the probability that the response shown first wins, less 1/2, with its interval.

    Each pair is judged in both orders, so a judge without bias has 0 whatever the responses are worth; 0.5 is a judge
    who always takes the first. The interval, at 95 %, is that of ``clustered_mean``, which knows that pairs of one
    prompt belong together; None where there is only one prompt. It is ``first_probability`` of the report on labels,
    less 1/2.

    Attributes:
      pairs: how many were judged in both orders.
      consistent: the share of them of which both orders prefer the same response, an even verdict as half of each.
    """

    value: float
    low: float | None
    high: float | None
    pairs: int
    consistent: float


def position_bias(orders: Sequence[tuple[int, float, float]]) -> PositionBias | None:
    """The bias by each pair's (prompt, P(left) with left first, P(left) with right first); None for no pairs."""
    if not orders:
        return None
    prompts, there, back = (np.array(column) for column in zip(*orders, strict=True))
    first = clustered_mean((1 + there - back) / 2, prompts)  # the mean of P(left first wins) and P(right first wins)
    low, high = (None if math.isnan(bound) else bound - 0.5 for bound in (first.low, first.high))
    consistent = math.fsum(_agreement(there, back) for _, there, back in orders) / len(orders)
    return PositionBias(value=first.value - 0.5, low=low, high=high, pairs=len(orders), consistent=consistent)


def _agreement(there: float, back: float) -> float:
    sides = (math.copysign(1, one - 0.5) if one != 0.5 else 0.0 for one in (there, back))
    first, second = sides
    return (1 + first * second) / 2


@dataclass(frozen=True, kw_only=True, slots=True)
class CostEstimate:
    """What is still to be asked, and for how much; ``most_`` where no logprobs come and every vote has to be asked for.

    Of the ``questions``, two of each pair, those that are ``settled`` have their answers, and those that are
    ``given_up`` were answered with nonsense as often as they may be asked; all others are still to be asked. Tokens are
    counted by a rule of thumb: a token for every 4 bytes of UTF-8, and 4 around each message. Costs are None without
    prices.
    """

    pairs: int
    questions: int
    settled: int
    given_up: int
    calls: int
    most_calls: int
    prompt_tokens: int
    completion_tokens: int
    cost: float | None
    most_cost: float | None

    def to_json(self) -> str:
        return json.dumps({"estimate": dataclasses.asdict(self)})


def estimate(
    questions: Iterable[Question], *, settled: int = 0, given_up: int = 0, pairs: int, settings: JudgeSettings
) -> CostEstimate:
    """The cost of the questions, which are those that are still to be asked; so many others are not."""
    questions = list(questions)
    votes = settings.votes
    least = 1 if settings.logprobs else votes
    shared = tokens(system_message(settings.constitution, ties=settings.ties)) + 2 * TOKENS_PER_MESSAGE
    prompt = sum(shared + tokens(question.user_message()) for question in questions)
    answer = TOKENS_PER_ANSWER * len(questions)
    once = cost(prompt, answer, settings)
    return CostEstimate(
        pairs=pairs,
        questions=len(questions) + settled + given_up,
        settled=settled,
        given_up=given_up,
        calls=least * len(questions),
        most_calls=votes * len(questions),
        prompt_tokens=least * prompt,
        completion_tokens=least * answer,
        cost=None if once is None else least * once,
        most_cost=None if once is None else votes * once,
    )


def tokens(text: str) -> int:
    """About how many tokens a text has: its bytes in UTF-8 / 4, rounded up."""
    return -(-len(text.encode("utf-8", "surrogatepass")) // BYTES_PER_TOKEN)


def cost(prompt_tokens: int, completion_tokens: int, settings: JudgeSettings) -> float | None:
    """By the prices of a million tokens; None without prices."""
    if settings.price_in is None or settings.price_out is None:
        return None
    return (prompt_tokens * settings.price_in + completion_tokens * settings.price_out) / 1e6


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """What answers took, as the endpoint counted it.

    Attributes:
      answers: how many came, one for each call that brought one.
      nonsense: of them, those without a letter.
      uncounted: of how many the endpoint gave no count; they are in none of the sums.
      cost: None without prices.
    """

    answers: int
    nonsense: int
    uncounted: int
    prompt_tokens: int
    completion_tokens: int
    cost: float | None


def used(answers: Sequence[JudgeAnswer], settings: JudgeSettings) -> Usage:
    """What the answers took."""
    prompt = sum(answer.prompt_tokens or 0 for answer in answers)
    completion = sum(answer.completion_tokens or 0 for answer in answers)
    return Usage(
        answers=len(answers),
        nonsense=sum(answer.letter is None for answer in answers),
        uncounted=sum(None in (answer.prompt_tokens, answer.completion_tokens) for answer in answers),
        prompt_tokens=prompt,
        completion_tokens=completion,
        cost=cost(prompt, completion, settings),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgeReport:
    """What a run did, and what its labels say of the judge.

    Attributes:
      pairs: that were to be judged: those that are ``judged``, ``left_out`` or ``unfinished``.
      judged: of which both orders have an answer.
      left_out: of which an order was asked, and has no answer that can be used.
      unfinished: all others, which are there only where an error ended the run: an order was not asked yet, or not to
        its end.
      this_run, all_runs: what the answers took that came in this run, and all those to these questions in the store.
      failed_tries: of this run, by kind.
      perhaps_paid: of them, those that the endpoint may have counted, though no answer was there to be kept: time-outs,
        connections that broke, and bodies that were no chat completion. They are not in ``this_run``.
      by_logprobs, by_votes: the questions (two of each pair) whose probability is of either kind.
      position_bias: None where no pair was judged.
      output: None where nothing was written: no pair was judged, or an error ended the run.
    """

    pairs: int
    judged: int
    left_out: int
    unfinished: int
    this_run: Usage
    all_runs: Usage
    failed_tries: dict[str, int]
    perhaps_paid: int
    by_logprobs: int
    by_votes: int
    position_bias: PositionBias | None
    output: str | None

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self))
