"""What every request to the page passes on its way in and out."""

from collections.abc import Collection
from urllib.parse import SplitResult, parse_qsl, urlsplit

from fastapi import HTTPException, Request
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_FORM_BYTES = 16 << 10
_OTHER_NAME = "The page is at http://localhost or http://127.0.0.1, with its port; under other names it needs --tokens."
_HEADERS = {
    # Nothing from elsewhere, no script or style but the page's own files, no frame around it.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Guard:
    """Middleware of ASGI: refuses what doesn't come from the page itself, and says in every answer what may run.

    Args:
      app: what is behind it.
      hosts: the names under which the page may be asked for, without the port; None for any. They keep out a site whose
        name was made to lead to this machine.
    """

    def __init__(self, app: ASGIApp, *, hosts: Collection[str] | None):
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=message["headers"])
                for name, value in _HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")  # going back shows what is true now
                message = {**message, "headers": headers.raw}
            await send(message)

        fault = self._fault(scope["method"], Headers(scope=scope))
        app = self._app if fault is None else fault
        await app(scope, receive, guarded)

    def _fault(self, method: str, headers: Headers) -> PlainTextResponse | None:
        host = _split(f"//{headers.get('host', '')}")
        if host is None or (self._hosts is not None and host.hostname not in self._hosts):
            return PlainTextResponse(_OTHER_NAME, 421)
        if method != "GET" and "origin" in headers:
            origin = _split(headers["origin"])
            if origin is None or origin.netloc != host.netloc:
                return PlainTextResponse("A form of another site can't be sent here.", 403)
        return None


def _split(address: str) -> SplitResult | None:
    """The parts of an address; None where it is none, as ``//[``."""
    try:
        return urlsplit(address)
    except ValueError:
        return None


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a form as browsers send it, the last of those with one name; 413 for a large one, 400 for none."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_FORM_BYTES:
            raise HTTPException(413, "The form is too large.")
    try:
        return dict(parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=50, errors="strict"))
    except ValueError:
        raise HTTPException(400, "This is no form.") from None
