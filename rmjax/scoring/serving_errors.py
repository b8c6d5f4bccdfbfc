"""What is answered where no reward is: a status, a message for people, and its parts for programs."""

import http
from typing import Any

from absl import logging
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from rmjax.errors import ReportedError, UserError
from rmjax.preferences.fields import shown
from rmjax.preferences.record import RowError
from rmjax.scoring.client import TOO_MANY
from rmjax.scoring.queueing import QueueFullError, StoppedError
from rmjax.scoring.serving import ClientGoneError, TextsTooLargeError, TooManyResponsesError
from rmjax.scoring.serving_gate import RefusedError, refusal
from rmjax.scoring.whole_texts import TextError

_CLIENT_GONE = 499  # nginx's number; nobody reads it but the log
_FAULTS_SHOWN = 4
_INVALID = "invalid fields"


class ErrorAnswer(BaseModel):
    """Says what was found and what would be right; what doesn't apply is left out."""

    error: str = Field(description="For people.")
    kind: str = Field(description="A short name of the reason, for programs.", examples=["response too long"])
    field: str | None = Field(default=None, description="Of a row or a text that can't be used: where it is.")
    found: str | None = Field(default=None, description="What was found there.")
    right: str | None = Field(default=None, description="What would be right there.")
    response: int | None = Field(default=None, description="The index of the text in the list that was asked about.")
    request: int | None = Field(default=None, description="Of a row's text: the index of the row, 0 of one alone.")
    limit: int | None = Field(default=None, description="The most that is taken, of what there is too much of.")


def declared(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The refusals of a route, for OpenAPI."""
    retry = {"Retry-After": {"description": "In so many seconds.", "schema": {"type": "integer"}, "required": True}}
    about = {
        400: "No JSON object.", 401: "No API key, or a wrong one.", 413: "A body or texts that are too large.",
        415: "Another content type than application/json.", 422: "What the protocol or the model can't take.",
        429: "Too much waits.", 503: "The server is stopping.",
    }  # fmt: skip
    headers = {429: {"headers": retry}, 503: {"headers": retry}}
    return {
        status: {"model": ErrorAnswer, "description": about[status], **headers.get(status, {})} for status in statuses
    }


def answer_errors(app: FastAPI) -> None:
    """Each type of error as its refusal."""
    handlers: dict[type[Exception], Any] = {
        HTTPException: _of_http,
        RequestValidationError: lambda _, error: refusal(422, _INVALID, _validation_message(error)),
        RowError: _of_row,
        TooManyResponsesError: lambda _, error: refusal(422, TOO_MANY, str(error), limit=error.limit),
        TextsTooLargeError: lambda _, error: refusal(413, "texts too large", str(error), limit=error.limit),
        UserError: lambda _, error: refusal(422, _INVALID, str(error)),
        QueueFullError: lambda _, error: refusal(
            429, "queue full", str(error), {"Retry-After": str(error.retry_after)}
        ),
        StoppedError: lambda _, error: refusal(503, "stopping", str(error), {"Retry-After": "1"}),
        ClientGoneError: lambda _, error: refusal(_CLIENT_GONE, "client gone", "the client has gone"),
        ReportedError: _of_the_model,
        Exception: lambda _, error: refusal(500, "server failed", "the server failed; its log says how"),
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)


def _of_http(_: Request, error: HTTPException) -> Response:
    kind = error.kind if isinstance(error, RefusedError) else http.HTTPStatus(error.status_code).phrase.lower()
    return refusal(error.status_code, kind, str(error.detail), error.headers)


def _of_row(_: Request, error: RowError) -> Response:
    request, response = (error.request, error.response) if isinstance(error, TextError) else (None, None)
    return refusal(
        422, error.kind, str(error), field=error.field or None, found=error.found, right=error.right,
        response=response, request=request,
    )  # fmt: skip


def _of_the_model(_: Request, error: ReportedError) -> Response:
    logging.error("%s", error)
    return refusal(500, "model failed", str(error))


def _validation_message(error: RequestValidationError) -> str:
    """Fields and what is wrong with them, without the values: they may be long, or no Unicode."""
    faults = error.errors()
    parts = [
        f"{'.'.join(map(str, fault['loc'][1:])) or 'the body'}: {fault['msg']}" for fault in faults[:_FAULTS_SHOWN]
    ]
    more = f"; and {len(faults) - _FAULTS_SHOWN} more" if len(faults) > _FAULTS_SHOWN else ""
    return "; ".join(part if len(part) < 200 else shown(part) for part in parts) + more
