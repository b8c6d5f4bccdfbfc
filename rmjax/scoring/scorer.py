"""Rewards of single responses from a trained model."""

import contextlib
import dataclasses
import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from etils import epath
from jaxtyping import Float32

from rmjax.batches.contract import EncodedGroup, TextContract, TextGroup
from rmjax.batches.limits import LimitError
from rmjax.batches.tokenize import tokenize_responses, tokenized_responses, warn_of_cut_prompts
from rmjax.batches.tokenized import TokenizedPreferences
from rmjax.config import OnError
from rmjax.errors import UserError, remedied
from rmjax.evaluation.golden import trusted_computer
from rmjax.evaluation.spread import spread
from rmjax.model_config import ComputeDtype, fault_of_head
from rmjax.models.reward import mean_of_members
from rmjax.preferences.record import Message, RowError
from rmjax.scoring import rows
from rmjax.scoring.source import EnsembleError, Reward, Uncertain
from rmjax.training.portable import load_model
from rmjax.training.scoring_record import Normalization
from rmjax.training.trained import TrainedModel

Found = TypeVar("Found")
Prompt = str | Sequence[Message | Mapping[str, str]]


class NormalizationError(UserError):
    """Rewards that can't be normalized: the message says why."""


class RewardScorer:
    """Scores responses one at a time: a reward depends on the prompt, the response and the model, on nothing else.

    Of a prompt that is longer than the model's limit the last tokens are read; a warning says so once a call.
    The reward of a model with one reward head is a float, that of one with several a dict by the head's name, or a
    float where ``head`` is given.

    Args:
      trained: the model.
      normalized: gives rewards in standard deviations from the mean of those that the model gave the validation data.
      head: of several, that whose rewards alone are given; all if not given.
      pessimism: of a model with an ensemble of heads, how many times the spread of its members is taken from their
        mean; what is unlike the training data, where the members disagree, is then worth less. Eisenstein et al. (2023,
        arXiv 2312.09244) take one standard deviation; Coste et al. (2023, arXiv 2310.02743) a multiple of the variance.

    Raises:
      UserError: where the model has no head of that name.
      EnsembleError: where there is pessimism and no ensemble, or it is negative or not finite.
      GoldenScoreError: where the model doesn't give its golden scores.
      NormalizationError: where rewards can't be normalized, as the step was saved without validation.
    """

    def __init__(
        self, trained: TrainedModel, *, normalized: bool = False, head: str | None = None, pessimism: float = 0.0
    ):
        if not 0 <= pessimism < math.inf:
            raise EnsembleError(f"pessimism is {pessimism!r}; it must be a finite number, at least 0")
        if pessimism:
            check_ensemble(trained, f"a pessimism of {pessimism:g}")
        self.trained = trained
        self._heads = trained.config.model.reward_heads
        if head is not None and (fault := fault_of_head(head, self._heads)):
            raise UserError(f"the model {fault}")
        self._head = head
        self.pessimism = pessimism
        self._normalized = normalized
        if normalized:
            normalizations(trained)
        self.contract: TextContract = trained.contract
        self._compute = trusted_computer(trained)

    @classmethod
    def from_workdir(
        cls,
        workdir: epath.PathLike,
        step: int | None = None,
        *,
        normalized: bool = False,
        head: str | None = None,
        pessimism: float = 0.0,
        compute_dtype: ComputeDtype = ComputeDtype.FLOAT32,
    ) -> "RewardScorer":
        """The scorer of a run's best checkpoint, or of that of a step, or of a model in Hugging Face's format.

        It computes in float32 whatever the model was trained in. In bfloat16, which is faster on accelerators, rewards
        are rounded otherwise in other company.
        """
        trained = load_model(workdir, step, compute_dtype=compute_dtype)
        return cls(trained, normalized=normalized, head=head, pessimism=pessimism)

    def score(self, prompt: Prompt, responses: Sequence[Prompt]) -> list[Reward]:
        """The reward of each response to the prompt.

        Args:
          prompt: text, or messages as ``Message`` or ``{"role": …, "content": …}``.
          responses: texts. The response to messages may be messages too, the first of them the assistant's.

        Raises:
          RowError: for a text that the model's contract can't take, such as a response longer than its limit.
        """
        if isinstance(responses, str):
            raise TypeError("responses is a string; it must be a list of responses")
        row = {"prompt": _plain(prompt), "responses": [_plain(response) for response in responses]}
        return self.score_many([rows.parse_request(row, origin="score")])[0]

    def score_many(self, requests: Sequence[rows.Request], *, origins: Sequence[str] = ()) -> list[list[Reward]]:
        """The rewards of many requests in one go, in their order; the first fault is raised."""
        scored, cut = self.score_and_count(requests, origins=origins, on_error=OnError.ERROR)
        self.warn_of_cut(cut)
        return [[reward for reward in found if reward is not None] for found in scored]

    def score_and_count(
        self, requests: Sequence[rows.Request], *, origins: Sequence[str], on_error: OnError
    ) -> tuple[list[list[Reward | None]], int]:
        """The same without a warning: (the rewards, how many prompts were cut).

        With ``OnError.SKIP`` the reward is None of each response that the contract can't take.
        """
        tokenized = self._tokenized(requests, origins, on_error)
        counts = [len(request.responses) for request in requests]
        return _placed(tokenized, counts, self._rewards(self._members(tokenized))), tokenized.cut_prompts

    def score_with_spread(
        self, requests: Sequence[rows.Request], *, origins: Sequence[str] = (), on_error: OnError = OnError.ERROR
    ) -> tuple[list[list[Uncertain | None]], int]:
        """The same with the spread of the members beside each reward; EnsembleError where there is one member."""
        check_ensemble(self.trained, "the spread")
        tokenized = self._tokenized(requests, origins, on_error)
        counts, members = [len(request.responses) for request in requests], self._members(tokenized)
        found = map(Uncertain, self._rewards(members), self._spreads(members))
        return _placed(tokenized, counts, found), tokenized.cut_prompts

    def members(
        self, requests: Sequence[rows.Request], *, origins: Sequence[str] = ()
    ) -> list[Float32[np.ndarray, "responses heads members"]]:
        """The reward of each member for the responses of each request, neither normalized nor pessimistic."""
        found = iter(self._members(self._tokenized(requests, origins, OnError.ERROR)))
        return [np.stack([next(found) for _ in request.responses]) for request in requests]

    def score_encoded(self, groups: Sequence[EncodedGroup]) -> list[list[Uncertain]]:
        """The rewards, and spreads where there are several members, of conversations that ``contract.encode_many`` has
        made, all in one go; a fault is raised."""
        tokenized = tokenized_responses(groups, on_error=OnError.ERROR)
        counts, members = [len(group.conversations) for group in groups], self._members(tokenized)
        spreads = self._spreads(members) if members.shape[-1] > 1 else itertools.repeat(None, len(members))
        found = _placed(tokenized, counts, map(Uncertain, self._rewards(members), spreads))
        return [[entry for entry in entries if entry is not None] for entries in found]

    @property
    def tokens_at_once(self) -> int:
        """The most tokens that are computed together."""
        return self._compute.tokens_at_once

    @property
    def tokens_a_call(self) -> int:
        """Of these, those of one call of the compiled program."""
        return self._compute.tokens_a_call

    def warm_up(self) -> None:
        """Compiles all that scoring may need, so that no request waits for it."""
        self._compute.warm_up(self.trained.params)

    def warn_of_cut(self, cut: int, name: str = "scoring") -> None:
        """Logs that so many of the prompts were longer than the model's limit; nothing where none was."""
        warn_of_cut_prompts(name, cut, self.contract.max_prompt_tokens)

    def fault(self, request: rows.Request, origin: str) -> RowError | None:
        """What the text contract has against a request; None if nothing."""
        (group,) = self.contract.encode_many([TextGroup(request.prompt, request.responses, origin, request.fields)])
        return next((fault for fault in group.faults if fault is not None), None)

    def _tokenized(
        self, requests: Sequence[rows.Request], origins: Sequence[str], on_error: OnError
    ) -> TokenizedPreferences:
        named = zip(requests, origins or [""] * len(requests), strict=True)
        groups = [TextGroup(request.prompt, request.responses, origin, request.fields) for request, origin in named]
        return tokenize_responses(groups, self.contract, on_error=on_error)

    def remedied(self, skipping: str) -> contextlib.AbstractContextManager[None]:
        """Adds to the error of a row what is said to help, and to that of a text that is too long where limits are
        from."""
        limits = f"the model's limits are {self.trained.limits}; "
        return remedied(RowError, lambda error: (limits if isinstance(error, LimitError) else "") + skipping)

    def _members(self, tokenized: TokenizedPreferences) -> Float32[np.ndarray, "responses heads members"]:
        return self._compute.members(self.trained.params, tokenized)

    def _rewards(self, members: Float32[np.ndarray, "responses heads members"]) -> Iterator[Reward]:
        values = mean_of_members(members)
        if self.pessimism:
            values = values - self.pessimism * spread(members)
        for entry in values.tolist():
            of_heads = enumerate(entry)
            yield self._by_head([self.normalize(n, head) if self._normalized else n for head, n in of_heads])

    def _spreads(self, members: Float32[np.ndarray, "responses heads members"]) -> Iterator[Reward]:
        units = [entry.deviation for entry in normalizations(self.trained)] if self._normalized else 1.0
        yield from map(self._by_head, (spread(members) / units).tolist())

    def _by_head(self, values: list[float]) -> Reward:
        if self._head is not None:
            return values[self._heads.index(self._head)]
        return dict(zip(self._heads, values, strict=True)) if len(self._heads) > 1 else values[0]

    def normalize(self, reward: float, head: int = 0) -> float:
        """In standard deviations from the mean of the rewards of the validation data on that head."""
        return normalizations(self.trained)[head].of(reward)


