"""What scores the rows of files: a run in this process, or a server in its place, which needs no jax here."""

import contextlib
import dataclasses
from collections.abc import Sequence
from typing import Any

from absl import logging

from rmjax.batches.limits import cut_prompts_message
from rmjax.config import OnError
from rmjax.errors import UserError, remedied
from rmjax.model_config import ComputeDtype
from rmjax.preferences.record import RowError, Text, response_field
from rmjax.scoring import rows
from rmjax.scoring.client import RemoteGroup, RewardClient
from rmjax.scoring.scored_files import FileScorer
from rmjax.scoring.source import (
    EnsembleError,
    PromptGroup,
    Reward,
    TooLong,
    Uncertain,
    check_of_server,
    checked_head,
)


def open_scorer(
    workdir: str | None,
    url: str | None,
    *,
    step: int | None,
    head: str | None,
    pessimism: float = 0.0,
    compute_dtype: ComputeDtype = ComputeDtype.FLOAT32,
) -> FileScorer:
    """The scorer of a run, or of a running server.

    Raises:
      UserError: where both or neither of them are given, or step, head, pessimism or dtype don't fit.
      WorkdirError, ConfigError, TokenizerError, CheckpointError: as ``load_trained``.
    """
    if (workdir is None) == (url is None):
        found = "neither is given" if url is None else "both are given"
        raise UserError(f"--workdir and --url: {found}; right would be one of the two")
    if url is not None:
        check_of_server(url, step=step, compute_dtype=compute_dtype, pessimism=pessimism, prefix="--")
        return RemoteScorer(RewardClient(url=url, head=head))
    assert workdir is not None
    from rmjax.scoring.scorer import RewardScorer  # here alone: it imports jax

    scorer = RewardScorer.from_workdir(workdir, step, pessimism=pessimism, compute_dtype=compute_dtype)
    checked_head(head, scorer.trained.config.model.reward_heads)
    return scorer


class RemoteScorer:
    """Scores rows by a server."""

    def __init__(self, client: RewardClient):
        self._client = client
        self._limit = 0  # of a prompt's tokens, once the server has cut one

    def score_and_count(
        self, requests: Sequence[rows.Request], *, origins: Sequence[str], on_error: OnError
    ) -> tuple[list[list[Reward | None]], int]:
        """(the rewards of each request's responses, how many prompts the server cut).

        With ``OnError.SKIP`` the reward is None of each response that is too long.

        Raises:
          RowError: for the first that is too long, where they aren't skipped.
          RequestRefusedError, ServerFailedError: as ``RewardClient``.
        """
        scored, cut = self._scored(requests, origins, on_error)
        return [[None if isinstance(reward, TooLong) else reward for reward in found.rewards] for found in scored], cut

    def score_with_spread(
        self, requests: Sequence[rows.Request], *, origins: Sequence[str] = (), on_error: OnError = OnError.ERROR
    ) -> tuple[list[list[Uncertain | None]], int]:
        """The same with the spread of the members beside each reward, as a ``RewardScorer`` gives it.

        Raises:
          EnsembleError: where the server gives rewards without a spread.
        """
        scored, cut = self._scored(requests, origins or [""] * len(requests), on_error)
        return [
            [self._uncertain(*entry) for entry in zip(found.rewards, found.spreads, strict=True)] for found in scored
        ], cut

    def _uncertain(self, reward: float | TooLong, spread: float | None) -> Uncertain | None:
        if isinstance(reward, TooLong):
            return None
        if spread is None:
            raise EnsembleError(
                f"{self._client.url} gives no spread of its rewards: the reward heads of its model have one member, or "
                "it is an older rmjax.serve; right would be a server of this version and a run that was trained with "
                "--config.model.ensemble=4 or more (an export holds only the mean of the members)"
            )
        return Uncertain(reward, spread)

    def _scored(
        self, requests: Sequence[rows.Request], origins: Sequence[str], on_error: OnError
    ) -> tuple[list[RemoteGroup], int]:
        """(what the server says of each request, how many prompts it cut)."""
        groups = [_group(request, origin) for request, origin in zip(requests, origins, strict=True)]
        scored, cut = self._client.scored(groups), 0
        for request, group, found in zip(requests, groups, scored, strict=True):
            fault = _fault(request, group, found.rewards)
            if fault is not None and on_error is not OnError.SKIP:
                raise fault
            if found.cut_below is not None:
                cut, self._limit = cut + 1, found.cut_below
        return scored, cut

    def warn_of_cut(self, cut: int, name: str = "scoring") -> None:
        """As a ``RewardScorer`` does of so many prompts."""
        if cut:
            logging.warning("%s", cut_prompts_message(name, cut, self._limit))

    def remedied(self, skipping: str) -> contextlib.AbstractContextManager[None]:
        """Adds to the error of a row what is said to help."""
        return remedied(RowError, lambda _: skipping)

    def fault(self, request: rows.Request, origin: str) -> RowError | None:
        """What the model has against a request; None if nothing."""
        group = _group(request, origin)
        return _fault(request, group, self._client.scored([group])[0].rewards)


def _group(request: rows.Request, origin: str) -> PromptGroup:
    responses = tuple(_json(response) for response in request.responses)
    return PromptGroup(prompt=_json(request.prompt), responses=responses, origin=origin)


def _json(text: Text) -> Any:
    return text if isinstance(text, str) else [dataclasses.asdict(message) for message in text]


def _fault(request: rows.Request, group: PromptGroup, rewards: Sequence[float | TooLong]) -> RowError | None:
    """The first of a group's."""
    for place, reward in enumerate(rewards):
        if isinstance(reward, TooLong):
            return RowError(
                origin=group.origin, field=response_field(request.fields, place), kind=reward.kind, found=reward.found,
                right=reward.right,
            )  # fmt: skip
    return None
