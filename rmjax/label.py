"""Has pairs of responses judged: by people on a page of this machine, by an AI judge, or by a rule.

    python -m rmjax.label --tasks=responses.jsonl --dimension=harmlessness --output=preferences.jsonl --port=8000
    python -m rmjax.label --judge=openai --base_url=http://127.0.0.1:8000/v1 --model=MODEL \\
        --tasks=responses.jsonl --dimension=harmlessness --output=preferences.jsonl
    python -m rmjax.label --judge=rule --tasks=responses.jsonl --dimension=brevity --tie_margin=20 --output=brief.jsonl

A task is a row ``{"prompt": …, "responses": [… , …]}``, or any preference that ``rmjax.train`` reads, whose pairs are
judged again. docs/labeling.md and docs/labeling_ai.md say more.
"""

from absl import flags

from rmjax.command import results_alone, run
from rmjax.config import DataConfig
from rmjax.datasets.tasks import open_tasks
from rmjax.files import check_bucket
from rmjax.labeling import judge_flags, people_flags, people_job, rule_flags
from rmjax.labeling.ai import label_with_ai
from rmjax.labeling.job_flags import DATA_DIR, DIMENSION, MANUAL_DIR, ON_ERROR, OUTPUT, TASKS, check_given
from rmjax.labeling.labeled import label_with
from rmjax.preferences.record import Preference

JUDGE = flags.DEFINE_enum("judge", "people", ["people", "openai", "rule"], "Who judges.")
judge_flags.define()
rule_flags.define()


def main() -> None:
    check_given(OUTPUT)
    check_bucket(OUTPUT.value)
    if JUDGE.value == "people":
        _by_people()
    elif JUDGE.value == "openai":
        check_given(TASKS, DIMENSION)
        settings = judge_flags.judge_settings(dimension=DIMENSION.value, output=OUTPUT.value)
        with results_alone() as tell:
            label_with_ai(_tasks(), settings, tell=tell)
    else:
        check_given(TASKS, DIMENSION)
        label_with(rule_flags.rule_labeler(dimension=DIMENSION.value), _tasks(), OUTPUT.value)


def _by_people() -> None:
    job, workdir = people_flags.described_job(), people_flags.SCORER.value
    if people_flags.EXPORT.value:
        people_job.export(job)
    elif workdir is None:
        people_job.serve(job)
    else:
        from rmjax.scoring.task_rewards import task_rewards  # here alone, since people need no jax to judge

        people_job.serve(job, task_rewards(workdir, people_flags.SCORER_HEAD.value))


def _tasks() -> tuple[Preference, ...]:
    data = DataConfig(on_error=ON_ERROR.value, data_dir=DATA_DIR.value, manual_dir=MANUAL_DIR.value)
    return open_tasks(TASKS.value, data, dimension=DIMENSION.value)


if __name__ == "__main__":
    run(main)
