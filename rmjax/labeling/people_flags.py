"""The flags of a labeling job for people."""

from collections.abc import Callable

from absl import flags

from rmjax.errors import UserError
from rmjax.labeling.job_flags import DIMENSION, GOLD, OUTPUT, STORE, TASKS, given, one_of
from rmjax.labeling.pairing import PairRule, Sureness
from rmjax.labeling.people_job import PeopleJob, export, serve

_QUESTION = flags.DEFINE_string("question", None, "What is asked; the four dimensions have a question of their own.")
_PAIRS = flags.DEFINE_enum_class(
    "pairs", PairRule.ALL, PairRule,
    "Which pairs of a task's responses are shown: all; round_robin, each response about equally often; or least_sure, "
    "first those that the model of --scorer_workdir is least sure of, or with the closest of the rows' field rewards.",
)  # fmt: skip
_PAIRS_PER_TASK = flags.DEFINE_integer("pairs_per_task", None, "At most; not with --pairs=all.", lower_bound=1)
_ANNOTATORS = flags.DEFINE_integer("annotators_per_pair", 1, "How many judge each pair.", lower_bound=1)
_GOLD_RATE = flags.DEFINE_float("gold_rate", 0.1, "With which probability the next pair is one.", 0.0, 1.0)
_LEASE = flags.DEFINE_float("lease_minutes", 10.0, "For how long a pair that is shown is nobody else's.", 0.1)
_STRENGTH = flags.DEFINE_bool("strength", False, "Asks how much better: slightly, clearly or much.")
_TOKENS = flags.DEFINE_string("tokens", None, "A file of lines NAME TOKEN; only with a token can one judge then.")
_HOST = flags.DEFINE_string("host", "127.0.0.1", "The address to listen on; other machines need --tokens.")
_EXPORT = flags.DEFINE_bool("export", False, "Writes what people have judged so far, and serves nothing.")
_SCORER = flags.DEFINE_string("scorer_workdir", None, "The run whose model chooses pairs, for --pairs=least_sure.")
_SCORER_HEAD = flags.DEFINE_string("scorer_head", None, "The head of it, of a model with several.")
_PORT = flags.DEFINE_integer("port", 8000, "The port; 0 for any that is free.", lower_bound=0, upper_bound=65535)


def run(make_sureness: Callable[[str, str | None], Sureness]) -> None:
    """Does what the flags ask for; ``make_sureness`` makes what says how sure (a workdir, a head of its model) is."""
    job, workdir, head = _described_job(), _SCORER.value, _SCORER_HEAD.value
    if _EXPORT.value:
        export(job)
        return
    if workdir is not None and job.pairs is not PairRule.LEAST_SURE:
        raise UserError(f"--scorer_workdir does nothing with --pairs={job.pairs.value}, only with --pairs=least_sure")
    if head is not None and workdir is None:
        raise UserError("--scorer_head is given without the --scorer_workdir whose model has that head")
    # Made only where there are new tasks: a model takes its time to load.
    serve(job, None if workdir is None else lambda tasks: make_sureness(workdir, head)(tasks))


def _described_job() -> PeopleJob:
    """The job that the flags describe; UserError where it can't be."""
    return PeopleJob(
        output=given(OUTPUT), store=STORE.value, tasks=one_of(TASKS), dimension=DIMENSION.value,
        question=_QUESTION.value, pairs=_PAIRS.value, pairs_per_task=_PAIRS_PER_TASK.value,
        annotators_per_pair=_ANNOTATORS.value, gold=one_of(GOLD), gold_rate=_GOLD_RATE.value,
        lease_minutes=_LEASE.value, strength=_STRENGTH.value, tokens=_TOKENS.value, host=_HOST.value, port=_PORT.value,
    )  # fmt: skip
