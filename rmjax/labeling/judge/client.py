"""One request to an OpenAI-compatible endpoint, tried again for as long as that may help."""

import asyncio
import datetime
import email.utils
import json
import os
import random
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from absl import logging

from rmjax.errors import ReportedError, UserError
from rmjax.labeling.judge.answer import MalformedAnswerError, read_answer
from rmjax.labeling.judge.settings import JudgeSettings
from rmjax.labeling.judge.store import StoredAnswer

API_KEY = "OPENAI_API_KEY"
TOP_LOGPROBS = 10  # alternatives of a token: enough for each letter in several spellings
FIRST_WAIT_S = 0.5  # at most, between two tries; it doubles
LONGEST_WAIT_S = 60.0
# Kinds of failures before which an endpoint may have worked; where there was "no connection" it was asked nothing.
PERHAPS_PAID = ("timeout", "connection", "malformed answer")
_KEY_PART = 6  # so many characters of a key are not shown
_LATER = (408, 409, 429)  # and 500 and above
_NEVER = {  # and what to look at
    401: f"the key in the environment variable {API_KEY}",
    403: f"the key in the environment variable {API_KEY}, or what it may do",
    404: "--base_url and --model",
}
_NO_KEY = f"the environment variable {API_KEY} is not set; right would be the endpoint's key there"


class EndpointError(UserError):
    """The endpoint said what it would say to every question: no key, no such model, no money left."""


class UnansweredError(ReportedError):
    """One question got no answer: it was refused, or every try failed."""


class _NotNowError(Exception):
    """A try that failed and may succeed later; ``after_s`` is the least wait that the endpoint asked for."""

    def __init__(self, kind: str, message: str, after_s: float = 0.0):
        super().__init__(message)
        self.kind, self.after_s = kind, after_s


