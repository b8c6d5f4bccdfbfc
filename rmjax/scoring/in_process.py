"""Rewards of a model in this process, in the form that stage two asks for them."""

from collections.abc import Sequence

from rmjax.config import OnError
from rmjax.scoring import rows
from rmjax.scoring.scorer import RewardScorer
from rmjax.scoring.source import PromptGroup, Reward, TooLong, checked_head, of_head


class ScorerRewards:
    """The rewards of one head of a scorer.

    Raises:
      UserError: where the model has several heads and none of them is named, or not the one that is.
    """

    def __init__(self, scorer: RewardScorer, head: str | None = None):
        self._scorer = scorer
        self._head = checked_head(head, scorer.trained.config.model.reward_heads, option="head")

    def rewards(self, groups: Sequence[PromptGroup]) -> list[list[float | TooLong]]:
        """The reward of each response of each group, in their order.

        Raises:
          RowError: for what is no prompt with responses to it.
        """
        requests = [
            rows.parse_request({"prompt": group.prompt, "responses": list(group.responses)}, origin=group.origin)
            for group in groups
        ]
        origins = [group.origin for group in groups]
        scored, cut = self._scorer.score_and_count(requests, origins=origins, on_error=OnError.SKIP)
        self._scorer.warn_of_cut(cut)
        return [
            [self._reward(reward, request, place, origin) for place, reward in enumerate(found)]
            for found, request, origin in zip(scored, requests, origins, strict=True)
        ]

    def _reward(self, reward: Reward | None, request: rows.Request, place: int, origin: str) -> float | TooLong:
        if reward is not None:
            return of_head(reward, self._head)
        alone = rows.Request(prompt=request.prompt, responses=(request.responses[place],), single=True)
        fault = self._scorer.fault(alone, origin)
        if fault is not None:
            return TooLong(kind=fault.kind, found=fault.found, right=fault.right)
        raise AssertionError(f"{origin}: a response without a reward has no fault")
