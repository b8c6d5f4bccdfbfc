"""One step: accumulation = one big batch, the division, what a batch of nothing does, randomness, replaced losses."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from random_batches import lively, random_batch, small_model_config

from rmjax.config import BatchConfig, ExperimentConfig, OptimizerConfig, ParallelConfig, from_json, to_json
from rmjax.models.reward import RewardModel, rewards
from rmjax.training.loss import metric_sums, pairwise_loss
from rmjax.training.metrics import step_metrics
from rmjax.training.optimizer import make_optimizer
from rmjax.training.state import new_state
from rmjax.training.step import make_train_step


def experiment(microbatches=1, **model):
    return ExperimentConfig(
        steps=20,
        model=small_model_config(**model),
        batch=BatchConfig(rows=4, row_length=128),
        optimizer=OptimizerConfig(learning_rate=0.01, warmup_steps=2),
        parallel=ParallelConfig(microbatches=microbatches),
    )


@functools.cache
def compiled(config_text, loss, descend):
    """(model, optimizer, step), compiled once for equal configs; ``descend`` is plain gradient descent at rate 1."""
    config = from_json(config_text)
    model = RewardModel(config.model, 32)
    optimizer = optax.sgd(1.0) if descend else make_optimizer(config.optimizer, config.steps)
    return model, optimizer, jax.jit(make_train_step(model, config, optimizer, loss))


def run(config, batches, loss=pairwise_loss, descend=False, seed=0):
    """(states after each step, results of each)."""
    model, optimizer, step = compiled(to_json(config), loss, descend)
    state = new_state(model, optimizer, seed)
    state = state.replace(params=lively(state.params))
    states, results = [state], []
    for batch in batches:
        state, result = step(state, batch)
        states.append(state)
        results.append(result)
    return states, results


def close(one, other, tolerance=1e-6):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=tolerance, rtol=1e-5), one, other)


def gradients_of(config, batch):
    """Read from a step of plain descent at rate 1."""
    (before, after), (result,) = run(config, [batch], descend=True)
    return jax.tree.map(jnp.subtract, before.params, after.params), result


@pytest.mark.parametrize("seed", range(2))
def test_the_gradient_is_that_of_the_mean_over_the_weight(seed):
    config, batch = experiment(), random_batch(seed)
    model = RewardModel(config.model, 32)

    def mean_loss(params):
        loss, sums = pairwise_loss(rewards(model, params, batch), batch, config.loss)
        return loss / sums.weight

    got, result = gradients_of(config, batch)
    params = lively(new_state(model, optax.sgd(1.0), 0).params)
    expected = jax.jit(jax.grad(mean_loss))(params)
    close(got, expected)
    assert result.gradient_norm == pytest.approx(float(optax.tree.norm(expected)), rel=1e-4)
    assert float(result.gradient_norm) > 0.01


@pytest.mark.parametrize("microbatches", [2, 4])
@pytest.mark.parametrize("seed", range(2))
def test_accumulation_equals_one_big_batch(seed, microbatches):
    batch = random_batch(seed)
    whole, parts = gradients_of(experiment(), batch), gradients_of(experiment(microbatches), batch)
    close(whole[0], parts[0], 1e-6)
    close(whole[1], parts[1], 1e-4)


@pytest.mark.parametrize("microbatches", [1, 2])
def test_rows_of_padding_change_nothing_and_alone_have_zero_gradients(microbatches):
    batch = random_batch(0)
    empty = jax.tree.map(np.zeros_like, batch)._replace(response_id=np.full_like(batch.response_id, -1))
    none, result = gradients_of(experiment(microbatches), empty)
    assert all(np.all(np.asarray(leaf) == 0) for leaf in jax.tree.leaves(none))
    assert float(result.gradient_norm) == 0.0
    assert float(result.sums.weight) == 0.0
    half_empty = jax.tree.map(lambda a, b: np.concatenate([a[:2], b[2:]]), batch, empty)
    twice = jax.tree.map(lambda a: np.concatenate([a[:2], a[:2]]), batch)  # the same mean, over twice the weight
    close(gradients_of(experiment(microbatches), half_empty)[0], gradients_of(experiment(microbatches), twice)[0])


def test_steps_learn_and_report():
    states, results = run(experiment(), [random_batch(0)] * 15)
    metrics = [step_metrics(result) for result in results]
    assert metrics[-1]["loss"] < metrics[0]["loss"] - 0.05
    assert metrics[0]["learning_rate"] == pytest.approx(0.005)
    assert metrics[2]["learning_rate"] == pytest.approx(0.01)
    assert [int(state.step) for state in states] == list(range(16))
    np.testing.assert_array_equal(states[0].key, states[-1].key)


def test_dropout_differs_from_step_to_step_and_is_a_function_of_the_seed():
    config = experiment(dropout=0.3)
    config.optimizer.learning_rate = 1e-30
    losses = [float(result.sums.loss) for result in run(config, [random_batch(0)] * 2)[1]]
    again = [float(result.sums.loss) for result in run(config, [random_batch(0)] * 2)[1]]
    other = [float(result.sums.loss) for result in run(config, [random_batch(0)] * 2, seed=1)[1]]
    assert losses == again
    assert losses[0] != losses[1]
    assert losses[0] != other[0]


def test_dropout_differs_between_microbatches():
    half = jax.tree.map(lambda rows: rows[:2], random_batch(0))
    none = jax.tree.map(lambda rows: np.zeros_like(rows), half)
    first, second = (
        float(
            run(experiment(2, dropout=0.3), [jax.tree.map(lambda *rows: np.concatenate(rows), *pair)])[1][0].sums.loss
        )
        for pair in ((half, none), (none, half))
    )
    assert first != pytest.approx(second, rel=1e-5)


def test_the_loss_can_be_replaced():
    def squares(values, batch, config):
        used = (batch.response_id >= 0)[:, :, None]
        loss = jnp.sum(jnp.where(used, jnp.square(values - 1.0), 0.0))
        return loss, metric_sums(loss, values, batch)

    _, results = run(experiment(), [random_batch(0)] * 20, loss=squares)
    means = [step_metrics(result)["reward_mean"] for result in results]
    assert abs(means[0]) < 0.2
    assert means[-1] > 0.6
