"""The laws of an ensemble of reward heads: its weights, its loss, its gradient, and that one member is none."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from random_batches import lively, random_batch, small_model_config

from rmjax.config import BatchConfig, ExperimentConfig, LossConfig, OptimizerConfig, ParallelConfig, Strategy
from rmjax.models.reward import RewardModel, init, member_rewards, rewards
from rmjax.training.ensemble import bootstrap_weights, ensemble_loss
from rmjax.training.loss import pairwise_loss
from rmjax.training.optimizer import make_optimizer
from rmjax.training.parallel import make_parallel
from rmjax.training.state import new_state
from rmjax.training.step import make_train_step

KEY = jax.random.PRNGKey(3)


def experiment(members=3, *, bootstrap=True, microbatches=1, strategy=Strategy.JIT, **changes):
    return ExperimentConfig(
        steps=20,
        model=small_model_config(ensemble=members, reward_heads=("a", "b"), **changes),
        batch=BatchConfig(rows=4, row_length=128),
        loss=LossConfig(bootstrap=bootstrap, label_smoothing=0.05, centering=0.02),
        optimizer=OptimizerConfig(learning_rate=0.01, warmup_steps=2),
        parallel=ParallelConfig(microbatches=microbatches, strategy=strategy),
    )


def started(config, seed=0):
    model = RewardModel(config.model, 32)
    state = new_state(model, optax.sgd(1.0), seed)
    return model, state.replace(params=lively(state.params))


def gradient_of(config, batch, seed=0):
    """Read from a step of plain descent at rate 1."""
    model, state = started(config, seed)
    after, result = jax.jit(make_train_step(model, config, optax.sgd(1.0)))(state, batch)
    return jax.tree.map(jnp.subtract, state.params, after.params), result


def test_weights_are_exponential_and_a_function_of_key_comparison_and_member_alone():
    ids = np.arange(4000, dtype=np.int32).reshape(40, 100)
    weights = np.asarray(bootstrap_weights(KEY, ids, 4))
    assert weights.shape == (40, 100, 4)
    shuffled = np.random.default_rng(0).permutation(4000).reshape(80, 50)
    moved = np.asarray(bootstrap_weights(KEY, ids.reshape(-1)[shuffled], 6))
    np.testing.assert_array_equal(moved[..., :4], weights.reshape(-1, 4)[shuffled])
    assert weights.min() > 0
    np.testing.assert_allclose(weights.mean((0, 1)), 1.0, atol=0.06)
    np.testing.assert_allclose(np.quantile(weights, [0.25, 0.5, 0.9]), -np.log([0.75, 0.5, 0.1]), rtol=0.06)
    assert np.abs(np.corrcoef(weights.reshape(-1, 4).T) - np.eye(4)).max() < 0.06
    other = np.asarray(bootstrap_weights(jax.random.PRNGKey(4), ids, 4))
    assert abs(np.corrcoef(other.ravel(), weights.ravel())[0, 1]) < 0.03


@pytest.mark.parametrize("bootstrap", [True, False])
def test_the_loss_is_the_mean_of_the_members_losses(bootstrap):
    batch, config = random_batch(0, heads=2), LossConfig(bootstrap=bootstrap, label_smoothing=0.1, centering=0.2)
    values = np.random.default_rng(1).normal(size=(4, 15, 2, 3)).astype(np.float32)
    loss, sums = ensemble_loss(pairwise_loss, values, batch, config, KEY)
    factors = np.asarray(bootstrap_weights(KEY, batch.comparison_id, 3)) if bootstrap else np.ones((4, 30, 3))
    alone = [
        pairwise_loss(values[..., member], batch._replace(weight=batch.weight * factors[..., member]), config)[0]
        for member in range(3)
    ]
    assert np.ptp(alone) > 0.1
    assert float(loss) == float(sums.loss) == pytest.approx(np.mean(alone), rel=1e-6)
    expected = pairwise_loss(values.mean(-1), batch, config)[1]
    for name in set(sums._fields) - {"loss"}:
        np.testing.assert_allclose(getattr(sums, name), getattr(expected, name), rtol=1e-6, err_msg=name)


@pytest.mark.parametrize("bootstrap", [True, False])
def test_a_members_gradient_is_that_of_a_head_alone_on_its_weights(bootstrap):
    """So one member of M learns from M times less gradient, which AdamW divides out."""
    config, batch = experiment(bootstrap=bootstrap), random_batch(0, heads=2)
    gradient, _ = gradient_of(config, batch)
    kernel = np.asarray(gradient["reward_head"]["kernel"]).reshape(16, 2, 3)
    _, state = started(config)
    factors = np.asarray(bootstrap_weights(state.key, batch.comparison_id, 3)) if bootstrap else np.ones((4, 30, 3))
    single = RewardModel(experiment(1).model, 32)
    for member in range(3):
        own = np.asarray(state.params["reward_head"]["kernel"]).reshape(16, 2, 3)[:, :, member]
        params = state.params | {"reward_head": {"kernel": own}}
        weighted = batch._replace(weight=(batch.weight * factors[..., member]).astype(np.float32))

        def loss(params, batch=weighted):
            return pairwise_loss(rewards(single, params, batch), batch, config.loss)[0]

        expected = jax.jit(jax.grad(loss))(params)["reward_head"]["kernel"] / batch.weight.sum() / 3
        np.testing.assert_allclose(kernel[:, :, member], expected, atol=1e-6)


def test_an_ensemble_of_one_is_the_model_without():
    """Bit for bit: of parameters, rewards, losses and steps, with bootstrap and without."""
    batch = random_batch(0, heads=2)
    model, state = started(experiment(1))
    outputs = model.apply({"params": state.params}, *batch[:4])
    np.testing.assert_array_equal(rewards(model, state.params, batch), outputs)
    members = member_rewards(model, state.params, batch)
    assert members.shape == (4, 15, 2, 1)
    for bootstrap in (True, False):
        config = LossConfig(bootstrap=bootstrap)
        found = ensemble_loss(pairwise_loss, members, batch, config, KEY)
        jax.tree.map(np.testing.assert_array_equal, found, pairwise_loss(outputs, batch, config))
    on, off = (gradient_of(experiment(1, bootstrap=bootstrap), batch) for bootstrap in (True, False))
    jax.tree.map(np.testing.assert_array_equal, on, off)


def test_members_lie_beside_each_other_and_the_reward_is_their_mean():
    batch = random_batch(0)
    model, state = started(experiment(4))
    outputs = np.asarray(model.apply({"params": state.params}, *batch[:4]))
    assert outputs.shape == (4, 15, 8)
    members = np.asarray(member_rewards(model, state.params, batch))
    np.testing.assert_array_equal(members[..., 1, 2], outputs[..., 6])
    np.testing.assert_allclose(rewards(model, state.params, batch), members.mean(-1), atol=1e-7)


def test_members_start_apart_as_far_as_the_scale_says():
    def kernel(**changes):
        return np.asarray(init(RewardModel(experiment(64, **changes).model, 32), KEY)["reward_head"]["kernel"])

    plain = kernel()
    assert len(np.unique(plain, axis=1).T) == 128
    assert plain.std() == pytest.approx(0.1 / 4, rel=0.1)
    np.testing.assert_allclose(kernel(ensemble_scale=5.0), 5 * plain, rtol=1e-6)


@pytest.mark.parametrize("microbatches", [2, 4])
def test_microbatches_and_the_order_of_rows_leave_the_gradient(microbatches):
    batch = random_batch(1, heads=2)
    expected, result = gradient_of(experiment(), batch)
    turned = jax.tree.map(lambda rows: rows[::-1], batch)
    for other in (gradient_of(experiment(microbatches=microbatches), batch), gradient_of(experiment(), turned)):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), expected, other[0])
        np.testing.assert_allclose(result.sums.loss, other[1].sums.loss, rtol=1e-5)
    unweighted, _ = gradient_of(experiment(bootstrap=False), batch)
    assert float(optax.tree.norm(jax.tree.map(jnp.subtract, expected, unweighted))) > 1e-3


def test_strategies_take_the_same_steps():
    """Each compiled, over four devices, as over one."""
    batches = [random_batch(seed, heads=2) for seed in range(3)]

    def after(strategy, devices):
        config = experiment(strategy=strategy)
        if strategy is Strategy.MESH:
            config.parallel.fsdp = config.parallel.tensor = 2
        parallel = make_parallel(config, tuple(jax.local_devices()[:devices]))
        model, optimizer = RewardModel(config.model, 32), make_optimizer(config.optimizer, config.steps)
        step = parallel.compile_train(make_train_step(parallel.fit(model), config, optimizer))
        state = parallel.new_state(model, optimizer, 0)
        for batch in parallel.prefetch(batches):
            state, _ = step(state, batch)
        return jax.tree.map(np.asarray, state.params)

    one = after(Strategy.JIT, 1)
    assert one["reward_head"]["kernel"].shape == (16, 6)
    for strategy in (Strategy.PMAP, Strategy.MESH):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5), one, after(strategy, 4))
