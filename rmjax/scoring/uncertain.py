"""Rows of files with the spread of an ensemble beside their rewards, and the pairs that it is least sure of."""

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float64

from rmjax.config import OnError
from rmjax.evaluation.pairwise import reward_differences
from rmjax.evaluation.spread import sureness
from rmjax.preferences.fields import Fields
from rmjax.preferences.record import RowError
from rmjax.scoring import rows
from rmjax.scoring.scored_files import RowTask
from rmjax.scoring.scorer import RewardScorer, check_ensemble
from rmjax.scoring.source import Uncertain, checked_head

FIELDS = ("spread", "spreads")  # what a row gets besides


class UncertainScorer:
    """Scores the rows of files for ``UNCERTAIN``.

    Raises:
      EnsembleError: for a model whose heads have one member.
    """

    def __init__(self, scorer: RewardScorer):
        check_ensemble(scorer.trained, "--uncertainty")
        self._scorer = scorer

    def score_and_count(
        self, requests: Sequence[rows.Request], *, origins: Sequence[str], on_error: OnError
    ) -> tuple[list[list[Uncertain | None]], int]:
        return self._scorer.score_with_spread(requests, origins=origins, on_error=on_error)

    def warn_of_cut(self, cut: int, name: str = "scoring") -> None:
        self._scorer.warn_of_cut(cut, name)

    def fault(self, request: rows.Request, origin: str) -> RowError | None:
        return self._scorer.fault(request, origin)

    def remedied(self, skipping: str) -> contextlib.AbstractContextManager[None]:
        return self._scorer.remedied(skipping)


def _parse(row: Mapping[str, Any], *, origin: str) -> rows.Request:
    fields = Fields(row, origin)
    rows.check_free(fields, FIELDS)
    return rows.parse_request(row, origin=origin)


def _answer(_: Mapping[str, Any], request: rows.Request, found: list[Uncertain | None]) -> dict[str, Any]:
    rewards = [None if entry is None else entry.reward for entry in found]
    spreads = [None if entry is None else entry.spread for entry in found]
    if request.single:
        return {"reward": rewards[0], "spread": spreads[0]}
    return {"rewards": rewards, "spreads": spreads}


UNCERTAIN = RowTask(parse=_parse, answer=_answer, unanswered=("reward", "spread"))
"""Rows get ``spread`` beside ``reward``, and ``spreads`` beside ``rewards``."""


def pair_sureness(
    scorer: RewardScorer, requests: Sequence[rows.Request], *, head: str | None = None, origins: Sequence[str] = ()
) -> list[Float64[np.ndarray, "responses responses"]]:
    """How sure the model is which of two responses to a prompt is the better one, for all pairs of each request.

    As ``rmjax.evaluation.spread.sureness`` has it, which is comparable over all requests: a labeler is best asked about
    the pairs that it is smallest for. On the diagonal it is 0.

    Args:
      scorer: of a model with an ensemble of heads, or without.
      requests: prompts with their responses.
      head: the reward head, of a model with several.
      origins: what errors call the requests.

    Raises:
      UserError: where the model has several heads and none of them is named, or not the one that is.
      RowError: for a response that the model's contract can't take.
    """
    heads = scorer.trained.config.model.reward_heads
    named = checked_head(head, heads, option="head")
    number = 0 if named is None else heads.index(named)
    return [_of_pairs(members[:, number : number + 1]) for members in scorer.members(requests, origins=origins)]


def _of_pairs(members: np.ndarray) -> Float64[np.ndarray, "responses responses"]:
    left, right = np.divmod(np.arange(len(members) ** 2), len(members))
    differences = reward_differences(members, left, right, np.zeros_like(left))
    return sureness(differences).reshape(len(members), len(members))
