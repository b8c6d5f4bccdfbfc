"""Rewards from a running server (``python -m rmjax.serve``), for programs that have no jax.

It needs the standard library and requests alone, so that a trainer's environment takes rewards with nothing else
installed.
"""

import email.utils
import logging
import os
import random
import ssl
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent import futures
from dataclasses import dataclass
from typing import Any

import requests
from requests.auth import AuthBase

from rmjax.batches.limits import cut_prompts_message
from rmjax.errors import ReportedError, UserError
from rmjax.scoring.source import PromptGroup, TooLong

_LOG = logging.getLogger(__name__)
API_KEY = "RMJAX_API_KEY"  # the environment variable, for the server and for its clients
MOST_RESPONSES = 256  # of a request; more are asked for in several
TOO_MANY = "too many responses"  # the kind of a refusal of more than the server takes at a time
TOO_LONG = ("response too long", "system turn too long", "spells a special token")  # of texts that the model can't take
CONNECT_TIMEOUT_S = 10.0
FIRST_WAIT_S = 0.25  # between two tries; it doubles
LONGEST_WAIT_S = 10.0
_LATER = (429, 502, 503, 504)  # a full queue, and a server that starts, ends or is behind a proxy that waits for it
_TOO_LARGE = requests.codes.request_entity_too_large
_ENDED = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)  # of connections, not of what is trusted


@dataclass(frozen=True, kw_only=True, slots=True)
class RemoteGroup:
    """What a server says of a prompt with its responses.

    Attributes:
      rewards: of each response.
      spreads: in their units; None of what has no reward, of a model without an ensemble, and where the server is of a
        version that says none.
      cut_below: the model's limit, in tokens, where the prompt was longer and lost the first of them; else None.
    """

    rewards: list[float | TooLong]
    spreads: list[float | None]
    cut_below: int | None


class RequestRefusedError(UserError):
    """A server said that the request is wrong; it would say so again."""


class ServerFailedError(ReportedError):
    """A server gave no usable answer for as long as was to be waited."""


class _NotNowError(Exception):
    """A try that failed, and may succeed later; ``after_s`` is the least wait that the server asked for."""

    def __init__(self, message: str, after_s: float = 0.0):
        super().__init__(message)
        self.after_s = after_s


