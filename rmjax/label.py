"""Lets people judge, on a page of this machine: which of two responses is better?

    python -m rmjax.label --tasks=responses.jsonl --dimension=harmlessness --output=preferences.jsonl --port=8000

Ctrl-C ends it and writes the preferences; the same command goes on. ``--export`` writes them at any time, beside a page
that is served. docs/labeling.md says more.
"""

from collections.abc import Sequence

from absl import flags

from rmjax.command import run
from rmjax.labeling import people_job
from rmjax.labeling.pairing import Scorer
from rmjax.labeling.people_flags import people_job as described_job
from rmjax.labeling.tasks import Task

_EXPORT = flags.DEFINE_bool("export", False, "Writes what has been judged so far, and serves nothing.")
_SCORER = flags.DEFINE_string("scorer_workdir", None, "The run whose rewards choose pairs, for --pairs=least_sure.")
_HEAD = flags.DEFINE_string("scorer_head", None, "The head of it, of a model with several.")


def main() -> None:
    job = described_job()
    if _EXPORT.value:
        people_job.export(job)
    else:
        people_job.serve(job, _scorer(_SCORER.value, _HEAD.value) if _SCORER.value else None)


def _scorer(workdir: str, head: str | None) -> Scorer:
    """The rewards of a run's model."""
    # Imported here, since people need no jax to judge.
    from rmjax.scoring.in_process import checked_head, of_head
    from rmjax.scoring.rows import Request
    from rmjax.scoring.scorer import RewardScorer
    from rmjax.training.machine import use_machine

    use_machine()
    scorer = RewardScorer.from_workdir(workdir)
    head = checked_head(head, scorer.trained.config.model.reward_heads)

    def score(tasks: Sequence[Task]) -> list[list[float]]:
        requests = [Request(prompt=task.prompt, responses=task.responses, single=False) for task in tasks]
        found = scorer.score_many(requests, origins=[task.origin for task in tasks])
        return [[of_head(reward, head) for reward in rewards] for rewards in found]

    return score


if __name__ == "__main__":
    run(main)
