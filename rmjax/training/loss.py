"""The Bradley-Terry loss over packed comparisons, as sums and counts."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float

from rmjax.arrays import Array
from rmjax.batches.batch import PreferenceBatch
from rmjax.config import LossConfig

Scalar = Float[Array, ""]


class LossSums(NamedTuple):
    """What a batch adds to each metric; float32 scalars that may be added over microbatches, devices and batches.

    A comparison is in use where its weight is above 0, and decided where besides its probability is not 0.5. All but
    ``loss`` count comparisons once, whatever their weight, as evaluation does.

    Attributes:
      loss, weight: sums of weight * loss and of weight, over comparisons in use.
      correct: decided comparisons whose preferred response has the higher reward (the margin of the label plays no
        part); equal rewards count half.
      decided, comparisons: how many comparisons are decided, and in use.
      chosen_reward, rejected_reward: sums over decided comparisons of the reward of either side.
      margin: sum over decided comparisons of the preferred response's reward minus the other's.
      reward, reward_squared, rewards: sums and count over all outputs of the head for responses in use.
      tokens, slots: how many places of the rows hold a token, and how many there are.
    """

    loss: Scalar
    weight: Scalar
    correct: Scalar
    decided: Scalar
    comparisons: Scalar
    chosen_reward: Scalar
    rejected_reward: Scalar
    margin: Scalar
    reward: Scalar
    reward_squared: Scalar
    rewards: Scalar
    tokens: Scalar
    slots: Scalar


Loss = Callable[[Array, PreferenceBatch, LossConfig], tuple[Array, LossSums]]
"""(rewards [rows, responses, heads], batch, config) -> (weighted sum to be minimised, sums for the metrics)."""


def compared_rewards(
    rewards: Float[Array, "rows responses heads"], batch: PreferenceBatch
) -> tuple[Float[Array, "rows comparisons"], Float[Array, "rows comparisons"]]:
    """The rewards of the left and right response of each comparison, on the comparison's head."""
    row = jnp.arange(batch.left.shape[0])[:, None]
    return rewards[row, batch.left, batch.head], rewards[row, batch.right, batch.head]


def pairwise_loss(
    rewards: Float[Array, "rows responses heads"], batch: PreferenceBatch, config: LossConfig
) -> tuple[Scalar, LossSums]:
    """The sum over comparisons of weight times ``-(p log s(d) + (1 - p) log s(-d)) + c (r_left + r_right)**2``.

    Here ``d = r_left - r_right - margin``, s is the logistic function, c is ``config.centering`` and p is the label's
    probability after smoothing, ``p (1 - e) + (1 - p) e`` with ``e = config.label_smoothing``. Cross-entropy of the
    model of Bradley and Terry (1952), with the margin of Touvron et al. (2023, arXiv 2307.09288, equation 2), label
    smoothing of Mitchell (2023, "A note on DPO with noisy preferences") and the centering of Eisenstein et al. (2023,
    arXiv 2312.09244).
    """
    left, right = compared_rewards(rewards, batch)
    smoothing = config.label_smoothing
    probability = batch.probability * (1 - smoothing) + (1 - batch.probability) * smoothing
    difference = left - right - batch.margin
    cross_entropy = -probability * jax.nn.log_sigmoid(difference) - (1 - probability) * jax.nn.log_sigmoid(-difference)
    loss = cross_entropy + config.centering * jnp.square(left + right)
    loss_sum = jnp.sum(batch.weight * loss)
    return loss_sum, metric_sums(loss_sum, rewards, batch)


def metric_sums(loss_sum: Scalar, rewards: Float[Array, "rows responses heads"], batch: PreferenceBatch) -> LossSums:
    """The sums for the metrics; every loss on comparisons may use them as they are."""
    left, right = compared_rewards(rewards, batch)
    in_use = batch.weight > 0
    decided = (in_use & (batch.probability != 0.5)).astype(jnp.float32)
    left_preferred = batch.probability > 0.5
    chosen, rejected = jnp.where(left_preferred, left, right), jnp.where(left_preferred, right, left)
    margin = chosen - rejected
    read = jnp.broadcast_to((batch.response_id >= 0)[:, :, None], rewards.shape).astype(jnp.float32)
    return LossSums(
        loss=loss_sum,
        weight=_sum(batch.weight),
        correct=_sum(decided * (jnp.sign(margin) + 1) / 2),
        decided=_sum(decided),
        comparisons=_sum(in_use),
        chosen_reward=_sum(decided * chosen),
        rejected_reward=_sum(decided * rejected),
        margin=_sum(decided * margin),
        reward=_sum(read * rewards),
        reward_squared=_sum(read * jnp.square(rewards)),
        rewards=_sum(read),
        tokens=_sum(batch.visible_until > 0),
        slots=jnp.float32(batch.tokens.size),
    )


def _sum(values: Array) -> Scalar:
    return jnp.sum(values, dtype=jnp.float32)
