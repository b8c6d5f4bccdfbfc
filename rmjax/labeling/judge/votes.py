"""What the stored answers to a question come to: a verdict, nonsense to the last try, or something still to be asked.

The estimate before a run and the run itself go by the same rules, which are these.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from rmjax.labeling.judge.answer import JudgeAnswer, read_answer
from rmjax.labeling.judge.settings import JudgeSettings
from rmjax.labeling.judge.store import AnswerStore, StoredAnswer


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What the votes on one question, one order of a pair, come to.

    Attributes:
      first: the probability that the response shown first is better.
      by_logprobs: whether it is from logprobs; else it is the mean of votes.
      seconds: that the answers took, all together.
      judged_at: when the last one came.
    """

    first: float
    by_logprobs: bool
    seconds: float
    judged_at: str


def settled(key: str, store: AnswerStore, settings: JudgeSettings) -> Verdict | None:
    """The verdict that the stored answers to a question give; None while one is missing.

    An answer with logprobs is one by itself. Without them it takes ``votes`` answers, of which each is a letter.
    """
    votes: list[tuple[JudgeAnswer, StoredAnswer]] = []
    seconds = 0.0
    for vote in range(settings.votes):
        attempts = store.attempts(key, vote)
        seconds += sum(attempt.seconds for attempt in attempts)
        answer = read_answer(attempts[-1].body, ties=settings.ties) if attempts else None
        if answer is None or answer.first is None:
            return None
        votes.append((answer, attempts[-1]))
        if answer.by_logprobs:
            votes = votes[-1:]
            break
    firsts = [answer.first for answer, _ in votes if answer.first is not None]
    return Verdict(
        first=sum(firsts) / len(firsts),
        by_logprobs=votes[-1][0].by_logprobs,
        seconds=round(seconds, 3),
        judged_at=votes[-1][1].judged_at,
    )


def given_up(key: str, store: AnswerStore, settings: JudgeSettings) -> str | None:
    """Why a question without a verdict is not asked again: a vote on it stayed nonsense. None where it can be asked."""
    for vote in range(settings.votes):
        answers = stored_answers(key, vote, store, settings)
        if tries_left(answers, settings) > 0:
            return None
        if answers[-1].letter is None:
            return nonsense(answers)
    return None


def stored_answers(key: str, vote: int, store: AnswerStore, settings: JudgeSettings) -> list[JudgeAnswer]:
    """The answers to a question as one vote, in order."""
    return [read_answer(one.body, ties=settings.ties) for one in store.attempts(key, vote)]


def tries_left(answers: Sequence[JudgeAnswer], settings: JudgeSettings) -> int:
    """How often a vote with these answers is still asked for, while no letter comes: 0 once there is one.

    An answer that was cut off where a new one would not be is no reason not to ask again.
    """
    if answers and answers[-1].letter is not None:
        return 0
    most = settings.max_tokens
    cut = sum(answer.cut_off_after is not None and answer.cut_off_after < most for answer in answers)
    return max(0, settings.nonsense_tries - (len(answers) - cut))


def nonsense(answers: Sequence[JudgeAnswer]) -> str:
    """What to say of a vote of which all answers, one at least, are nonsense."""
    last = answers[-1]
    cut = "" if last.cut_off_after is None else f", cut off after {last.cut_off_after} tokens (--max_tokens)"
    return f"no letter in {len(answers)} answers (--nonsense_tries), the last{cut}: {last.text[:80]!r}"
