"""Other golden conversations for an export than those of the validation data, whose text may not be for everybody."""

from collections.abc import Iterator

from rmjax.evaluation.golden import GoldenText
from rmjax.preferences.files import decode_line
from rmjax.preferences.record import FileError, Message
from rmjax.scoring.rows import parse_request, read_lines

NEUTRAL = "neutral"
_ASKED = (
    ("What is the capital of France?", "Paris.", "I don't know."),
    ("How many legs does a spider have?", "Eight: it is no insect.", "Six."),
    ("Name a prime above ten.", "11", "12, because it is even."),
)


def golden_texts(choice: str) -> tuple[GoldenText, ...]:
    """The conversations that are chosen: ``neutral`` for some that ship with the code, as plain texts and as messages;
    else a file of rows in a form of ``rmjax.scoring.rows``.

    Raises:
      FileError, RowError: for a file that isn't there or has no rows, and for a row of no such form.
    """
    if choice == NEUTRAL:
        return tuple(_neutral())
    found = []
    for origin, line in read_lines(choice):
        request = parse_request(decode_line(line, origin), origin=origin)
        found += [GoldenText(request.prompt, response, origin) for response in request.responses]
    if not found:
        raise FileError(choice, found="no rows, an empty file", right="at least one row")
    return tuple(found)


def _neutral() -> Iterator[GoldenText]:
    origin = f"the golden texts {NEUTRAL!r}"
    for question, *answers in _ASKED:
        for answer in answers:
            yield GoldenText(f"Question: {question}\nAnswer:", f" {answer}", origin)
            asked, said = Message(role="user", content=question), Message(role="assistant", content=answer)
            yield GoldenText((asked,), (said,), origin)
