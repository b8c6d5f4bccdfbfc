"""The flags of ``python -m rmjax.label`` that all who judge have in common."""

from absl import flags

from rmjax.config import OnError
from rmjax.errors import UserError

TASKS = flags.DEFINE_multi_string("tasks", [], "What is judged: rows {prompt, responses} or preferences; repeatable.")
DIMENSION = flags.DEFINE_string("dimension", None, "On what, as helpfulness, harmlessness, honesty or brevity.")
OUTPUT = flags.DEFINE_string("output", None, "The .jsonl or .jsonl.gz file of the judgments.")
STORE = flags.DEFINE_string(
    "store", None, "The SQLite file that keeps the work; OUTPUT.sqlite, or a judge's OUTPUT.answers.sqlite."
)
ON_ERROR = flags.DEFINE_enum_class("on_error", OnError.DEFAULT, OnError, "What happens to rows that can't be used.")
DATA_DIR = flags.DEFINE_string("data_dir", None, "Where prepared data sets lie; TFDS's folder if not given.")
MANUAL_DIR = flags.DEFINE_string("manual_dir", None, "A folder of files that are read, not downloaded.")


def check_given(*needed: flags.FlagHolder) -> None:
    """UserError for the first of the flags that is missing."""
    for flag in needed:
        if not flag.value:
            raise UserError(f"--{flag.name} is missing: {flags.FLAGS[flag.name].help}")
