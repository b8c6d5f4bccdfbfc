"""The jobs of ``python -m rmjax.label``, and which flags each of them heeds."""

import enum
from types import ModuleType

from absl import flags

from rmjax.errors import UserError
from rmjax.labeling import job_flags, pair_flags, rule_flags
from rmjax.labeling.judge import flags as judge_flags
from rmjax.labeling.people import flags as people_flags
from rmjax.labeling.report import flags as report_flags


class Job(enum.Enum):
    """What the command does, by the flag that asks for it."""

    PEOPLE = "--judge=people"
    EXPORT = "--export"
    AI = "--judge=openai"
    RULE = "--judge=rule"
    REPORT = "--report"


MODULES = (job_flags, people_flags, pair_flags, judge_flags, rule_flags, report_flags)
_JUDGED = (job_flags.JUDGE, job_flags.TASKS, job_flags.DIMENSION, job_flags.OUTPUT)
# Flags, and modules all of whose flags are heeded.
_HEEDED: dict[Job, tuple[tuple[flags.FlagHolder, ...], tuple[ModuleType, ...]]] = {
    Job.PEOPLE: ((*_JUDGED, job_flags.STORE, job_flags.GOLD, *job_flags.OPENED), (people_flags, pair_flags)),
    Job.EXPORT: ((job_flags.JUDGE, job_flags.OUTPUT, job_flags.STORE, people_flags.EXPORT), ()),
    Job.AI: ((*_JUDGED, job_flags.STORE, *job_flags.OPENED), (judge_flags, pair_flags)),
    Job.RULE: ((*_JUDGED, *job_flags.OPENED), (rule_flags, pair_flags)),
    Job.REPORT: ((job_flags.DIMENSION, job_flags.GOLD, *job_flags.OPENED), (report_flags,)),
}


def checked_job() -> Job:
    """The job that the flags ask for; UserError where one of those that are given does nothing in it."""
    if report_flags.FOLDER.value is not None:
        job = Job.REPORT
    elif job_flags.JUDGE.value == "people" and people_flags.EXPORT.value:
        job = Job.EXPORT
    else:
        job = Job(f"--judge={job_flags.JUDGE.value}")
    heeded = {each: heeded_by(each) for each in Job}
    others = set().union(*heeded.values()) - heeded[job]
    wrong = []
    for name in sorted(others):
        if flags.FLAGS[name].present:
            where = " or ".join(each.value for each in Job if name in heeded[each])
            wrong.append(f"--{name} does nothing with {job.value}, only with {where}")
    if wrong:
        raise UserError("; ".join(wrong))
    return job


def heeded_by(job: Job) -> set[str]:
    """The names of the flags that the job does something with."""
    some, modules = _HEEDED[job]
    own = (flags.FLAGS.get_flags_for_module(module) for module in modules)
    return {*(flag.name for flag in some), *(flag.name for found in own for flag in found)}
