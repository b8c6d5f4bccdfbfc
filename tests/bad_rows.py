"""Bad input as data: what a file holds, and what the message about it must name.

``python -m tests.bad_rows`` writes every file, reads it, and prints a Markdown table of the messages.
"""

import gzip
import json
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rmjax.config import OnError
from rmjax.preferences.read import read_preferences
from rmjax.preferences.record import FileError, RowError
from rmjax.preferences.row_forms import RowDefaults

USER = {"role": "user", "content": "Hi."}
HELLO = {"role": "assistant", "content": "Hello."}
BYE = {"role": "assistant", "content": "Bye."}
PAIR = {"prompt": "Q", "chosen": " a", "rejected": " b"}
GROUP = {"prompt": "Q", "responses": [" a", " b", " c"]}
COMPARED = {**GROUP, "comparisons": [{"left": 0, "right": 1}]}
TALK = {"prompt": [USER], "chosen": [HELLO], "rejected": [BYE]}
ALPACA = {"instruction": "Q", "output_1": "a", "output_2": "b", "preference": 1.2}


@dataclass(frozen=True, kw_only=True)
class BadRow:
    """A file whose third row is bad: of the kind, and in the field, that the error must name."""

    name: str
    content: bytes  # of the row
    kind: str
    field: str = ""


@dataclass(frozen=True, kw_only=True)
class BadFile:
    """A file that can't be read, and what the message must hold; without content it is not written."""

    name: str
    file: str
    content: bytes | None
    message: str


def _row(name: str, row: Any, kind: str, field: str = "") -> BadRow:
    return BadRow(name=name, content=json.dumps(row).encode(), kind=kind, field=field)


def _pair(name: str, kind: str, field: str, **changes: Any) -> BadRow:
    return _row(name, {**PAIR, **changes}, kind, field)


def _talk(name: str, kind: str, field: str, **changes: Any) -> BadRow:
    return _row(name, {**TALK, **changes}, kind, field)


def _compared(name: str, kind: str, field: str, **changes: Any) -> BadRow:
    """Fields of the first comparison are given with the changed value of ``comparison``."""
    comparison = {"left": 0, "right": 1, **changes.pop("comparison", {})}
    return _row(name, {**GROUP, "comparisons": [comparison], **changes}, kind, field)


def _ranked(name: str, kind: str, field: str, ranking: Any, **changes: Any) -> BadRow:
    return _row(name, {**GROUP, "ranking": ranking, **changes}, kind, field)


def _alpaca(name: str, kind: str, field: str, **changes: Any) -> BadRow:
    return _row(name, {**ALPACA, **changes}, kind, field)


def _transcripts(name: str, kind: str, field: str, chosen: str, rejected: str, **changes: Any) -> BadRow:
    return _row(name, {"chosen": chosen, "rejected": rejected, **changes}, kind, field)


def _without(row: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != name}


