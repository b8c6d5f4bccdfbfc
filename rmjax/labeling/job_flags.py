"""The flags that several jobs of ``python -m rmjax.label`` have in common; ``rmjax.labeling.jobs`` says which."""

from collections.abc import Sequence
from typing import TypeVar

from absl import flags

from rmjax.config import DataConfig, OnError
from rmjax.errors import UserError

Value = TypeVar("Value")
JUDGE = flags.DEFINE_enum("judge", "people", ["people", "openai", "rule"], "Who judges.")
TASKS = flags.DEFINE_multi_string(
    "tasks", [], "What is judged: rows {prompt, responses} or preferences; any data specs. May be repeated.",
)  # fmt: skip
DIMENSION = flags.DEFINE_string(
    "dimension", None,
    "On what, as helpfulness, harmlessness, honesty or brevity;\n"
    "for --report, the dimension of rows that don't say their own.",
)  # fmt: skip
OUTPUT = flags.DEFINE_string("output", None, "The .jsonl or .jsonl.gz file of the judgments.")
STORE = flags.DEFINE_string(
    "store", None, "The SQLite file that keeps the work; OUTPUT.sqlite, or a judge's OUTPUT.answers.sqlite."
)
GOLD = flags.DEFINE_multi_string(
    "gold", [], "Preferences whose answers are known, to check people's attention: mixed in, or looked for in --data."
)
_ON_ERROR = flags.DEFINE_enum_class(
    "on_error", OnError.DEFAULT, OnError,
    "What happens to rows that can't be used: error stops at the first, skip counts them; default skips in published "
    "files that are known to hold a few, and stops in all others.",
)  # fmt: skip
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Where prepared data sets lie; TFDS's folder if not given.")
_MANUAL_DIR = flags.DEFINE_string("manual_dir", None, "A folder of files that are read, not downloaded.")
OPENED = (_ON_ERROR, _DATA_DIR, _MANUAL_DIR)
"""Those that say how data specs are opened."""


def given(flag: flags.FlagHolder[Value | None]) -> Value:
    """The value of a flag that a job can't do without; UserError where it is missing."""
    if not flag.value:
        raise UserError(f"--{flag.name} is missing: {flags.FLAGS[flag.name].help.splitlines()[0].rstrip(';')}")
    return flag.value


def one_of(flag: flags.FlagHolder[Sequence[str]]) -> str | None:
    """The value of a flag that may be repeated, but not for people; None where it isn't given."""
    if len(flag.value) > 1:
        raise UserError(f"--{flag.name} is given {len(flag.value)} times; for people it must be one file, or one glob")
    return next(iter(flag.value), None)


def data() -> DataConfig:
    """Where data sets lie, and what happens to rows that can't be used."""
    return DataConfig(on_error=_ON_ERROR.value, data_dir=_DATA_DIR.value, manual_dir=_MANUAL_DIR.value)
