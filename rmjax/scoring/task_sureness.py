"""How sure a model is of the pairs of labeling tasks, by which those that people judge are chosen."""

from collections.abc import Sequence

from rmjax.labeling.pairing import Square, Sureness
from rmjax.preferences.tasks import Task
from rmjax.scoring.rows import Request
from rmjax.scoring.scorer import RewardScorer
from rmjax.scoring.source import checked_head
from rmjax.scoring.uncertain import pair_sureness
from rmjax.training.machine import use_machine


def task_sureness(workdir: str, head: str | None = None) -> Sureness:
    """What says of the pairs of tasks how sure a run's model is of them, as ``pair_sureness`` does.

    Args:
      workdir: of the run.
      head: the model's reward head, where it has several.

    Raises:
      UserError: where the model has no such head, or several and none is named.
    """
    use_machine()
    scorer = RewardScorer.from_workdir(workdir)
    head = checked_head(head, scorer.trained.config.model.reward_heads, option="--scorer_head")

    def sureness(tasks: Sequence[Task]) -> list[Square]:
        requests = [Request(prompt=task.prompt, responses=task.responses, single=False) for task in tasks]
        found = pair_sureness(scorer, requests, head=head, origins=[task.origin for task in tasks])
        return [square.tolist() for square in found]

    return sureness
