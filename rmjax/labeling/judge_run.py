"""Asking all questions: several at a time, each answer kept before it counts, none asked for twice."""

import asyncio
import contextlib
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from absl import logging

from rmjax.errors import ReportedError
from rmjax.labeling.judge_answer import Answer, read_answer
from rmjax.labeling.judge_client import FIRST_WAIT_S, EndpointError, JudgeClient, UnansweredError
from rmjax.labeling.judge_question import Question, system_message
from rmjax.labeling.judge_settings import JudgeSettings
from rmjax.labeling.judge_store import AnswerStore, StoredAnswer

_NEWS_EVERY = 200  # questions
_MOST_IN_A_ROW = 10  # questions without an answer, or twice as many as are asked at a time


class EndpointDownError(ReportedError):
    """So many questions in a row got no answer that the endpoint, not the questions, must be at fault."""


class EndedBySignalError(ReportedError):
    """Somebody ended the run, by Ctrl-C or otherwise; the exit code is the one that shells give such a process."""

    def __init__(self, number: signal.Signals):
        super().__init__(f"ended by {number.name}; what was answered is kept: the same command goes on from there")
        self.exit_code = 128 + number


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


@dataclass(kw_only=True, slots=True)
class Asked:
    """What a run did: the calls that brought an answer, the tries that failed, by kind, the questions, by key, that
    stay without an answer, with the reason, and the error that ended it early."""

    calls: int = 0
    nonsense: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    unanswered: dict[str, str] = field(default_factory=dict)
    ended_by: ReportedError | None = None


def settled(key: str, store: AnswerStore, settings: JudgeSettings) -> Verdict | None:
    """The verdict that the stored answers to a question give; None while one is missing.

    An answer with logprobs is one by itself. Without them it takes ``votes`` answers, of which each is a letter.
    """
    votes: list[tuple[Answer, StoredAnswer]] = []
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


def ask_all(
    questions: Mapping[str, Question],
    store: AnswerStore,
    settings: JudgeSettings,
    *,
    first_wait_s: float = FIRST_WAIT_S,
) -> Asked:
    """Asks until each question, by its key, is settled or has used up its tries, or an error ends the run.

    Then, what is under way is still waited for and kept, and the error is told with what was done: an EndpointError for
    what the endpoint would say to every question; an EndpointDownError when 10 questions, or twice as many as are asked
    at a time, got no answer in a row; an EndedBySignalError at SIGINT or SIGTERM. A second signal ends it at once.

    Raises:
      UserError: for a key that can't be used, before anything is asked.
    """
    return asyncio.run(_Run(store, settings, len(questions)).through(questions, first_wait_s))


class _Run:
    def __init__(self, store: AnswerStore, settings: JudgeSettings, total: int):
        self._store, self._settings, self._total = store, settings, total
        self._system = system_message(settings.constitution, ties=settings.ties)
        self._asked = Asked()
        self._done = 0
        self._failed_in_a_row = 0
        self._error: ReportedError | None = None

    async def through(self, questions: Mapping[str, Question], first_wait_s: float) -> Asked:
        client = JudgeClient(self._settings, first_wait_s=first_wait_s)
        waiting = iter(questions.items())
        try:
            with _first_signal(self._end):
                await asyncio.gather(*(self._work(client, waiting) for _ in range(self._settings.concurrency)))
        finally:
            await client.close()
        self._asked.failures = client.failures
        self._asked.ended_by = self._error
        return self._asked

    def _end(self, number: signal.Signals) -> None:
        logging.warning("%s: waiting for the answers under way, %g s at most; the next one ends it at once",
                        number.name, self._settings.timeout_s)  # fmt: skip
        self._error = self._error or EndedBySignalError(number)

    async def _work(self, client: JudgeClient, waiting: Iterable[tuple[str, Question]]) -> None:
        """Takes one question after the other, from those that nobody has taken yet."""
        for key, question in waiting:
            if self._error is not None:
                return
            try:
                await self._settle(client, key, question)
            except EndpointError as error:
                self._error = self._error or error
            except UnansweredError as error:
                if self._error is None:
                    self._give_up(key, str(error))
            self._done += 1
            if self._done % _NEWS_EVERY == 0:
                logging.info("%d of %d questions, %d calls", self._done, self._total, self._asked.calls)

    async def _settle(self, client: JudgeClient, key: str, question: Question) -> None:
        for vote in range(self._settings.votes):
            answer = await self._voted(client, key, question, vote)
            if answer is None or answer.by_logprobs:
                return

    async def _voted(self, client: JudgeClient, key: str, question: Question, vote: int) -> Answer | None:
        """The vote of that number, stored or asked for; None where it stays nonsense."""
        answers = [read_answer(one.body, ties=self._settings.ties) for one in self._store.attempts(key, vote)]
        tries = self._settings.nonsense_tries - sum(not self._may_be_longer(answer) for answer in answers)
        while not (answers and answers[-1].letter) and tries > 0:
            if self._error is not None:
                return None
            new = await client.ask(self._system, question.user_message(), stopped=lambda: self._error is not None)
            self._store.add(key, vote=vote, attempt=len(answers), model=self._settings.model, answer=new)
            answers.append(read_answer(new.body, ties=self._settings.ties))
            tries -= 1
            self._failed_in_a_row = 0
            self._asked.calls += 1
            self._asked.nonsense += answers[-1].letter is None
        last = answers[-1]
        if last.letter:
            return last
        cut = "" if last.cut_off_after is None else f", cut off after {last.cut_off_after} tokens (--max_tokens)"
        said = f"no letter in {len(answers)} answers (--nonsense_tries), the last{cut}: {last.text[:80]!r}"
        self._asked.unanswered[key] = said
        return None

    def _may_be_longer(self, answer: Answer) -> bool:
        """Whether a stored answer was cut off where a new one would not be: then it is no reason not to ask again."""
        return answer.cut_off_after is not None and answer.cut_off_after < self._settings.max_tokens

    def _give_up(self, key: str, reason: str) -> None:
        """Counts a question without an answer; too many in a row end the run."""
        self._asked.unanswered[key] = reason
        self._failed_in_a_row += 1
        if self._failed_in_a_row >= max(_MOST_IN_A_ROW, 2 * self._settings.concurrency):
            self._error = EndpointDownError(
                f"{self._failed_in_a_row} questions in a row got no answer; of the last: {reason}. What was answered "
                "is kept: the same command goes on from there"
            )


@contextlib.contextmanager
def _first_signal(end: Callable[[signal.Signals], None]) -> Iterator[None]:
    """Calls ``end`` at the first SIGINT or SIGTERM, unless it is ignored; the next ones do what they did before."""
    if threading.current_thread() is not threading.main_thread():  # to which all signals come
        yield
        return
    loop = asyncio.get_running_loop()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    heard = [number for number, handler in handlers.items() if handler is not signal.SIG_IGN]

    def leave() -> None:
        for number in heard:
            if loop.remove_signal_handler(number):
                signal.signal(number, handlers[number] or signal.SIG_DFL)

    def at_first(number: signal.Signals) -> None:
        leave()
        end(number)

    for number in heard:
        loop.add_signal_handler(number, at_first, number)
    try:
        yield
    finally:
        leave()
