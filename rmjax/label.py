"""Has pairs of responses judged, and writes the judgments as preferences.

    python -m rmjax.label --judge=openai --base_url=http://127.0.0.1:8000/v1 --model=MODEL \\
        --tasks=responses.jsonl --dimension=harmlessness --output=preferences.jsonl
    python -m rmjax.label --judge=rule --tasks=responses.jsonl --dimension=brevity --tie_margin=20 --output=brief.jsonl

A task is a row ``{"prompt": …, "responses": [… , …]}``, or any preference that ``rmjax.train`` reads, whose pairs are
judged again. The key of an endpoint is read from the environment variable OPENAI_API_KEY.
"""

from absl import flags

from rmjax.command import results_alone, run
from rmjax.config import DataConfig, OnError
from rmjax.datasets.tasks import open_tasks
from rmjax.files import check_bucket
from rmjax.labeling import judge_flags, rule_flags
from rmjax.labeling.ai import label_with_ai
from rmjax.labeling.labeled import label_with
from rmjax.preferences.record import Preference

TASKS = flags.DEFINE_multi_string("tasks", None, "Data specs of what is to be judged, a flag for each.", required=True)
DIMENSION = flags.DEFINE_string("dimension", None, "What is judged.", required=True)
OUTPUT = flags.DEFINE_string("output", None, "The .jsonl or .jsonl.gz file of the judgments.", required=True)
JUDGE = flags.DEFINE_enum("judge", None, ["openai", "rule"], "Who judges.", required=True)
ON_ERROR = flags.DEFINE_enum_class("on_error", OnError.DEFAULT, OnError, "What happens to rows that can't be used.")
DATA_DIR = flags.DEFINE_string("data_dir", None, "Where prepared data sets lie; TFDS's folder if not given.")
MANUAL_DIR = flags.DEFINE_string("manual_dir", None, "A folder of files that are read, not downloaded.")
judge_flags.define()
rule_flags.define()


def main() -> None:
    check_bucket(OUTPUT.value)
    {"openai": _by_ai, "rule": _by_rule}[JUDGE.value]()


def _by_ai() -> None:
    settings = judge_flags.judge_settings(dimension=DIMENSION.value, output=OUTPUT.value)
    with results_alone() as tell:
        label_with_ai(_tasks(), settings, tell=tell)


def _by_rule() -> None:
    label_with(rule_flags.rule_labeler(dimension=DIMENSION.value), _tasks(), OUTPUT.value)


def _tasks() -> tuple[Preference, ...]:
    data = DataConfig(on_error=ON_ERROR.value, data_dir=DATA_DIR.value, manual_dir=MANUAL_DIR.value)
    return open_tasks(TASKS.value, data, dimension=DIMENSION.value)


if __name__ == "__main__":
    run(main)
