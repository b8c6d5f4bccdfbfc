"""What every request passes on its way in and out: the key, the size of its body, the count of it and the log."""

import hmac
import time
from collections.abc import Mapping

from absl import logging
from fastapi import HTTPException
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rmjax.preferences.fields import shown
from rmjax.scoring.serving_metrics import ServingMetrics

_OPEN = frozenset({"/health", "/ready"})  # to all, a key or none: whoever watches has none
_QUIET = frozenset({"/health", "/ready", "/metrics"})  # asked every few seconds: not logged
_BROKEN = 500
_TOO_LARGE = "body too large"


class RefusedError(HTTPException):
    """A request that is refused before it is understood; ``kind`` is a short name of the reason."""

    def __init__(self, status: int, kind: str, message: str):
        super().__init__(status, message)
        self.kind = kind


def refusal(
    status: int, kind: str, message: str, headers: Mapping[str, str] | None = None, **details: str | int | None
) -> JSONResponse:
    """The form of all answers but those that were asked for; text that isn't Unicode is escaped.

    Args:
      status: of HTTP.
      kind: a short name of the reason, by which programs tell it from others.
      message: the same for people.
      headers: of the answer.
      details: what else programs may read; what is None is left out.
    """
    found = {"error": message, "kind": kind, **details}
    body = {
        name: value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value
        for name, value in found.items()
        if value is not None
    }
    return JSONResponse(body, status_code=status, headers=headers)


class Gate:
    """Middleware of ASGI.

    Args:
      app: what is behind it.
      metrics: where requests are counted.
      most_bytes: of a body; one with more gets a 413, before it is read where it says so.
      api_key: without it in ``Authorization: Bearer …`` a request gets a 401; None lets everyone in.
    """

    def __init__(self, app: ASGIApp, *, metrics: ServingMetrics, most_bytes: int, api_key: str | None):
        self._app, self._metrics, self._most = app, metrics, most_bytes
        self._key = None if api_key is None else f"Bearer {api_key}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.monotonic(), _BROKEN

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            refused = self._refused(scope)
            if refused is None:
                await self._app(scope, self._bounded(receive), sending)
            else:
                await refused(scope, receive, sending)
        finally:
            self._tell(scope, status, time.monotonic() - began)

    def _refused(self, scope: Scope) -> JSONResponse | None:
        """The answer to a request that needn't be read."""
        headers = Headers(scope=scope)
        if self._key is not None and scope["path"] not in _OPEN:
            given = headers.get("authorization", "").encode("latin-1")
            if not hmac.compare_digest(given, self._key):
                found = "found another" if given else "found none"
                message = f"wrong API key: {found}; right would be the header Authorization: Bearer KEY"
                return refusal(401, "wrong API key", message, {"WWW-Authenticate": "Bearer"})
        if scope["method"] != "POST":
            return None
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length) > self._most:
            return refusal(413, _TOO_LARGE, self._too_large(f"{length} bytes"))
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            found = shown(kind) if kind else "none"
            message = f"the content type is {found}; right would be application/json"
            return refusal(415, "wrong content type", message)
        return None

    def _bounded(self, receive: Receive) -> Receive:
        """Receives the body up to the limit, whatever length it was said to have."""
        read = 0

        async def receiving() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._most:
                raise RefusedError(413, _TOO_LARGE, self._too_large("more"))
            return message

        return receiving

    def _too_large(self, found: str) -> str:
        return f"the body has {found}; right would be at most {self._most} bytes (--max_request_bytes)"

    def _tell(self, scope: Scope, status: int, seconds: float) -> None:
        """Counts by the route, so that made-up paths don't make counters, and logs."""
        route = scope["route"].path if "route" in scope else "none"
        self._metrics.answered(route, status, seconds)
        if route not in _QUIET:
            client = scope["client"][0] if scope.get("client") else "unknown"
            logging.info("%s %s from %s: %d, %.0f ms", scope["method"], route, client, status, 1000 * seconds)