@dataclass(frozen=True, kw_only=True, slots=True)
class RewardClient:
    """Asks a server for rewards, a prompt with all of its responses in one request, several requests at a time.

    Scoring changes nothing on the server, so a try that failed is simply made again: on a connection that breaks or is
    refused, an answer that is cut short or takes too long, and the status codes 429, 502, 503 and 504; after
    ``Retry-After``, and at least after a wait that doubles. A server that is killed and started again loses nothing.
    The API key is read from the environment variable ``RMJAX_API_KEY``.

    Attributes:
      url: of the server, without a path, as ``http://127.0.0.1:8000``.
      head: the reward head; needed where the model has several.
      normalized: whether rewards are those that the checkpoint's mean and standard deviation normalise.
      concurrency: the most requests at a time.
      timeout_s: how long a try waits for its answer.
      patience_s: how long a request is tried again, from its first failure on.
    """

    url: str
    head: str | None = None
    normalized: bool = False
    concurrency: int = 16
    timeout_s: float = 120.0
    patience_s: float = 600.0

    def __post_init__(self):
        if not self.url.startswith(("http://", "https://")):
            raise UserError(f"the server's URL is {self.url!r}; right would be one as http://127.0.0.1:8000")
        if self.concurrency < 1:
            raise UserError(f"concurrency is {self.concurrency}; right would be at least 1")

    def rewards(self, groups: Sequence[PromptGroup]) -> list[list[float | TooLong]]:
        """The reward of each response of each group, in their order; a warning counts prompts that were cut.

        Raises:
          RequestRefusedError, ServerFailedError: as ``scored``.
        """
        found = self.scored(groups)
        cut = [group.cut_below for group in found if group.cut_below is not None]
        if cut:
            _LOG.warning("%s", cut_prompts_message("scoring", len(cut), cut[0]))
        return [group.rewards for group in found]

    def scored(self, groups: Sequence[PromptGroup]) -> list[RemoteGroup]:
        """The same without a warning, and what is known of each group's prompt.

        Raises:
          RequestRefusedError: for a request that the server can't take, with what it said; a response that is too long
            for the model is a ``TooLong`` in its place instead.
          ServerFailedError: where nothing came back within ``patience_s``, the server's log says more (a 500), or its
            certificate isn't trusted.
        """
        stop = threading.Event()
        pool = futures.ThreadPoolExecutor(max_workers=max(1, min(self.concurrency, len(groups))))
        try:
            waiting = [pool.submit(self._scored, group, stop) for group in groups]
            done, _ = futures.wait(waiting, return_when=futures.FIRST_EXCEPTION)
            for future in done:
                future.result()  # that of the first to fail, whichever group it was
            return [future.result() for future in waiting]
        finally:
            stop.set()  # where one has failed, the others don't wait for their next try
            pool.shutdown(cancel_futures=True)

    def _scored(self, group: PromptGroup, stop: threading.Event) -> RemoteGroup:
        """A group, in parts where the server can't take it whole.

        Of responses that are too long it names only the first, so each is then asked for by itself.
        """
        if len(group.responses) > MOST_RESPONSES:
            return self._scored_in_parts(group, MOST_RESPONSES, stop)
        response = self._answered(group, stop)
        if response.status_code == requests.codes.ok:
            return self._read(response, group)
        said, count = _said(response), len(group.responses)
        if said.get("kind") in TOO_LONG:
            if count > 1 and said.get("response") is not None:
                return self._scored_in_parts(group, 1, stop)
            fault = TooLong(kind=said["kind"], found=said["found"], right=said["right"])
            return RemoteGroup(rewards=[fault] * count, spreads=[None] * count, cut_below=None)
        if count > 1 and (said.get("kind") == TOO_MANY or response.status_code == _TOO_LARGE):
            return self._scored_in_parts(group, _fewer(count, said), stop)
        if response.status_code >= 500:
            raise ServerFailedError(f"{group.origin}: {self.url} failed ({response.status_code}): {said['error']}")
        raise RequestRefusedError(f"{group.origin}: {self.url} refused it ({response.status_code}): {said['error']}")

    def _scored_in_parts(self, group: PromptGroup, size: int, stop: threading.Event) -> RemoteGroup:
        parts = [self._scored(part, stop) for part in group.parts(size)]
        limits = (part.cut_below for part in parts if part.cut_below is not None)
        return RemoteGroup(
            rewards=[reward for part in parts for reward in part.rewards],
            spreads=[spread for part in parts for spread in part.spreads],
            cut_below=next(limits, None),
        )

    def _answered(self, group: PromptGroup, stop: threading.Event) -> requests.Response:
        """The server's answer, good or a refusal, after as many tries as it takes."""
        failed_at, wait_s = None, FIRST_WAIT_S
        while True:
            try:
                return self._try(group)
            except _NotNowError as error:
                now = time.monotonic()
                failed_at = now if failed_at is None else failed_at
                # Spread, so that all who were sent away don't come back at the same moment.
                pause = max(error.after_s, wait_s) * random.uniform(1.0, 1.25)
                if now + pause - failed_at > self.patience_s or stop.wait(pause):
                    waited = f"given up after {now - failed_at:.0f} s (patience_s is {self.patience_s:g})"
                    raise ServerFailedError(f"{self.url} doesn't answer: {error}; {waited}") from error
                wait_s = min(2 * wait_s, LONGEST_WAIT_S)

    def _try(self, group: PromptGroup) -> requests.Response:
        body = {"prompt": group.prompt, "responses": list(group.responses)}
        if self.head is not None:
            body["head"] = self.head
        try:
            response = requests.post(
                f"{self.url.rstrip('/')}/v1/rewards", json=body, auth=_Bearer(os.environ.get(API_KEY)),
                timeout=(CONNECT_TIMEOUT_S, self.timeout_s),
            )  # fmt: skip
        except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
            if fault := _lasting_fault_of_tls(error):
                raise ServerFailedError(
                    f"{self.url} can't be trusted, or speaks no TLS: {fault}; right would be a certificate for that "
                    "name that this machine trusts (REQUESTS_CA_BUNDLE names a file of more), or http:// without one"
                ) from error
            raise _NotNowError(str(error)) from error
        if response.status_code in _LATER:
            raise _NotNowError(
                f"status {response.status_code}, {_said(response)['error']}",
                _seconds(response.headers.get("Retry-After")),
            )
        if response.status_code == requests.codes.ok:
            try:
                response.json()
            except requests.JSONDecodeError as error:
                raise _NotNowError(f"an answer that is not JSON ({error})") from error
        return response

    def _read(self, response: requests.Response, group: PromptGroup) -> RemoteGroup:
        """The numbers of an answer, one for each response."""
        name, beside = ("normalized_reward", "normalized_spread") if self.normalized else ("reward", "spread")
        try:
            answer = response.json()
            found = [entry[name] for entry in answer["rewards"]]
            spreads = [entry.get(beside) for entry in answer["rewards"]]
            cut, limit = answer["usage"]["cut_prompts"], answer["usage"]["max_prompt_tokens"]
        except (AttributeError, KeyError, TypeError) as error:
            raise ServerFailedError(f"{self.url} answers in another form than rmjax.serve: {error!r}") from error
        if found and isinstance(found[0], dict):
            raise RequestRefusedError(f"{self.url} has several reward heads; head must be one of {', '.join(found[0])}")
        if self.normalized and None in found:
            raise RequestRefusedError(f"{self.url} has no mean and deviation to normalise its rewards by")
        if len(found) != len(group.responses) or not all(isinstance(reward, int | float) for reward in found):
            raise ServerFailedError(f"{self.url} gave {found!r:.80} for {len(group.responses)} responses")
        if not all(spread is None or isinstance(spread, int | float) for spread in spreads):
            raise ServerFailedError(f"{self.url} gave the spreads {spreads!r:.80}; right would be numbers, or null")
        return RemoteGroup(
            rewards=[float(reward) for reward in found],
            spreads=[None if spread is None else float(spread) for spread in spreads],
            cut_below=limit if cut else None,
        )