def check_ensemble(trained: TrainedModel, wanted: str) -> None:
    """EnsembleError where the reward heads of a model have one member, so that it can't have what is wanted."""
    if trained.config.model.ensemble == 1:
        raise EnsembleError(
            f"the model's reward heads have one member, which is too few for {wanted}; right would be a run that was "
            "trained with --config.model.ensemble=4 or more (an export holds only the mean of the members)"
        )


def normalizations(trained: TrainedModel) -> tuple[Normalization, ...]:
    """By what the rewards of each head are normalized; NormalizationError where that isn't known of all."""
    if trained.record is None:
        raise NormalizationError(f"{trained.unvalidated}: the spread of its rewards isn't known")
    found = [trained.record.normalization(head) for head in range(len(trained.record.mean))]
    known = tuple(entry for entry in found if entry is not None)
    if len(known) < len(found):
        raise NormalizationError(f"the rewards of the validation data at step {trained.step} are all equal")
    return known


def _placed(
    tokenized: TokenizedPreferences, counts: Sequence[int], values: Iterable[Found]
) -> list[list[Found | None]]:
    """The values of responses by request, which have so many each; None where a response was skipped."""
    found: list[list[Found | None]] = [[None] * count for count in counts]
    for (request, response), value in zip(tokenized.response_origin.tolist(), values, strict=True):
        found[request][response] = value
    return found


def _plain(text: Any) -> Any:
    """Text or messages in the form that rows have."""
    if isinstance(text, str):
        return text
    return [dataclasses.asdict(entry) if isinstance(entry, Message) else entry for entry in text]