BAD_ROWS: tuple[BadRow, ...] = (
    # Lines that hold no row.
    BadRow(name="a line cut off", content=b'{"prompt": "Q", "chosen"', kind="invalid JSON"),
    BadRow(name="single quotes", content=b"{'prompt': 'Q'}", kind="invalid JSON"),
    BadRow(name="two objects on one line", content=b'{"prompt": "Q"} {"prompt": "Q"}', kind="invalid JSON"),
    BadRow(name="brackets nested too deep", content=b"[" * 200_000, kind="invalid JSON"),
    BadRow(name="a number of 5000 digits", content=b'{"margin": ' + b"1" * 5000 + b"}", kind="invalid JSON"),
    BadRow(name="Latin-1 text", content='{"prompt": "Grüße"}'.encode("latin-1"), kind="invalid UTF-8"),
    BadRow(name="a blank line between rows", content=b"  ", kind="blank line"),
    _row("an array as a row", ["Q", " a", " b"], "not an object"),
    _row("a text as a row", "Q", "not an object"),
    BadRow(
        name="a field twice",
        content=b'{"prompt": "Q", "chosen": " a", "chosen": " c", "rejected": " b"}',
        kind="duplicate field",
        field="chosen",
    ),
    # Rows of no form.
    _row("no fields", {}, "unknown form"),
    _row("fields of another form", {"question": "Q", "answer": "a"}, "unknown form"),
    # Fields that are missing, empty or of the wrong type.
    _row("rejected is missing", _without(PAIR, "rejected"), "missing field", "rejected"),
    _pair("prompt is null", "missing field", "prompt", prompt=None),
    _pair("prompt is empty", "empty field", "prompt", prompt=""),
    _pair("prompt is white space", "empty field", "prompt", prompt=" \n\t"),
    _pair("rejected is empty", "empty field", "rejected", rejected=""),
    _pair("chosen is white space", "empty field", "chosen", chosen=" \n"),
    _pair("prompt is a number", "wrong type", "prompt", prompt=7),
    _pair("chosen is an object", "wrong type", "chosen", chosen={"text": "a"}),
    _pair("half a surrogate pair", "lone surrogate", "chosen", chosen="a \ud83d b"),
    _pair("allow_empty is text", "wrong type", "allow_empty", allow_empty="yes"),
    _pair("identical responses", "identical responses", "rejected", rejected=" a"),
    _pair(
        "transcripts beside their prompt",
        "prompt repeated",
        "chosen",
        prompt="\n\nHuman: Q\n\nAssistant:",
        chosen="\n\nHuman: Q\n\nAssistant: a",
        rejected="\n\nHuman: Q\n\nAssistant: b",
    ),
    # Judgments of a pair.
    _pair("probability above 1", "out of range", "probability", probability=1.5),
    _pair("probability below 0", "out of range", "probability", probability=-0.01),
    _pair("probability is true", "wrong type", "probability", probability=True),
    _pair("probability is text", "wrong type", "probability", probability="0.8"),
    _pair("margin is NaN", "not finite", "margin", margin=float("nan")),
    _pair("margin is infinite", "not finite", "margin", margin=float("-inf")),
    _pair("margin too large for float32", "not finite", "margin", margin=1e300),
    _pair("margin is an integer of 400 digits", "not finite", "margin", margin=10**400),
    _pair("margin is false", "wrong type", "margin", margin=False),
    _pair("weight is 0", "out of range", "weight", weight=0),
    # What the row was judged on, and by whom.
    _pair("unknown strength", "unknown strength", "strength", strength="very"),
    _pair("unknown side", "unknown shown_first", "shown_first", shown_first="chosen"),
    _pair("negative seconds", "out of range", "seconds", seconds=-1),
    _pair("time without offset", "no time", "judged_at", judged_at="2026-01-31T09:30:00"),
    _pair("time in words", "no time", "judged_at", judged_at="yesterday"),
    _pair("unknown source", "unknown source", "source", source="crowd"),
    _pair("source is a number", "wrong type", "source", source=1),
    _pair("dimension is blank", "empty field", "dimension", dimension=" "),
    _pair("annotator is a number", "wrong type", "annotator", annotator=12),
    _pair("utilities of wrong length", "wrong length", "utilities", utilities=[0.1, 0.2, 0.3]),
    _pair("a utility is NaN", "not finite", "utilities[1]", utilities=[0.1, float("nan")]),
    # Conversations.
    _talk("unknown role", "unknown role", "prompt[0].role", prompt=[{"role": "human", "content": "Hi."}]),
    _talk("message without content", "missing field", "chosen[0].content", chosen=[{"role": "assistant"}]),
    _talk("message is text", "wrong type", "chosen[0]", chosen=["Hello."]),
    _talk("content is a number", "wrong type", "prompt[0].content", prompt=[{"role": "user", "content": 3}]),
    _talk("prompt has no messages", "empty field", "prompt", prompt=[]),
    _talk("chosen has no messages", "empty field", "chosen", chosen=[]),
    _talk("chosen has a blank message", "empty field", "chosen", chosen=[{"role": "assistant", "content": " "}]),
    _talk("content is an image", "unknown content", "prompt[0].content[1]",
          prompt=[{"role": "user", "content": [{"type": "text", "text": "Hi."}, {"type": "image", "url": "x.png"}]}]),
    _talk("a part without text", "missing field", "prompt[0].content[0].text",
          prompt=[{"role": "user", "content": [{"type": "text"}]}]),
    _talk("prompt messages, a blank response text", "empty field", "chosen", chosen=" "),
    _talk("prompt text, response messages", "mixed kinds", "chosen", prompt="Hi."),
    _talk("prompt text, one response of messages", "mixed kinds", "chosen", prompt="Hi.", rejected="Bye."),
    _talk("prompt text, conversations about another", "prompts that differ", "rejected", prompt="Hi.",
          chosen=[USER, HELLO], rejected=[{"role": "user", "content": "Hey."}, BYE]),
    _talk(
        "the prompt does not begin the conversation",
        "prompts that differ",
        "rejected[0]",
        chosen=[USER, HELLO],
        rejected=[{"role": "user", "content": "Hey."}, BYE],
    ),
    _talk("a prompt of more turns", "prompts that differ", "chosen[1]", prompt=[USER, HELLO], chosen=[USER, BYE]),
    _talk("only part of the prompt", "prompts that differ", "chosen[1]", prompt=[USER] * 2, chosen=[USER]),
    _talk("a response that goes on with the user", "wrong role", "chosen", chosen=[USER, USER], rejected=[USER, BYE]),
    _talk("identical conversations", "identical responses", "rejected", rejected=[HELLO]),
    _row("conversations that share nothing", {"chosen": [HELLO], "rejected": [BYE]}, "prompts that differ", "rejected"),
    _row("a transcript and a conversation", {"chosen": [USER, HELLO], "rejected": "Bye."}, "mixed kinds", "rejected"),
    # Transcripts and annotations as they were published (read with on_error=error).
    _transcripts(
        "transcripts that share nothing",
        "prompts that differ",
        "rejected",
        "\n\nHuman: a\n\nAssistant: b",
        "\n\nHuman: c\n\nAssistant: d",
    ),
    _transcripts("texts without a prompt", "prompts that differ", "rejected", "7", "9"),
    _transcripts(
        "identical transcripts", "identical responses", "rejected", *(["\n\nHuman: a\n\nAssistant: b"] * 2)
    ),
    _transcripts("an empty transcript", "empty field", "rejected", "\n\nHuman: a\n\nAssistant: b", ""),
    _alpaca("AlpacaEval: probability beside preference", "judged twice", "probability", probability=0.5),
    _alpaca("AlpacaEval: preference above 2", "out of range", "preference", preference=2.5),
    _alpaca("AlpacaEval: preference below 1", "out of range", "preference", preference=0),
    _alpaca("AlpacaEval: preference is null", "missing field", "preference", preference=None),
    _alpaca("AlpacaEval: preference is NaN", "not finite", "preference", preference=float("nan")),
    _alpaca("AlpacaEval: empty instruction", "empty field", "instruction", instruction=""),
    _alpaca("AlpacaEval: identical outputs", "identical responses", "output_2", output_2="a"),
    # Groups.
    _compared("one response", "too few responses", "responses", responses=[" a"]),
    _compared("responses is text", "wrong type", "responses", responses=" a, b"),
    _compared("identical among three", "identical responses", "responses[2]", responses=[" a", " b", " a"]),
    _compared("an empty response among three", "empty field", "responses[1]", responses=[" a", "", " c"]),
    _row("no judgments", GROUP, "missing field", "comparisons"),
    _row("comparisons and ranking", {**COMPARED, "ranking": [1, 2, 3]}, "two judgments", "comparisons"),
    _row("responses are missing", _without(COMPARED, "responses"), "missing field", "responses"),
    _row("no comparisons", {**GROUP, "comparisons": []}, "empty field", "comparisons"),
    _row("comparisons is an object", {**GROUP, "comparisons": {"left": 0}}, "wrong type", "comparisons"),
    _row("a comparison is a list", {**GROUP, "comparisons": [[0, 1]]}, "wrong type", "comparisons[0]"),
    _row("only left compared", {**GROUP, "comparisons": [{"left": 0}]}, "missing field", "comparisons[0].right"),
    _compared("index too large", "out of range", "comparisons[0].right", comparison={"right": 3}),
    _compared("index below 0", "out of range", "comparisons[0].left", comparison={"left": -1}),
    _compared("index is true", "wrong type", "comparisons[0].left", comparison={"left": True}),
    _compared("index is 1.0", "wrong type", "comparisons[0].right", comparison={"right": 1.0}),
    _compared("left is right", "same response twice", "comparisons[0].right", comparison={"right": 0}),
    _compared("soft label above 1", "out of range", "comparisons[0].probability", comparison={"probability": 80}),
    _compared("a misspelt field", "unknown field", "comparisons[0].probabilty", comparison={"probabilty": 0.3}),
    _compared("margin beside responses", "misplaced field", "margin", margin=1.0),
    _ranked("ranking of wrong length", "wrong length", "ranking", [1, 2]),
    _ranked("ranks from 0", "out of range", "ranking[0]", [0, 1, 2]),
    _ranked("ranks from 2", "out of range", "ranking", [2, 3, 3]),
    _ranked("a rank too large", "out of range", "ranking[2]", [1, 2, 4]),
    _ranked("a rank is 1.5", "wrong type", "ranking[1]", [1, 1.5, 2]),
    _ranked("ranking is text", "wrong type", "ranking", "a > b > c"),
)  # fmt: skip

