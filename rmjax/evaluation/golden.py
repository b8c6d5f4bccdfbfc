"""The golden scores of a trained model: it is used only where it still gives them.

What they tell apart: another tokenizer or chat template, a reward head that was lost, weights in the wrong place, an
implementation that computes something else.
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from absl import logging
from jaxtyping import Float

from rmjax.batches.contract import TextGroup
from rmjax.batches.jinja_template import common
from rmjax.batches.tokenize import tokenize_responses
from rmjax.errors import UserError
from rmjax.evaluation.rewards import RewardComputer
from rmjax.model_config import ComputeDtype
from rmjax.preferences.record import RowError, Text
from rmjax.training.parallel import describe_devices
from rmjax.training.scoring_record import GoldenScore, ScoringRecord
from rmjax.training.trained import TrainedModel

EXACT = 1e-3  # of a reward, or of one where that is less: float32 on CPUs
# Of the standard deviation of the rewards, over all golden conversations: bfloat16, and accelerators, whose products of
# float32 may have fewer bits. A head that is lost is off by more than one.
ROUGH = 0.25
_LEAST_DEVIATION = 0.02  # below it rewards are hardly apart at all
_CPU = "cpu"


class GoldenText(NamedTuple):
    """A conversation that is to be golden; origin names it in errors."""

    prompt: Text
    response: Text
    origin: str


class GoldenScoreError(UserError):
    """A model that doesn't give its golden scores: the message says which conversation, and by how much."""


def trusted_computer(trained: TrainedModel) -> RewardComputer:
    """What computes the rewards of a trained model, after it has given the golden ones.

    Raises:
      GoldenScoreError: where it doesn't.
    """
    compute = RewardComputer(trained.model, trained.config)
    if trained.record is None:
        logging.info("%s, so there are no golden scores to hold it to", trained.unvalidated)
    else:
        check_golden(trained, trained.record, compute, exact=is_exact(trained))
    return compute


def check_golden(
    trained: TrainedModel, record: ScoringRecord, compute: RewardComputer, *, exact: bool
) -> ScoringRecord:
    """The record with the golden rewards as the model gives them now.

    GoldenScoreError where a conversation has other tokens than when the record was made, or where the rewards differ:
    each by more than ``EXACT``, or where they aren't to be exact their root mean square by more than ``ROUGH``.
    """
    requests = [TextGroup(golden.prompt, (golden.response,)) for golden in record.golden]
    try:
        tokenized = tokenize_responses(requests, trained.contract)
    except RowError as error:
        raise GoldenScoreError(f"a golden conversation can't be read any more: {error}") from error
    for number, golden in enumerate(record.golden):
        _check_tokens(golden, tokenized.conversation(number).tolist())
    rewards = compute(trained.params, tokenized).astype(np.float64)
    if exact:
        for golden, found in zip(record.golden, rewards, strict=True):
            _check_each(golden, found)
    else:
        _check_all(record, rewards)
    golden = tuple(
        dataclasses.replace(golden, rewards=tuple(found.tolist()))
        for golden, found in zip(record.golden, rewards, strict=True)
    )
    return dataclasses.replace(record, golden=golden, device=str(describe_devices()["kind"]))


def golden_scores(
    trained: TrainedModel, texts: Sequence[GoldenText], compute: RewardComputer
) -> tuple[GoldenScore, ...]:
    """The tokens and rewards of conversations as the model has them now; RowError for one that its contract can't
    take."""
    requests = [TextGroup(text.prompt, (text.response,), text.origin) for text in texts]
    tokenized = tokenize_responses(requests, trained.contract)
    rewards = compute(trained.params, tokenized).astype(np.float64)
    return tuple(
        GoldenScore(
            prompt=text.prompt,
            response=text.response,
            tokens=tuple(tokenized.conversation(number).tolist()),
            rewards=tuple(rewards[number].tolist()),
        )
        for number, text in enumerate(texts)
    )


def _check_tokens(golden: GoldenScore, found: list[int]) -> None:
    expected = list(golden.tokens)
    if found != expected:
        raise GoldenScoreError(
            f"{_name(golden)} is {len(found)} tokens now and was {len(expected)} when the model was validated; they "
            f"differ from token {common(found, expected)} on, so the tokenizer, template or limits have changed"
        )


def _check_each(golden: GoldenScore, found: Float[np.ndarray, "heads"]) -> None:
    expected = np.array(golden.rewards)
    allowed = EXACT * np.maximum(1.0, np.abs(expected))
    difference = np.abs(found - expected)
    if (difference > allowed).any():
        head = int(np.argmax(difference / allowed))
        raise GoldenScoreError(
            f"{_name(golden)} has the reward {found[head]:.6g}, and had {expected[head]:.6g} when the model was "
            f"validated; the difference {difference[head]:.3g} is more than the {allowed[head]:.3g} that rounding may "
            "explain, so these are not the rewards that it was trained to give"
        )


def _check_all(record: ScoringRecord, found: Float[np.ndarray, "golden heads"]) -> None:
    expected = np.array([golden.rewards for golden in record.golden])
    scale = np.maximum(np.array(record.deviation), _LEAST_DEVIATION)
    far = np.sqrt(np.square((found - expected) / scale).mean(axis=0)).max()
    if far > ROUGH:
        raise GoldenScoreError(
            f"the rewards of the {len(expected)} golden conversations differ from those that they had when the model "
            f"was validated by {far:.2g} standard deviations of its rewards; rounding explains at most {ROUGH}, so "
            "these are not the rewards that it was trained to give"
        )


def is_exact(trained: TrainedModel) -> bool:
    """Whether a model's rewards are the golden ones but for the order in which float32 numbers are added."""
    devices = {describe_devices()["kind"], trained.record.device if trained.record else _CPU}
    dtypes = {trained.config.model.compute_dtype, trained.recorded_in}
    return dtypes == {ComputeDtype.FLOAT32} and devices == {_CPU}


def _name(golden: GoldenScore) -> str:
    text = golden.response if isinstance(golden.response, str) else golden.response[0].content
    return f"the golden conversation whose response begins with {text[:40]!r}"
