"""Rows to score, read and written as JSON lines.

A row is one of

- ``{"prompt": …, "response": …}``, which comes back with ``reward``;
- ``{"prompt": …, "responses": [… , …]}``, which comes back with ``rewards``, one for each response in order;
- ``{"messages": [{"role": …, "content": …}, …]}``, whose last message is the assistant's and is the response to all
  messages before it; it comes back with ``reward``.

A prompt is text or a list of messages. The response to a text is text, laid right after it; the response to messages is
the text of the assistant's message, or a list of messages of which the first is the assistant's. An empty response
is a response (its end token is scored). A field that is null counts as absent. All other fields of a row come back as
they were.
"""

import contextlib
import gzip
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from etils import epath

from rmjax.files import written_whole
from rmjax.preferences.conversations import checked_text, reply
from rmjax.preferences.fields import Fields, shown
from rmjax.preferences.files import numbered_lines, unzipped
from rmjax.preferences.groups import check_prompt, check_response
from rmjax.preferences.record import FileError, Text

STANDARD = "-"  # stdin or stdout


@runtime_checkable
class ByteSink(Protocol):
    """What lines are written to."""

    def write(self, data: bytes, /) -> int: ...

    def flush(self) -> None: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What a row asks: the rewards of responses to a prompt; ``single`` says that there was one, not a list.

    ``fields`` are the names that errors give the prompt and each response; empty for ``responses[0]`` and so on.
    """

    prompt: Text
    responses: tuple[Text, ...]
    single: bool
    fields: tuple[str, ...] = field(default=(), compare=False)


def parse_request(row: Mapping[str, Any], *, origin: str) -> Request:
    """The request of a row, in one of the forms of this module; another is a RowError."""
    fields = Fields(row, origin)
    check_free(fields, ("reward", "rewards", "error"))
    if fields.has("messages"):
        return _parse_messages(fields)
    right = "'prompt' with 'response' or 'responses', or 'messages'"
    prompt = checked_text(fields, "prompt", fields.required("prompt", right=right))
    check_prompt(fields, "prompt", prompt)
    if fields.has("response") == fields.has("responses"):
        right = "one of 'response' and 'responses'"
        found = f"the fields {fields.names()}"
        raise fields.error("response", "missing or ambiguous field", found=found, right=right)
    if fields.has("response"):
        response = _parse_response(fields, "response", row["response"], prompt)
        return Request(prompt=prompt, responses=(response,), single=True, fields=("prompt", "response"))
    right = "a list of at least one response"
    values = fields.sequence("responses", right=right)
    if not values:
        raise fields.error("responses", "empty field", found="[]", right=right)
    responses = (_parse_response(fields, f"responses[{place}]", value, prompt) for place, value in enumerate(values))
    return Request(prompt=prompt, responses=tuple(responses), single=False)


def check_free(fields: Fields, names: Iterable[str]) -> None:
    """RowError for a row that has one of the fields which it is to get."""
    for name in names:
        if fields.has(name):
            right = "a row without it, or another name"
            raise fields.error(name, "field already there", found=shown(fields.values[name]), right=right)


def _parse_messages(fields: Fields) -> Request:
    for other in ("prompt", "response", "responses"):
        if fields.has(other):
            raise fields.error(other, "ambiguous field", found="'messages' beside it", right="one of the two")
    right = "a list of at least two messages, the prompt's and the assistant's"
    messages = checked_text(fields, "messages", fields.sequence("messages", right=right))
    if isinstance(messages, str) or len(messages) < 2:
        raise fields.error("messages", "too few messages", found=shown(fields.values["messages"]), right=right)
    check_prompt(fields, "messages", messages[:-1])
    if messages[-1].role != "assistant":
        found, right = f"role {messages[-1].role!r} at the end", "a last message of role 'assistant', which is scored"
        raise fields.error(f"messages[{len(messages) - 1}]", "wrong role", found=found, right=right)
    return Request(prompt=messages[:-1], responses=(messages[-1:],), single=True, fields=("messages", "messages"))


def _parse_response(fields: Fields, name: str, value: object, prompt: Text) -> Text:
    """A response of the prompt's kind; text in reply to messages is the assistant's message."""
    response = reply(checked_text(fields, name, value), prompt)
    check_response(fields, name, response, prompt, accepts_empty=True)
    return response


def read_lines(path: str) -> Iterator[tuple[str, bytes]]:
    """Yields (``FILE, line N``, line) of a .jsonl or .jsonl.gz file or of stdin, without blank lines at its end."""
    with _opened(path) as stream:
        yield from numbered_lines("stdin" if path == STANDARD else path, stream)


@contextlib.contextmanager
def opened_output(path: str) -> Iterator[ByteSink]:
    """A stream to write to; a file takes its name only when the block ends without an error."""
    if path == STANDARD:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    with written_whole(path) as temporary, temporary.open("wb") as stream:
        if path.endswith(".gz"):
            with gzip.GzipFile(filename="", fileobj=stream, mode="wb", mtime=0) as packed:  # equal rows, equal bytes
                yield packed
        else:
            yield stream


def to_line(row: Mapping[str, Any]) -> bytes:
    """The row as a line of JSON, in UTF-8 where every text in it is Unicode, else in ASCII escapes."""
    try:
        return json.dumps(row, ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError:
        return json.dumps(row).encode() + b"\n"


@contextlib.contextmanager
def _opened(path: str) -> Iterator[Iterable[bytes]]:
    """The lines of a file or of stdin."""
    if path == STANDARD:
        yield sys.stdin.buffer
        return
    if not epath.Path(path).exists():
        raise FileError(path, found="no such file", right="a .jsonl or .jsonl.gz file, or - for stdin")
    with epath.Path(path).open("rb") as stream:
        yield unzipped(path, stream) if path.endswith(".gz") else stream
