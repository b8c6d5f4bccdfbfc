"""Has pairs judged by people on a page of this machine, by an AI judge or by a rule; says what the judgments say.

python -m rmjax.label --tasks=responses.jsonl --dimension=harmlessness --output=preferences.jsonl --port=8000
python -m rmjax.label --judge=openai --model=MODEL --tasks=responses.jsonl --dimension=honesty --output=honest.jsonl
python -m rmjax.label --judge=rule --tasks=responses.jsonl --dimension=brevity --output=brief.jsonl
python -m rmjax.label --report=labels --data=people.jsonl,judge.jsonl
"""

from absl import flags

from rmjax import label_tasks
from rmjax.command import results_alone, run
from rmjax.files import check_bucket
from rmjax.labeling import rule_flags
from rmjax.labeling.job_flags import DIMENSION, OUTPUT, data, given
from rmjax.labeling.jobs import MODULES, Job, checked_job
from rmjax.labeling.judge import flags as judge_flags
from rmjax.labeling.people import flags as people_flags
from rmjax.labeling.report import flags as report_flags

for module in MODULES:
    flags.adopt_module_key_flags(module)  # so that --help shows them


def main() -> None:
    job = checked_job()
    if job is Job.REPORT:
        _report()
    elif job in (Job.PEOPLE, Job.EXPORT):
        people_flags.run(label_tasks.opened, label_tasks.files, label_tasks.sureness)
    else:
        _by_machine(given(DIMENSION), given(OUTPUT), by_rule=job is Job.RULE)


def _by_machine(dimension: str, output: str, *, by_rule: bool) -> None:
    from rmjax.labeling import labeled, replaced  # here, as all imports below: each job needs few of them
    from rmjax.labeling.judge.job import label_with_ai

    check_bucket(output)
    settings = None if by_rule else judge_flags.judge_settings(dimension=dimension, output=output)
    replaced.check_unread([output, *([settings.orders_path] if settings else [])], label_tasks.files())
    with results_alone() as tell:
        if settings is None:
            labeler = rule_flags.rule_labeler(dimension=dimension)
            tell(labeled.label_with(labeler, label_tasks.chosen(), output))
        else:
            label_with_ai(label_tasks.chosen(limit=judge_flags.LIMIT.value), settings, tell=tell)


def _report() -> None:
    from rmjax.datasets.open import open_many
    from rmjax.labeling.report.report import report_labels

    found, gold = (open_many(specs, data(), dimension=report_flags.dimension()) for specs in report_flags.specs())
    with results_alone() as tell:
        tell(report_labels(found, gold=gold, folder=report_flags.FOLDER.value))


if __name__ == "__main__":
    run(main)