class JudgeClient:
    """Asks by the ``openai`` client, whose own tries are turned off: here they are counted, and wait for each other.

    Tried again are status 408, 409, 429 and 500 and above, time-outs, connections that break or can't be made, and
    bodies that are no chat completion. The wait is a random one between half and all of a time that doubles, and at
    least what ``Retry-After`` says; that one holds for all requests. The key is read from ``OPENAI_API_KEY``; where an
    own ``base_url`` is given there need not be one.

    Attributes:
      failures: how many tries failed, by kind.
    """

    def __init__(self, settings: JudgeSettings, *, first_wait_s: float = FIRST_WAIT_S):
        import httpx2  # with which openai asks
        import openai  # takes a second, which nobody but an AI judge should wait for

        key = os.environ.get(API_KEY, "").strip()
        if not key and settings.base_url is None and not os.environ.get("OPENAI_BASE_URL"):
            raise UserError(f"the environment variable {API_KEY} is not set; OpenAI's endpoint needs a key there")
        if not (key.isascii() and key.isprintable()):  # what the client would say of it has the key in it
            raise UserError(f"the environment variable {API_KEY} holds what can't be in a header; right would be ASCII")
        self._openai, self._never_connected = openai, httpx2.ConnectError
        self._client = openai.AsyncOpenAI(
            api_key=key or "none", base_url=settings.base_url, timeout=settings.timeout_s, max_retries=0
        )
        self._key = key
        self._settings = settings
        self._first_wait_s = first_wait_s
        self._not_before = 0.0
        self.failures: Counter[str] = Counter()

    async def close(self) -> None:
        await self._client.close()

    async def ask(self, system: str, user: str, *, stopped: Callable[[], bool]) -> StoredAnswer:
        """The answer to one question.

        ``stopped`` says that the run is over, after which nothing is waited for and nothing tried again.

        Raises:
          EndpointError: for what is true of every question.
          UnansweredError: when this one was refused, or its tries are used up.
        """
        for number in range(self._settings.tries):
            await self._wait(stopped)
            if stopped():
                raise UnansweredError("the run ended before it was asked")
            try:
                return await self._try(system, user)
            except _NotNowError as error:
                self.failures[error.kind] += 1
                last = self._told(error)
                if stopped() or number == self._settings.tries - 1:
                    raise UnansweredError(f"no usable answer after {number + 1} tries; the last: {last}") from None
                longest = min(LONGEST_WAIT_S, self._first_wait_s * 2**number)
                logging.debug("tried again: %s", last)
                if error.after_s > 0:
                    self._not_before = max(self._not_before, time.monotonic() + error.after_s)
                    if error.after_s > LONGEST_WAIT_S:
                        logging.warning("the endpoint asks to wait %d s (%s)", error.after_s, error)
                await pause(random.uniform(longest / 2, longest), stopped)
        raise AssertionError("there is at least one try")

    async def _wait(self, stopped: Callable[[], bool]) -> None:
        """Until the time that the endpoint named last; not all requests then come at once."""
        if (left := self._not_before - time.monotonic()) <= 0:
            return
        while left > 0 and not stopped():  # meanwhile the time may have moved on
            await pause(left, stopped)
            left = self._not_before - time.monotonic()
        await pause(random.uniform(0.0, self._first_wait_s), stopped)

    async def _try(self, system: str, user: str) -> StoredAnswer:
        openai, settings = self._openai, self._settings
        began = time.monotonic()
        asked: dict[str, Any] = {settings.max_tokens_name: settings.max_tokens}
        if settings.logprobs:
            asked |= {"logprobs": True, "top_logprobs": TOP_LOGPROBS}
        try:
            async with asyncio.timeout(settings.timeout_s):  # the client's own begins anew with every byte
                raw = await self._client.chat.completions.with_raw_response.create(
                    model=settings.model,
                    messages=[{"role": "system", "content": system}, {"role": "user", "content": user}],
                    temperature=1.0,  # votes are draws, and every server's logprobs are those of the draw, at 1 alone
                    **asked,
                )
            body = json.loads(raw.http_response.content)
            read_answer(body, ties=settings.ties)
        except (openai.APITimeoutError, TimeoutError):
            raise _NotNowError("timeout", f"no answer in {settings.timeout_s:g} s") from None
        except openai.APIConnectionError as error:
            kind = "no connection" if isinstance(error.__cause__, self._never_connected) else "connection"
            raise _NotNowError(kind, f"the connection failed ({error.__cause__ or error})") from None
        except openai.APIStatusError as error:
            raise self._refusal(error) from None
        except (MalformedAnswerError, ValueError) as error:  # ValueError: broken JSON, or no UTF-8
            raise _NotNowError("malformed answer", f"an answer that is no chat completion ({error})") from None
        seconds = time.monotonic() - began
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        return StoredAnswer(body=body, seconds=round(seconds, 3), judged_at=now)

    def _refusal(self, error: Any) -> Exception:
        """What an answer with the status of an error means."""
        status, said = error.status_code, self._told(error)
        if status in _NEVER:
            look = f"look at {_NEVER[status]}" if self._key or status == 404 else _NO_KEY
            path = self._client.base_url.path.rstrip("/")
            if status == 404 and not path.endswith("/v1"):
                look += f": the address has the path {path or '/'!r}, and most endpoints want /v1 at its end"
            return EndpointError(f"{self._client.base_url.host} answered with status {status} ({said}); {look}")
        if status == 402 or error.code == "insufficient_quota":
            return EndpointError(f"{self._client.base_url.host}: the account can't pay ({said})")
        if status in _LATER or status >= 500:
            return _NotNowError(f"status {status}", f"status {status}, {said}", _seconds(error.response.headers))
        return UnansweredError(f"refused with status {status}: {said}")

    def _told(self, error: Exception) -> str:
        """The message of an error in at most 300 characters, without the key, or words that have a part of it."""
        text = " ".join(str(error).split())
        if self._key:
            text = text.replace(self._key, "[key]")
            text = " ".join("[key]" if _has_part(word, self._key) else word for word in text.split())
        return text[:300]


def _has_part(word: str, key: str) -> bool:
    """Whether a word has a key's last 4 characters or any 6 in a row, as endpoints repeat it: ``sk-abc***wxyz``."""
    parts = {key[at : at + _KEY_PART] for at in range(len(key) - _KEY_PART + 1)}
    if len(key) > _KEY_PART:
        parts.add(key[-4:])
    return any(part in word for part in parts)


async def pause(seconds: float, stopped: Callable[[], bool]) -> None:
    """Waits so long, or until the run is over."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0 and not stopped():
        await asyncio.sleep(min(left, 0.5))


def _seconds(headers: Any) -> float:
    """What ``Retry-After`` asks to wait: seconds, or a date of HTTP; 0 where it says neither."""
    value = headers.get("retry-after")
    if value is None:
        return 0.0
    try:
        return max(0.0, float(value)) if float(value) < float("inf") else 0.0
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return 0.0
