"""Bodies read by the decoder that reads rows, which takes nothing that isn't JSON."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from rmjax.preferences.files import decode_line
from rmjax.preferences.record import RowError
from rmjax.scoring.serving_gate import RefusedError


class JsonRoute(APIRoute):
    """A route whose body is one JSON object: a field twice, NaN, a number of thousands of digits or brackets nested
    thousands deep get a 400 that says so, as broken JSON does."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handler(request: Request) -> Response:
            return await handle(_JsonRequest(request.scope, request.receive))

        return handler


class _JsonRequest(Request):
    async def json(self) -> Any:
        try:
            return decode_line(await self.body(), "the body", writable=True)
        except RowError as error:
            field = f" of the field {error.field!r}" if error.field else ""
            message = f"{error.kind}{field}: found {error.found}; right would be a JSON object"
            raise RefusedError(400, error.kind, message) from error
