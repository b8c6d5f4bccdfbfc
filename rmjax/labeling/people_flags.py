"""The flags of a labeling job for people."""

from absl import flags

from rmjax.labeling.pairing import PairRule
from rmjax.labeling.people_job import PeopleJob

_TASKS = flags.DEFINE_string(
    "tasks", None, "What is judged: a file (or glob) of rows {prompt, responses}, or of preferences, judged anew."
)
_DIMENSION = flags.DEFINE_string("dimension", None, "On what, as helpfulness, harmlessness, honesty or brevity.")
_QUESTION = flags.DEFINE_string("question", None, "What is asked; the four dimensions have a question of their own.")
_OUTPUT = flags.DEFINE_string("output", None, "Where the preferences go: .jsonl or .jsonl.gz.", required=True)
_STORE = flags.DEFINE_string("store", None, "The SQLite file that keeps the work; OUTPUT.sqlite if not given.")
_PAIRS = flags.DEFINE_enum_class(
    "pairs", PairRule.ALL, PairRule,
    "Which pairs of a task's responses are shown: all; round_robin, each response about equally often; or least_sure, "
    "those with the closest rewards first (of --scorer_workdir, or of the rows' field rewards).",
)  # fmt: skip
_PAIRS_PER_TASK = flags.DEFINE_integer("pairs_per_task", None, "At most; not with --pairs=all.", lower_bound=1)
_ANNOTATORS = flags.DEFINE_integer("annotators_per_pair", 1, "How many judge each pair.", lower_bound=1)
_GOLD = flags.DEFINE_string("gold", None, "Preferences whose answers are known, mixed in to check attention.")
_GOLD_RATE = flags.DEFINE_float("gold_rate", 0.1, "With which probability the next pair is one.", 0.0, 1.0)
_LEASE = flags.DEFINE_float("lease_minutes", 10.0, "For how long a pair that is shown is nobody else's.", 0.1)
_STRENGTH = flags.DEFINE_bool("strength", False, "Asks how much better: slightly, clearly or much.")
_TOKENS = flags.DEFINE_string("tokens", None, "A file of lines NAME TOKEN; only with a token can one judge then.")
_HOST = flags.DEFINE_string("host", "127.0.0.1", "The address to listen on; other machines need --tokens.")
_PORT = flags.DEFINE_integer("port", 8000, "The port; 0 for any that is free.", lower_bound=0, upper_bound=65535)


def people_job() -> PeopleJob:
    """The job that the flags describe."""
    return PeopleJob(
        output=_OUTPUT.value, store=_STORE.value, tasks=_TASKS.value, dimension=_DIMENSION.value,
        question=_QUESTION.value, pairs=_PAIRS.value, pairs_per_task=_PAIRS_PER_TASK.value,
        annotators_per_pair=_ANNOTATORS.value, gold=_GOLD.value, gold_rate=_GOLD_RATE.value,
        lease_minutes=_LEASE.value, strength=_STRENGTH.value, tokens=_TOKENS.value, host=_HOST.value, port=_PORT.value,
    )  # fmt: skip
