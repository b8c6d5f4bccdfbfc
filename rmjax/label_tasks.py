"""What ``python -m rmjax.label`` has judged: opened by ``rmjax.datasets``, chosen by a model of ``rmjax.scoring``.

Labeling comes before both, so it is given these as functions. Each of them is imported when it is needed.
"""

from rmjax.labeling import pair_flags
from rmjax.labeling.job_flags import DIMENSION, TASKS, data, given
from rmjax.labeling.pairing import Sureness
from rmjax.preferences.record import Preference
from rmjax.preferences.tasks import Task


def opened() -> tuple[Task, ...]:
    """The tasks of --tasks."""
    from rmjax.datasets.tasks import open_tasks

    return open_tasks(given(TASKS), data(), dimension=given(DIMENSION))


def files() -> list[str]:
    """The files among --tasks, which no judgments may replace."""
    from rmjax.datasets.tasks import task_files

    return task_files(given(TASKS))


def sureness(workdir: str, head: str | None) -> Sureness:
    """How sure the model of a run is, by one of its heads."""
    from rmjax.scoring.task_sureness import task_sureness

    return task_sureness(workdir, head)


def chosen(*, limit: int | None = None) -> tuple[Preference, ...]:
    """The pairs that the flags choose of all tasks, for a labeler that is no person; with a limit so many of them."""
    return pair_flags.chosen(opened(), given(DIMENSION), sureness, limit=limit)
