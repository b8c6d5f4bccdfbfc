"""The rewards by which pairs are chosen for people to judge."""

from collections.abc import Sequence

from rmjax.labeling.pairing import Scorer
from rmjax.labeling.tasks import Task
from rmjax.scoring.rows import Request
from rmjax.scoring.scorer import RewardScorer
from rmjax.scoring.source import checked_head, of_head
from rmjax.training.machine import use_machine


def task_rewards(workdir: str, head: str | None = None) -> Scorer:
    """What gives each response of labeling tasks the reward of a run's model.

    Args:
      workdir: of the run.
      head: the model's reward head, where it has several.

    Raises:
      UserError: where the model has no such head, or several and none is named.
    """
    use_machine()
    scorer = RewardScorer.from_workdir(workdir)
    head = checked_head(head, scorer.trained.config.model.reward_heads, option="--scorer_head")

    def score(tasks: Sequence[Task]) -> list[list[float]]:
        requests = [Request(prompt=task.prompt, responses=task.responses, single=False) for task in tasks]
        found = scorer.score_many(requests, origins=[task.origin for task in tasks])
        return [[of_head(reward, head) for reward in rewards] for rewards in found]

    return score