_GOOD = json.dumps(PAIR).encode() + b"\n"
_ZIPPED = gzip.compress(_GOOD * 100)

BAD_FILES: tuple[BadFile, ...] = (
    BadFile(name="no such file", file="none.jsonl", content=None, message="no such file"),
    BadFile(name="a glob without match", file="*.jsonl", content=None, message="no file that the glob matches"),
    BadFile(name="a glob in no folder", file="none/*.jsonl", content=None, message="no file that the glob matches"),
    BadFile(name="a recursive glob", file="**/*.jsonl", content=None, message="a glob with **"),
    BadFile(name="a folder", file="", content=None, message="a folder"),
    BadFile(name="unknown suffix", file="rows.csv", content=_GOOD, message="'.csv'"),
    BadFile(name="no suffix", file="rows", content=_GOOD, message="the suffix ''"),
    BadFile(name="empty file", file="rows.jsonl", content=b"", message="an empty file"),
    BadFile(name="nothing but blank lines", file="rows.jsonl", content=b"\n \n", message="an empty file"),
    BadFile(name="empty JSON file", file="rows.json", content=b"", message="an empty file"),
    BadFile(name="empty array", file="rows.json", content=b" [ ] ", message="an empty file"),
    BadFile(name="empty gzip file", file="rows.jsonl.gz", content=b"", message="an empty file"),
    BadFile(name="gzip cut off", file="rows.jsonl.gz", content=_ZIPPED[:-20], message="cut off"),
    BadFile(name="array gzip cut off", file="rows.json.gz", content=_ZIPPED[:-20], message="cut off"),
    BadFile(name="not gzip", file="rows.jsonl.gz", content=_GOOD, message="no valid gzip data"),
    BadFile(
        name="damaged gzip",
        file="rows.jsonl.gz",
        content=_ZIPPED[:20] + bytes(byte ^ 255 for byte in _ZIPPED[20:40]) + _ZIPPED[40:],
        message="no valid gzip data",
    ),
    BadFile(name="a JSON file of one object", file="rows.json", content=_GOOD, message="no array"),
    BadFile(name="JSON lines in .json", file="rows.json", content=_GOOD * 2, message="named .jsonl"),
    BadFile(name="array cut off", file="rows.json", content=b"[" + _GOOD, message="row 1: found the end of the file"),
    BadFile(name="array row cut off", file="rows.json", content=b"[" + _GOOD + b', {"a', message="row 2: found"),
    BadFile(name="comma missing", file="rows.json", content=b"[" + _GOOD * 2 + b"]", message="on line 2"),
    BadFile(
        name="comma too many", file="rows.json", content=b"[" + _GOOD + b",]", message="row 2: found ']' on line 2"
    ),
    BadFile(name="text after the array", file="rows.json", content=b"[" + _GOOD + b"]]", message="nothing after"),
    BadFile(name="array in Latin-1", file="rows.json", content=b'["\xfc"]', message="byte 0xfc at position 3"),
    BadFile(name="array nested too deep", file="rows.json", content=b"[" * 200_000, message="row 1"),
    BadFile(name="not Parquet", file="rows.parquet", content=_GOOD, message="what pyarrow can't read"),
    BadFile(name="empty Parquet", file="rows.parquet", content=b"", message="what pyarrow can't read"),
)


