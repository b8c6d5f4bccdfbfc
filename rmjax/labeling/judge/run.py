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
from rmjax.labeling.judge.answer import JudgeAnswer, read_answer
from rmjax.labeling.judge.client import FIRST_WAIT_S, EndpointError, JudgeClient, UnansweredError
from rmjax.labeling.judge.question import Question, system_message
from rmjax.labeling.judge.settings import JudgeSettings
from rmjax.labeling.judge.store import AnswerStore
from rmjax.labeling.judge.votes import nonsense, stored_answers, tries_left

_NEWS_EVERY = 200  # questions
_MOST_IN_A_ROW = 10  # questions without an answer, or twice as many as are asked at a time


class EndpointDownError(ReportedError):
    """So many questions in a row got no answer that the endpoint, not the questions, must be at fault."""


class EndedBySignalError(ReportedError):
    """Somebody ended the run, by Ctrl-C or otherwise; the exit code is the one that shells give such a process."""

    def __init__(self, number: signal.Signals):
        super().__init__(f"ended by {number.name}; what was answered is kept: the same command goes on from there")
        self.exit_code = 128 + number


@dataclass(kw_only=True, slots=True)
class Asked:
    """What a run did: the answers that came, the tries that failed, by kind, the questions, by key, that were asked
    and stay without an answer that can be used, with the reason, and the error that ended it early."""

    answers: list[JudgeAnswer] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)
    unanswered: dict[str, str] = field(default_factory=dict)
    ended_by: ReportedError | None = None


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
                logging.info("%d of %d questions, %d answers", self._done, self._total, len(self._asked.answers))

    async def _settle(self, client: JudgeClient, key: str, question: Question) -> None:
        for vote in range(self._settings.votes):
            answer = await self._voted(client, key, question, vote)
            if answer is None or answer.by_logprobs:
                return

    async def _voted(self, client: JudgeClient, key: str, question: Question, vote: int) -> JudgeAnswer | None:
        """The vote of that number, stored or asked for; None where it stays nonsense, or the run ends."""
        answers = stored_answers(key, vote, self._store, self._settings)
        tries = tries_left(answers, self._settings)
        while tries > 0:
            if self._error is not None:
                return None
            new = await client.ask(self._system, question.user_message(), stopped=lambda: self._error is not None)
            self._store.add(key, vote=vote, attempt=len(answers), model=self._settings.model, answer=new)
            answers.append(read_answer(new.body, ties=self._settings.ties))
            self._asked.answers.append(answers[-1])
            self._failed_in_a_row = 0
            tries = 0 if answers[-1].letter else tries - 1
        if answers[-1].letter:
            return answers[-1]
        self._asked.unanswered[key] = nonsense(answers)
        return None

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
