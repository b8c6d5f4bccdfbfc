"""The flags that say which pairs of a task are judged, whoever judges them."""

import os
from collections.abc import Callable, Sequence

from absl import flags

from rmjax.errors import UserError
from rmjax.labeling.pairing import PairRule, Square, Sureness, choose_pairs, to_judge
from rmjax.preferences.record import Preference
from rmjax.preferences.tasks import Task

PAIRS = flags.DEFINE_enum_class(
    "pairs", PairRule.ALL, PairRule,
    "Which pairs of a task are judged: all that were compared before, or every two responses where none were; "
    "round_robin, each response about equally often; or least_sure, first those that the model of --scorer_workdir is "
    "least sure of, or with the closest of the rows' field rewards.",
)  # fmt: skip
PAIRS_PER_TASK = flags.DEFINE_integer("pairs_per_task", None, "At most; not with --pairs=all.", lower_bound=1)
_SCORER = flags.DEFINE_string(
    "scorer_workdir", None,
    "The run whose model chooses pairs, for --pairs=least_sure; one that is new to a store of people adds a round.",
)  # fmt: skip
_SCORER_HEAD = flags.DEFINE_string("scorer_head", None, "The head of it, of a model with several.")
MakeSureness = Callable[[str, str | None], Sureness]
"""Makes what says how sure a model is, of a workdir and a head of its model."""


def scorer() -> str | None:
    """What tells the model that the flags name from others, from wherever the command is run; None without one."""
    workdir, head = _SCORER.value, _SCORER_HEAD.value
    if workdir is None:
        return None
    place = workdir if "://" in workdir else os.path.realpath(workdir)  # in a bucket, or on the hub
    return place if head is None else f"{place} --scorer_head={head}"


def sureness(make: MakeSureness) -> Sureness | None:
    """Of the model that the flags name, which is loaded when there are tasks to choose from; None without one."""
    workdir, head = _SCORER.value, _SCORER_HEAD.value
    if workdir is None:
        if head is not None:
            raise UserError(
                f"--scorer_head is {head!r}; it names a head of the model of --scorer_workdir, which is missing"
            )
        return None
    if PAIRS.value is not PairRule.LEAST_SURE:
        raise UserError(f"--scorer_workdir is {workdir!r}; only --pairs=least_sure chooses by a model")

    def loaded(tasks: Sequence[Task]) -> Sequence[Square]:
        return make(workdir, head)(tasks)

    return loaded


def chosen(
    tasks: Sequence[Task], dimension: str, make: MakeSureness, *, limit: int | None = None
) -> tuple[Preference, ...]:
    """The pairs that the flags choose, for a labeler that is no person; with a limit so many of them, the first."""
    pairs = choose_pairs(tasks, PAIRS.value, per_task=PAIRS_PER_TASK.value, sureness=sureness(make))
    return to_judge(pairs[:limit], dimension)