def read_bad_row(case: BadRow, folder: Path) -> str:
    """Writes two good rows, the bad one and a good one, reads them, and returns the message of the RowError."""
    (folder / "rows.jsonl").write_bytes(_GOOD * 2 + case.content + b"\n" + _GOOD)
    return _message(folder / "rows.jsonl", RowError)


def read_bad_file(case: BadFile, folder: Path) -> str:
    """Writes the file, reads it, and returns the message of the FileError."""
    if case.content is not None:
        (folder / case.file).write_bytes(case.content)
    return _message(folder / case.file, FileError)


def _message(file: Path, kind: type[ValueError]) -> str:
    try:
        read_preferences(file, defaults=RowDefaults("helpfulness"), on_error=OnError.ERROR)
    except kind as error:
        return str(error)
    raise AssertionError(f"{file} was read without an error")


def table() -> str:
    """A Markdown table of all cases and their messages, with DIR for the folder of the files."""
    lines = ["| input | message |", "|---|---|"]
    for case in (*BAD_ROWS, *BAD_FILES):
        with tempfile.TemporaryDirectory() as folder:
            read = read_bad_row(case, Path(folder)) if isinstance(case, BadRow) else read_bad_file(case, Path(folder))
            message = re.sub(re.escape(folder), "DIR", read).replace("|", "\\|")
        lines.append(f"| {case.name} | `{message}` |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
