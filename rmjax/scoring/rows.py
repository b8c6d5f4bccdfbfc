"""Rows to score, read and written as JSON lines.

A row is one of

- ``{"prompt": …, "response": …}``, which comes back with ``reward``;
- ``{"prompt": …, "responses": [… , …]}``, which comes back with ``rewards``, one for each response in order;
- ``{"messages": [{"role": …, "content": …}, …]}``, whose last message is the assistant's and is the response to all
  messages before it; it comes back with ``reward``.

A prompt is text or a list of messages. The response to a text is text, laid right after it; the response to messages is
the text of the assistant's message, or a list of messages of which the first is the assistant's. An empty response
is a response (its end token is scored). All other fields of a row come back as they were.
"""

import contextlib
import gzip
import json
import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from etils import epath

from rmjax.files import written_whole
from rmjax.preferences.files import BYTE_ORDER_MARK, blank_line, decode_line
from rmjax.preferences.record import FileError, Message, RowError, Text

STANDARD = "-"  # stdin or stdout


@runtime_checkable
class ByteSink(Protocol):
    """What lines are written to."""

    def write(self, data: bytes, /) -> int: ...

    def flush(self) -> None: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What a row asks: the rewards of responses to a prompt; ``single`` says that there was one, not a list."""

    prompt: Text
    responses: tuple[Text, ...]
    single: bool


def parse_request(row: Mapping[str, Any], *, origin: str) -> Request:
    """The request of a row, in one of the forms of this module; another is a RowError."""
    for taken in ("reward", "rewards", "error"):
        if taken in row:
            raise _error(origin, taken, "field already there", repr(row[taken]), "a row without it, or another name")
    if "messages" in row:
        return _parse_messages(row, origin)
    if "prompt" not in row:
        right = "'prompt' with 'response' or 'responses', or 'messages'"
        raise _error(origin, "prompt", "missing field", f"the fields {_names(row)}", right)
    prompt = _parse_text(row["prompt"], "prompt", origin)
    if not prompt:
        raise _error(origin, "prompt", "empty field", repr(row["prompt"]), "text or messages")
    if ("response" in row) == ("responses" in row):
        right = "one of 'response' and 'responses'"
        raise _error(origin, "response", "missing or ambiguous field", f"the fields {_names(row)}", right)
    if "response" in row:
        return Request(
            prompt=prompt, responses=(_parse_response(row["response"], prompt, "response", origin),), single=True
        )
    responses = row["responses"]
    if not isinstance(responses, list) or not responses:
        raise _error(origin, "responses", "wrong type or empty", _shown(responses), "a list of at least one response")
    parsed = [_parse_response(value, prompt, f"responses[{place}]", origin) for place, value in enumerate(responses)]
    return Request(prompt=prompt, responses=tuple(parsed), single=False)


def _parse_messages(row: Mapping[str, Any], origin: str) -> Request:
    for other in ("prompt", "response", "responses"):
        if other in row:
            raise _error(origin, other, "ambiguous field", "'messages' beside it", "one of the two")
    messages = _parse_text(row["messages"], "messages", origin)
    if isinstance(messages, str) or len(messages) < 2:
        right = "a list of at least two messages, the prompt's and the assistant's"
        raise _error(origin, "messages", "wrong type or too short", _shown(row["messages"]), right)
    if messages[-1].role != "assistant":
        found, right = f"role {messages[-1].role!r} at the end", "a last message of role 'assistant', which is scored"
        raise _error(origin, f"messages[{len(messages) - 1}]", "wrong role", found, right)
    return Request(prompt=messages[:-1], responses=(messages[-1:],), single=True)


def _parse_response(value: Any, prompt: Text, field: str, origin: str) -> Text:
    """A response of the prompt's kind; text in reply to messages is the assistant's message."""
    response = _parse_text(value, field, origin)
    if isinstance(prompt, str) and not isinstance(response, str):
        raise _error(origin, field, "wrong type", "messages", "text, as the prompt is")
    if not isinstance(prompt, str) and isinstance(response, str):
        return (Message(role="assistant", content=response),)
    if not isinstance(response, str) and not response:
        raise _error(origin, field, "empty field", "[]", "at least one message")
    return response


def _parse_text(value: Any, field: str, origin: str) -> Text:
    if isinstance(value, str):
        return _unicode(value, field, origin)
    if not isinstance(value, list):
        raise _error(origin, field, "wrong type", _shown(value), "text, or a list of messages")
    messages = []
    for place, entry in enumerate(value):
        name = f"{field}[{place}]"
        if not isinstance(entry, Mapping):
            raise _error(origin, name, "wrong type", _shown(entry), 'a message {"role": …, "content": …}')
        for part in ("role", "content"):
            if part not in entry:
                raise _error(origin, f"{name}.{part}", "missing field", f"the fields {_names(entry)}", "text")
            if not isinstance(entry[part], str):
                raise _error(origin, f"{name}.{part}", "wrong type", _shown(entry[part]), "text")
        content = _unicode(entry["content"], f"{name}.content", origin)
        messages.append(Message(role=entry["role"], content=content))
    return tuple(messages)


def _unicode(text: str, field: str, origin: str) -> str:
    """The text, if it is one: JSON can spell half of a surrogate pair, which is no character."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        found = f"{error.object[error.start]!r} at character {error.start}"
        raise _error(origin, field, "not Unicode text", found, "whole characters") from None
    return text


def parse_line(line: bytes, *, origin: str) -> dict[str, Any]:
    """The JSON object of a line, as the reader of preferences takes it, if it can be written again as it was.

    A RowError is raised for a blank line, invalid UTF-8, invalid JSON, a number that JSON can't spell, a field that is
    there twice, and a value that is no object.
    """
    if not line.strip():
        raise blank_line(origin)
    return decode_line(line, origin, writable=True)


def read_lines(path: str) -> Iterator[tuple[str, bytes]]:
    """Yields (``FILE, line N``, line) of a .jsonl or .jsonl.gz file or of stdin, without blank lines at its end."""
    name = "stdin" if path == STANDARD else path
    with _opened(path) as stream:
        number, blank = 0, []
        try:
            for number, line in enumerate(stream, start=1):
                content = line.removeprefix(BYTE_ORDER_MARK) if number == 1 else line
                entry = f"{name}, line {number}", content.rstrip(b"\r\n")
                if line.strip():
                    yield from blank
                    yield entry
                    blank = []
                else:
                    blank.append(entry)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            found, right = f"{error}", "a whole gzip file"
            raise _error(f"{name}, line {number + 1}", "(line)", "broken gzip", found, right) from error


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
        if path.endswith(".gz"):
            with gzip.GzipFile(fileobj=stream) as unpacked:
                yield unpacked
        else:
            yield stream


def _error(origin: str, field: str, kind: str, found: str, right: str) -> RowError:
    return RowError(origin=origin, field=field, kind=kind, found=found, right=right)


def _names(row: Mapping[str, Any]) -> str:
    return ", ".join(repr(name) for name in row) or "none"


def _shown(value: Any) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 60 else text[:57] + '...'}"
