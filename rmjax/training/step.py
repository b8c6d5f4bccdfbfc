"""One training step: gradients of a sum of losses, one division, one update."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Float

from rmjax.arrays import Array
from rmjax.batches.batch import PreferenceBatch
from rmjax.config import ExperimentConfig
from rmjax.models.axes import laid_out, laid_out_like
from rmjax.models.reward import Params, RewardModel, init, member_rewards, parameter_axes
from rmjax.training.ensemble import ensemble_loss
from rmjax.training.loss import Loss, LossSums, pairwise_loss
from rmjax.training.optimizer import learning_rate
from rmjax.training.state import TrainState
from rmjax.training.tuning import join, of_trained, split, trained_from


class StepResult(NamedTuple):
    """What a step says of itself: sums over all devices and microbatches, the gradient's norm before clipping, and the
    learning rate of the update."""

    sums: LossSums
    gradient_norm: Float[Array, ""]
    learning_rate: Float[Array, ""]


class Keys(NamedTuple):
    """The randomness of a step.

    Attributes:
      step: of this step on this device.
      run: that of the state, which never changes.
    """

    step: Array
    run: Array


TrainStep = Callable[..., tuple[TrainState, StepResult]]
"""(state, batch, axis_name=None) -> (state after the step, what happened); axis_name is that of a pmap around it."""


def make_train_step(
    model: RewardModel, config: ExperimentConfig, optimizer: optax.GradientTransformation, loss: Loss = pairwise_loss
) -> TrainStep:
    """The step of an experiment as a pure function, to be compiled by ``rmjax.training.parallel``.

    The gradient is that of the weighted mean loss over the batch of all devices: gradients of sums are summed over
    microbatches and devices, then divided once by the summed weight (a batch of no weight has zero gradients). There
    are gradients, norms of them and updates of the parameters alone that ``config.tuning`` has trained. The rows of a
    device must be divisible by ``config.parallel.microbatches``.
    """
    schedule = learning_rate(config.optimizer, config.steps)
    accumulated = make_accumulated_gradients(model, config, loss)

    def step(state: TrainState, batch: PreferenceBatch, axis_name: str | None = None) -> tuple[TrainState, StepResult]:
        key = jax.random.fold_in(state.key, state.step)
        key = jax.random.fold_in(key, 0 if axis_name is None else jax.lax.axis_index(axis_name))
        trained, frozen = split(state.params, config.tuning)
        gradients, sums = accumulated(trained, frozen, batch, Keys(key, state.key))
        if axis_name is not None:
            gradients, sums = jax.lax.psum((gradients, sums), axis_name)
        scale = jnp.where(sums.weight > 0, 1 / jnp.where(sums.weight > 0, sums.weight, 1.0), 0.0)
        gradients = jax.tree.map(lambda gradient: gradient * scale, gradients)
        updates, opt_state = optimizer.update(gradients, state.opt_state, trained)
        result = StepResult(sums, optax.tree.norm(gradients), schedule(state.step))
        params = join(optax.apply_updates(trained, updates), frozen)
        return state.replace(step=state.step + 1, params=params, opt_state=opt_state), result

    return step


def make_accumulated_gradients(
    model: RewardModel, config: ExperimentConfig, loss: Loss
) -> Callable[[Params, Params, PreferenceBatch, Keys], tuple[Params, LossSums]]:
    """A function of (trained parameters, frozen ones, batch, keys) to the gradient of the loss sum by the first and the
    sums, over a device's microbatches."""
    microbatches, axes = config.parallel.microbatches, _axes_of_trained(model, config)

    def loss_sum(trained: Params, frozen: Params, batch: PreferenceBatch, keys: Keys) -> tuple[Array, LossSums]:
        params, dropout_key = join(trained, frozen), keys.step if config.model.dropout > 0 else None
        members = member_rewards(model, params, batch, dropout_key=dropout_key)
        return ensemble_loss(loss, members, batch, config.loss, keys.run)

    def gradients(
        trained: Params, frozen: Params, batch: PreferenceBatch, keys: Keys, index: Array | int
    ) -> tuple[Params, LossSums]:
        keys = keys._replace(step=jax.random.fold_in(keys.step, index))
        found, sums = jax.grad(loss_sum, has_aux=True)(trained, frozen, batch, keys)
        return laid_out_like(axes, found), sums

    def part_of(rows: Array) -> Array:
        parts = rows.reshape(microbatches, -1, *rows.shape[1:])
        return laid_out(parts, "microbatches", "rows", "slots")

    def accumulated(trained: Params, frozen: Params, batch: PreferenceBatch, keys: Keys) -> tuple[Params, LossSums]:
        if microbatches == 1:
            return gradients(trained, frozen, batch, keys, 0)
        parts = jax.tree.map(part_of, batch)

        def add(total: tuple, part: tuple) -> tuple[tuple, None]:
            index, rows = part
            more = gradients(trained, frozen, rows, keys, index)
            return jax.tree.map(jnp.add, total, more), None

        nothing = (
            laid_out_like(axes, jax.tree.map(jnp.zeros_like, trained)),
            LossSums(*(jnp.zeros(()) for _ in LossSums._fields)),
        )
        total, _ = jax.lax.scan(add, nothing, (jnp.arange(microbatches), parts))
        return total

    return accumulated


def _axes_of_trained(model: RewardModel, config: ExperimentConfig) -> Params:
    """Names of the axes of each trained parameter."""
    shapes = jax.eval_shape(lambda: init(model, jax.random.PRNGKey(0)))
    return of_trained(parameter_axes(model), trained_from(shapes, config.tuning))
