"""The jobs of ``python -m rmjax.label``, which flags each of them heeds, and those that several have in common."""

import enum
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
DIMENSION = flags.DEFINE_string("dimension", None, "On what, as helpfulness, harmlessness, honesty or brevity.")
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


class Job(enum.Enum):
    """What the command does, by the flag that asks for it."""

    PEOPLE = "--judge=people"
    EXPORT = "--export"
    AI = "--judge=openai"
    RULE = "--judge=rule"
    REPORT = "--report"


_OPENED = ("on_error", "data_dir", "manual_dir")  # of what opens data specs
_JUDGED = ("judge", "tasks", "dimension", "output")
_HEEDED = {  # of the flags that are named, and of which modules all
    Job.PEOPLE: ((*_JUDGED, "store", "gold", *_OPENED), ("people_flags", "pair_flags")),
    Job.EXPORT: (("judge", "output", "store", "export"), ()),
    Job.AI: ((*_JUDGED, "store", *_OPENED), ("judge_flags", "pair_flags")),
    Job.RULE: ((*_JUDGED, *_OPENED), ("rule_flags", "pair_flags")),
    Job.REPORT: (("dimension", "gold", *_OPENED), ("report_flags",)),
}


def checked_job() -> Job:
    """The job that the flags ask for; UserError where one of those that are given does nothing in it."""
    if flags.FLAGS["report"].value is not None:
        job = Job.REPORT
    elif JUDGE.value == "people" and flags.FLAGS["export"].value:
        job = Job.EXPORT
    else:
        job = Job(f"--judge={JUDGE.value}")
    heeded = {each: _heeded(each) for each in Job}
    others = set().union(*heeded.values()) - heeded[job]
    wrong = []
    for name in sorted(others):
        if flags.FLAGS[name].present:
            where = " or ".join(each.value for each in Job if name in heeded[each])
            wrong.append(f"--{name} does nothing with {job.value}, only with {where}")
    if wrong:
        raise UserError("; ".join(wrong))
    return job


def _heeded(job: Job) -> set[str]:
    """The names of the flags that the job does something with."""
    common, modules = _HEEDED[job]
    own = (flags.FLAGS.get_flags_for_module(f"{__package__}.{module}") for module in modules)
    return {*common, *(flag.name for found in own for flag in found)}


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
