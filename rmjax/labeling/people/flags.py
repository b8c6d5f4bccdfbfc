"""The flags of a labeling job for people."""

from collections.abc import Callable, Sequence

from absl import flags

from rmjax.errors import UserError
from rmjax.labeling.job_flags import DIMENSION, GOLD, OUTPUT, STORE, TASKS, data, given, one_of
from rmjax.labeling.pair_flags import PAIRS, PAIRS_PER_TASK, MakeSureness, scorer, sureness
from rmjax.labeling.people.job import PeopleJob, export, serve
from rmjax.labeling.people.judged import gold_path
from rmjax.labeling.replaced import check_unread
from rmjax.preferences.tasks import Task
from rmjax.preferences.write import checked_output

_QUESTION = flags.DEFINE_string("question", None, "What is asked; the four dimensions have a question of their own.")
_ANNOTATORS = flags.DEFINE_integer("annotators_per_pair", 1, "How many judge each pair.", lower_bound=1)
_GOLD_RATE = flags.DEFINE_float("gold_rate", 0.1, "With which probability the next pair is one.", 0.0, 1.0)
_LEASE = flags.DEFINE_float("lease_minutes", 10.0, "For how long a pair that is shown is nobody else's.", 0.1)
_STRENGTH = flags.DEFINE_bool("strength", False, "Asks how much better: slightly, clearly or much.")
_TOKENS = flags.DEFINE_string("tokens", None, "A file of lines NAME TOKEN; only with a token can one judge then.")
_HOST = flags.DEFINE_string("host", "127.0.0.1", "The address to listen on; other machines need --tokens.")
EXPORT = flags.DEFINE_bool("export", False, "Writes what people have judged so far, and serves nothing.")
_PORT = flags.DEFINE_integer("port", 8000, "The port; 0 for any that is free.", lower_bound=0, upper_bound=65535)


def run(tasks: Callable[[], Sequence[Task]], files: Callable[[], Sequence[str]], make_sureness: MakeSureness) -> None:
    """Does what the flags ask for; ``tasks`` opens what is judged, and ``files`` names those that it reads.

    ConfigError where the judgments would replace one of them.
    """
    if EXPORT.value:
        export(_described_job())
    else:
        given(TASKS)
        given(DIMENSION)
        job = _described_job()
        check_unread((job.output, gold_path(job.output)), files())
        serve(job, tasks, sureness(make_sureness))


def _described_job() -> PeopleJob:
    """The job that the flags describe; UserError where it can't be."""
    if flags.FLAGS[_GOLD_RATE.name].present and not GOLD.value:
        raise UserError("--gold_rate is given without the --gold whose pairs come at that rate")
    return PeopleJob(
        output=checked_output(given(OUTPUT)), store=STORE.value, dimension=DIMENSION.value, on_error=data().on_error,
        question=_QUESTION.value, pairs=PAIRS.value, pairs_per_task=PAIRS_PER_TASK.value,
        scorer=scorer(),
        annotators_per_pair=_ANNOTATORS.value, gold=one_of(GOLD), gold_rate=_GOLD_RATE.value,
        lease_minutes=_LEASE.value, strength=_STRENGTH.value, tokens=_TOKENS.value, host=_HOST.value, port=_PORT.value,
    )  # fmt: skip
