"""Continuous batching: calls that wait are gathered into packed batches, computed by one thread.

A call is tokenized by a thread of its own while the device computes what came before it. Whenever the device is free
it is given all groups (a prompt with its responses) that wait, in their order, up to a budget of tokens. Nothing here
knows of the web.
"""

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from absl import logging

from rmjax.batches.contract import EncodedGroup
from rmjax.evaluation.rewards import NonFiniteRewardsError
from rmjax.preferences.record import RowError
from rmjax.scoring.queueing import BatchLimits, BatchReport, QueueFullError, ScoredGroup, StoppedError, text_bytes
from rmjax.scoring.rows import Request
from rmjax.scoring.source import Uncertain

_LINGER = 0.1  # of the seconds that the last batch took: the longest that more is waited for, to fill the next
_LONGEST_LINGER = 0.05  # seconds
_FILL = 0.96  # of a call's slots: about how full its rows are
_NEWEST = 0.3  # what the last batch counts in the measured pace
_LONGEST_RETRY = 60  # seconds


@dataclass(kw_only=True, slots=True, eq=False)
class _Call:
    requests: Sequence[Request]
    responses: int
    text_bytes: int
    future: Future[list[ScoredGroup]] = field(default_factory=Future)
    found: dict[int, ScoredGroup] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Piece:
    """A group of a call."""

    call: _Call
    number: int
    group: EncodedGroup
    tokens: int


