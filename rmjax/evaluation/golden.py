"""The golden scores of a trained model: it is used only where it still gives them.

What they tell apart: another tokenizer or chat template, a reward head that was lost, weights in the wrong place, an
implementation that computes something else.
"""

import dataclasses

import numpy as np
from absl import logging
from jaxtyping import Float

from rmjax.batches.jinja_template import common
from rmjax.batches.tokenize import tokenize_responses
from rmjax.errors import UserError
from rmjax.evaluation.rewards import RewardComputer
from rmjax.model_config import ComputeDtype
from rmjax.preferences.record import RowError
from rmjax.training.parallel import describe_devices
from rmjax.training.scoring_record import GoldenScore, ScoringRecord
from rmjax.training.trained import TrainedModel

# Of a reward, or of one where that is less. Float32 products on an accelerator may have fewer bits than on a CPU.
SAME_DEVICE, OTHER_DEVICE = 1e-3, 5e-2


class GoldenScoreError(UserError):
    """A model that doesn't give its golden scores: the message says which conversation, and by how much."""


def trusted_computer(trained: TrainedModel) -> RewardComputer:
    """What computes the rewards of a trained model, after it has given the golden ones.

    Raises:
      GoldenScoreError: where it doesn't.
    """
    compute = RewardComputer(trained.model, trained.config)
    if trained.record is None:
        logging.info("step %d was saved without validation, so there are no golden scores to hold it to", trained.step)
    else:
        check_golden(trained, trained.record, compute, tolerance(trained.record, trained.config.model.compute_dtype))
    return compute


def check_golden(trained: TrainedModel, record: ScoringRecord, compute: RewardComputer, bound: float) -> ScoringRecord:
    """The record with the golden rewards as the model gives them now.

    GoldenScoreError where a conversation has other tokens than when the record was made, or a reward that differs by
    more than ``bound``, as a share of the reward where that is more than one.
    """
    requests = [(golden.prompt, (golden.response,)) for golden in record.golden]
    try:
        tokenized = tokenize_responses(requests, trained.contract)
    except RowError as error:
        raise GoldenScoreError(f"a golden conversation can't be read any more: {error}") from error
    for number, golden in enumerate(record.golden):
        _check_tokens(golden, tokenized.conversation(number).tolist())
    rewards = compute(trained.params, tokenized).astype(np.float64)
    for golden, found in zip(record.golden, rewards, strict=True):
        _check_rewards(golden, found, bound)
    golden = tuple(
        dataclasses.replace(golden, rewards=tuple(found.tolist()))
        for golden, found in zip(record.golden, rewards, strict=True)
    )
    return dataclasses.replace(record, golden=golden, device=str(describe_devices()["kind"]))


def _check_tokens(golden: GoldenScore, found: list[int]) -> None:
    expected = list(golden.tokens)
    if found != expected:
        raise GoldenScoreError(
            f"{_name(golden)} is {len(found)} tokens now and was {len(expected)} when the model was validated; they "
            f"differ from token {common(found, expected)} on, so the tokenizer, template or limits have changed"
        )


def _check_rewards(golden: GoldenScore, found: Float[np.ndarray, "heads"], bound: float) -> None:
    expected = np.array(golden.rewards)
    allowed = bound * np.maximum(1.0, np.abs(expected))
    difference = np.abs(found - expected)
    if (difference > allowed).any():
        head = int(np.argmax(difference / allowed))
        raise GoldenScoreError(
            f"{_name(golden)} has the reward {found[head]:.6g}, and had {expected[head]:.6g} when the model was "
            f"validated; the difference {difference[head]:.3g} is more than the {allowed[head]:.3g} that rounding may "
            "explain, so these are not the rewards that it was trained to give"
        )


def tolerance(record: ScoringRecord, dtype: ComputeDtype) -> float:
    """By how much of a reward rounding may change it."""
    alike = dtype is ComputeDtype.FLOAT32 and record.device == describe_devices()["kind"]
    return SAME_DEVICE if alike else OTHER_DEVICE


def _name(golden: GoldenScore) -> str:
    text = golden.response if isinstance(golden.response, str) else golden.response[0].content
    return f"the golden conversation whose response begins with {text[:40]!r}"