class _Bearer(AuthBase):
    """The API key in its header; given as ``auth``, for else a ``.netrc`` might put another there."""

    def __init__(self, key: str | None):
        self._key = key

    def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._key:
            r.headers["Authorization"] = f"Bearer {self._key}"
        return r


def _said(response: requests.Response) -> dict[str, Any]:
    """The fields of an answer that is no reward; of another server's, ``error`` with its text."""
    try:
        found = response.json()
    except requests.JSONDecodeError:
        found = None
    if isinstance(found, dict) and "error" in found:
        return found
    return {"error": response.text[:500].strip() or response.reason}


def _fewer(count: int, said: Mapping[str, Any]) -> int:
    """How many of the responses to ask for at a time, where all were too many: what the server takes, or half."""
    limit = said.get("limit") if said.get("kind") == TOO_MANY else None
    return limit if isinstance(limit, int) and 0 < limit < count else (count + 1) // 2


def _lasting_fault_of_tls(error: BaseException | None) -> ssl.SSLError | None:
    """What of TLS is behind an error and will be there at the next try too, as a certificate that isn't trusted is; not
    that a connection ended, which a server that is killed ends so."""
    while error is not None:
        if isinstance(error, ssl.SSLError) and not isinstance(error, _ENDED):
            return error
        error = error.__cause__ or error.__context__
    return None


def _seconds(retry_after: str | None) -> float:
    """What ``Retry-After`` asks to wait: seconds, or a date of HTTP; 0 where it says neither."""
    if retry_after is None:
        return 0.0
    if retry_after.strip().isdigit():
        return float(retry_after)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time())
    except ValueError:
        return 0.0