class Batcher:
    """Takes calls from any thread and answers each by a future; ``start`` and ``stop`` are its life.

    Args:
      encode: makes tokens of requests; faults are kept in the groups.
      score: the rewards of encoded groups and their spreads, all in one go.
      limits: of batches and of what waits.
      on_batch: is told of every batch, by the thread that computes.
    """

    def __init__(
        self,
        encode: Callable[[Sequence[Request]], list[EncodedGroup]],
        score: Callable[[Sequence[EncodedGroup]], list[list[Uncertain]]],
        limits: BatchLimits,
        on_batch: Callable[[BatchReport], None],
    ):
        self._encode, self._score, self._limits, self._on_batch = encode, score, limits, on_batch
        self._changed = threading.Condition()
        self._waiting: deque[_Piece] = deque()
        self._held = 0  # responses of calls that have no answer yet
        self._held_bytes = 0  # of their texts
        self._taking, self._dropping, self._ended = False, False, False
        self._pace = 0.0  # responses a second, while it computes
        self._last: BatchReport | None = None
        self._tokenizer = ThreadPoolExecutor(1, "tokenizer")
        self._computer = threading.Thread(target=self._compute, name="computer", daemon=True)

    @property
    def waiting(self) -> int:
        """The responses that have been taken and have no answer yet."""
        return self._held

    @property
    def waiting_bytes(self) -> int:
        """The bytes of their texts."""
        return self._held_bytes

    @property
    def taking(self) -> bool:
        """Whether calls are taken."""
        return self._taking

    def start(self) -> None:
        self._computer.start()
        self._taking = True

    def refuse(self) -> None:
        """Takes no more calls; those that were taken are answered."""
        with self._changed:
            self._taking = False

    def stop(self, *, finish: bool = True) -> None:
        """Ends both threads, after all that was taken is answered; or at once, and what waits gets a StoppedError."""
        self.refuse()
        if not finish:
            self._drop()
        self._tokenizer.shutdown(wait=True, cancel_futures=False)
        with self._changed:
            self._ended = True
            self._changed.notify()
        self._computer.join()

    def submit(self, requests: Sequence[Request]) -> Future[list[ScoredGroup]]:
        """Takes a call; to cancel the future drops what of it isn't computed yet.

        The future's exception is a RowError where the text contract can't take a text, a StoppedError where the batcher
        was stopped without finishing, and else what computing raised.

        Raises:
          QueueFullError, StoppedError: where it isn't taken.
        """
        responses = sum(len(request.responses) for request in requests)
        call = _Call(requests=requests, responses=responses, text_bytes=text_bytes(requests))
        with self._changed:
            if not self._taking:
                raise StoppedError
            self._check_room(call)
            self._held += call.responses
            self._held_bytes += call.text_bytes
            call.future.add_done_callback(lambda _: self._release(call))
            self._tokenizer.submit(self._tokenize, call)
        return call.future

    def _check_room(self, call: _Call) -> None:
        limits = self._limits
        if self._held + call.responses > limits.waiting_responses:
            raise QueueFullError(f"{self._held} responses", limits.waiting_responses, self._retry_after())
        if self._held_bytes + call.text_bytes > limits.waiting_bytes:
            raise QueueFullError(f"{self._held_bytes} bytes of text", limits.waiting_bytes, self._retry_after())

    def _release(self, call: _Call) -> None:
        with self._changed:
            self._held -= call.responses
            self._held_bytes -= call.text_bytes

    def _retry_after(self) -> int:
        """Whole seconds until what waits is done, by the measured pace."""
        expected = math.ceil(self._held / self._pace) if self._pace else 1
        return min(max(expected, 1), _LONGEST_RETRY)

    def _tokenize(self, call: _Call) -> None:
        if call.future.done():
            return
        try:
            if self._dropping:
                raise StoppedError
            groups = self._encode(call.requests)
            for group in groups:
                _raise_fault(group)
        except Exception as error:  # whoever waits for the future is told
            self._fail(call, error)
            return
        pieces = [
            _Piece(call=call, number=number, group=group, tokens=distinct_tokens(group))
            for number, group in enumerate(groups)
        ]
        with self._changed:
            self._waiting.extend(pieces)
            self._changed.notify()

    def _compute(self) -> None:
        while taken := self._take():
            began = time.monotonic()
            self._answer(taken)
            report = _report(taken, time.monotonic() - began)
            pace = report.responses / max(report.seconds, 1e-6)
            with self._changed:
                self._pace = pace if not self._pace else _NEWEST * pace + (1 - _NEWEST) * self._pace
                self._last = report
            try:
                self._on_batch(report)
            except Exception:  # a report that can't be taken is no reason to answer nobody any more
                logging.exception("the report of a batch is lost")

    def _take(self) -> list[_Piece]:
        """Waits for pieces and takes what fits in the budget and fills whole calls; none when it is over.

        Those who were just answered are likely to ask again at once. So half as many groups as the last batch had are
        waited for, a moment that is short beside what a batch takes: with as many again the batches fall into two that
        take turns, and while one is computed the others get their answers and ask anew.
        """
        with self._changed:
            while True:
                self._gather()
                taken = self._fitting()
                if taken or self._ended:
                    return taken

    def _gather(self) -> None:
        """Waits for a piece, and then the moment."""
        self._changed.wait_for(lambda: self._waiting or self._ended)
        last = self._last
        if last is not None and self._limits.batching:
            seconds = min(_LINGER * last.seconds, _LONGEST_LINGER)
            self._changed.wait_for(lambda: 2 * len(self._waiting) >= last.groups or self._ended, seconds)

    def _fitting(self) -> list[_Piece]:
        taken: list[_Piece] = []
        tokens, room = 0, self._room()
        while self._waiting:
            piece = self._waiting[0]
            if not piece.call.future.done():
                other = bool(taken) and not self._limits.batching and piece.call is not taken[0].call
                if taken and (other or tokens + piece.tokens > room):
                    break
                taken.append(piece)
                tokens += piece.tokens
            self._waiting.popleft()
        return taken

    def _room(self) -> int:
        """The tokens of the next batch at most: the budget, or as many whole calls as what waits fills."""
        waiting = sum(piece.tokens for piece in self._waiting if not piece.call.future.done())
        call = max(1, int(_FILL * self._limits.call_tokens))
        return min(self._limits.batch_tokens, waiting // call * call or self._limits.batch_tokens)

    def _drop(self) -> None:
        with self._changed:
            self._dropping = True
            for piece in self._waiting:
                self._fail(piece.call, StoppedError())
            self._waiting.clear()

    def _answer(self, taken: list[_Piece]) -> None:
        """Computes pieces; where some reward isn't finite each piece is computed alone, so that one fails alone."""
        try:
            scored = self._score([piece.group for piece in taken])
        except NonFiniteRewardsError as error:
            if len(taken) == 1:
                self._fail(taken[0].call, error)
                return
            for piece in taken:
                self._answer([piece])
            return
        except Exception as error:  # the calls of this batch are told; the next batch may well be computed
            logging.exception("a batch of %d groups failed", len(taken))
            for piece in taken:
                self._fail(piece.call, error)
            return
        for piece, rewards in zip(taken, scored, strict=True):
            self._complete(piece, rewards)

    def _complete(self, piece: _Piece, rewards: list[Uncertain]) -> None:
        call, tokens = piece.call, [len(conversation) for conversation in piece.group.conversations]
        call.found[piece.number] = ScoredGroup(
            rewards=rewards, tokens=tokens, computed_tokens=piece.tokens, cut_tokens=piece.group.cut
        )
        if len(call.found) < len(call.requests):
            return
        with self._changed:
            if not call.future.done() and call.future.set_running_or_notify_cancel():
                call.future.set_result([call.found[number] for number in range(len(call.requests))])

    def _fail(self, call: _Call, error: Exception) -> None:
        with self._changed:
            if not call.future.done() and call.future.set_running_or_notify_cancel():
                call.future.set_exception(error)


def _report(taken: Sequence[_Piece], seconds: float) -> BatchReport:
    return BatchReport(
        groups=len(taken),
        cut_prompts=sum(piece.group.cut > 0 for piece in taken),
        responses=sum(len(piece.group.conversations) for piece in taken),
        tokens=sum(piece.tokens for piece in taken),
        seconds=seconds,
    )


def _raise_fault(group: EncodedGroup) -> None:
    fault: RowError | None
    for fault in group.faults:
        if fault is not None:
            raise fault


def distinct_tokens(group: EncodedGroup) -> int:
    """Tokens of the conversations, with what all of them begin with alike counted once."""
    first, last = min(group.conversations), max(group.conversations)  # what sorted ends share, all share
    length = min(len(first), len(last))
    shared = next((place for place in range(length) if first[place] != last[place]), length)
    return sum(map(len, group.conversations)) - (len(group.conversations) - 1) * shared
