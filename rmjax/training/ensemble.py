"""The loss of an ensemble of reward heads, of which each member weighs the comparisons in its own way."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from rmjax.arrays import Array
from rmjax.batches.batch import PreferenceBatch
from rmjax.config import LossConfig
from rmjax.training.loss import Loss, LossSums

_STREAM = np.uint32(1 << 31)  # folded into the key of a run; steps, which are folded into it too, never come so far


def bootstrap_weights(
    key: Array, comparison_id: Int[Array, "rows comparisons"], members: int
) -> Float[Array, "rows comparisons members"]:
    """What each member multiplies the weight of each comparison with: exponentially distributed, of mean 1.

    The Bayesian bootstrap (Rubin, 1981, "The Bayesian bootstrap", Annals of Statistics 9). Where the usual one draws
    comparisons again, this draws their weights, so no member loses one. A weight is a function of the run's key, the
    comparison's number in the data, and the member alone: batches, devices, epochs and resuming don't change it.
    """
    key = jax.random.fold_in(jnp.asarray(key), _STREAM)
    of_comparisons = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.ravel(comparison_id))
    of_members = jax.vmap(jax.vmap(jax.random.fold_in, (None, 0)), (0, None))(of_comparisons, jnp.arange(members))
    return jax.vmap(jax.vmap(jax.random.exponential))(of_members).reshape(*comparison_id.shape, members)


def ensemble_loss(
    loss: Loss,
    rewards: Float[Array, "rows responses heads members"],
    batch: PreferenceBatch,
    config: LossConfig,
    key: Array,
) -> tuple[Array, LossSums]:
    """The mean of the members' losses, each of its own rewards, and sums for the metrics.

    With ``config.bootstrap`` a member's comparisons have the weights of ``bootstrap_weights``. The sums are those of
    the means over members, as evaluation has them, and of the weights of the batch, which the bootstrap's are expected
    to be; but ``loss`` is what is minimised. One member is no ensemble: its loss is ``loss`` itself.
    """
    members = rewards.shape[-1]
    if members == 1:
        return loss(rewards[..., 0], batch, config)
    factors = bootstrap_weights(key, batch.comparison_id, members) if config.bootstrap else jnp.ones(members)

    def of_member(rewards: Array, factor: Array) -> Array:
        return loss(rewards, batch._replace(weight=batch.weight * factor), config)[0]

    found = jax.vmap(of_member, in_axes=(-1, -1))(rewards, factors).mean()
    _, sums = loss(rewards.mean(axis=-1), batch, config)
    return found, sums._replace(loss=found)
