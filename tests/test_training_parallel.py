"""Four devices = one, for loss, gradients and steps; rows that can't be split; prefetching."""

import functools
import threading

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from absl import logging
from random_batches import lively, random_batch
from test_training_step import close, experiment

from rmjax.config import ConfigError, Strategy, from_json, to_json
from rmjax.model_config import AttentionKind
from rmjax.models.reward import RewardModel
from rmjax.training.optimizer import make_optimizer
from rmjax.training.parallel import make_model, make_parallel
from rmjax.training.state import new_state
from rmjax.training.step import make_train_step


@functools.cache
def compiled(config_text, devices, descend):
    config = from_json(config_text)
    parallel = make_parallel(config, tuple(jax.local_devices()[:devices]))
    model = RewardModel(config.model, 32)
    optimizer = optax.sgd(1.0) if descend else make_optimizer(config.optimizer, config.steps)
    return parallel, model, optimizer, parallel.compile_train(make_train_step(model, config, optimizer))


def run(strategy, batches, *, devices=4, microbatches=1, descend=False, **model):
    """(parameters before, state after, results of the steps), as numpy."""
    config = experiment(microbatches, **model)
    config.parallel.strategy = strategy
    parallel, reward_model, optimizer, step = compiled(to_json(config), devices, descend)
    state = new_state(reward_model, optimizer, 0)
    state = state.replace(params=lively(state.params))
    before = jax.tree.map(np.array, state.params)
    results = []
    for batch in parallel.prefetch(batches):
        state, result = step(state, batch)
        results.append(jax.tree.map(np.array, result))
    return before, jax.tree.map(np.array, state), results


@pytest.mark.parametrize("seed", range(2))
def test_gradients_and_loss_of_four_devices_equal_those_of_one(seed):
    batch = random_batch(seed)
    (before, one, results), (_, four, other) = (
        run(strategy, [batch], descend=True) for strategy in (Strategy.JIT, Strategy.PMAP)
    )
    gradients = jax.tree.map(np.subtract, before, one.params)
    assert float(optax.tree.norm(gradients)) > 0.01
    close(gradients, jax.tree.map(np.subtract, before, four.params))
    close(results[0], other[0], 1e-4)


@pytest.mark.parametrize(("devices", "microbatches"), [(4, 1), (2, 2)])
def test_five_steps_on_several_devices_equal_five_on_one(devices, microbatches):
    batches = [random_batch(seed) for seed in range(5)]
    before, one, results = run(Strategy.JIT, batches)
    _, several, other = run(Strategy.PMAP, batches, devices=devices, microbatches=microbatches)
    close(one.params, several.params, 2e-5)
    close(results, other, 1e-3)
    assert int(several.step) == 5
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), before, one.params)
    assert min(jax.tree.leaves(moved)) > 1e-3


def test_devices_drop_out_differently():
    def only_on(device):
        return jax.tree.map(lambda rows: np.stack([rows[0] * (place == device) for place in range(4)]), random_batch(0))

    losses = {float(run(Strategy.PMAP, [only_on(device)], dropout=0.3)[2][0].sums.loss) for device in range(4)}
    assert len(losses) == 4


@pytest.mark.parametrize(("rows", "microbatches", "right"), [(6, 1, "4 or 8"), (4, 3, "12"), (20, 2, "16 or 24")])
def test_rows_that_cannot_be_split_are_a_config_error(rows, microbatches, right):
    config = experiment(microbatches)
    config.batch.rows = rows
    with pytest.raises(ConfigError, match=rf"config\.batch\.rows is {rows}.* 4 devices .*such as {right}$"):
        make_parallel(config).compile_train(lambda state, batch, axis_name=None: (state, batch))
    make_parallel(config).compile_rewards(lambda params, *rows: rows[0])  # scoring has no rows of the config


def test_jit_is_one_device_and_pmap_all():
    config = experiment()
    assert make_parallel(config).device_count == len(make_parallel(config).devices) == 4
    config.parallel.strategy = Strategy.JIT
    assert make_parallel(config).devices == (jax.local_devices()[0],)
    assert make_parallel(config).device_count == 1


@pytest.mark.parametrize(("strategy", "devices"), [(Strategy.JIT, 1), (Strategy.PMAP, 1), (Strategy.PMAP, 3)])
def test_parameters_lie_where_a_step_has_them(strategy, devices):
    config = experiment()
    config.parallel.strategy = strategy
    parallel = make_parallel(config, tuple(jax.local_devices()[:devices]))
    model = RewardModel(config.model, 32)
    placed, stepped = parallel.abstract_params(model), parallel.new_state(model, optax.sgd(1.0), 0).params
    assert all(leaf.sharding.device_set == set(parallel.devices) for leaf in jax.tree.leaves(stepped))
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype, leaf.sharding), placed) == jax.tree.map(
        lambda leaf: (leaf.shape, leaf.dtype, leaf.sharding), stepped
    )


@pytest.mark.parametrize("rows", [4, 7])
def test_rewards_do_not_depend_on_the_devices(rows):
    config, batch = experiment(), random_batch(0, rows=rows)
    model = RewardModel(config.model, 32)
    params = lively(new_state(model, optax.identity(), 0).params)
    arrays = (batch.tokens, batch.positions, batch.visible_until, batch.response_end)

    def fn(params, *rows):
        return model.apply({"params": params}, *rows)

    expected = np.asarray(jax.jit(fn)(params, *arrays))
    for strategy, devices in ((Strategy.JIT, 1), (Strategy.PMAP, 2), (Strategy.PMAP, 4)):
        config.parallel.strategy = strategy
        parallel = make_parallel(config, tuple(jax.local_devices()[:devices]))
        values = parallel.compile_rewards(fn)(params, *arrays)()
        assert values.shape == (rows, 15, 1)
        np.testing.assert_allclose(values, expected, atol=1e-5)
    assert expected.std() > 0.01


@pytest.mark.parametrize("strategy", list(Strategy))
def test_prefetch_keeps_order_and_what_comes_along(strategy):
    config = experiment()
    config.parallel.strategy = strategy
    parallel = make_parallel(config)
    batches = [random_batch(seed) for seed in range(4)]
    items = list(parallel.prefetch(enumerate(batches)))
    assert [index for index, _ in items] == [0, 1, 2, 3]
    for (_, put), batch in zip(items, batches, strict=True):
        assert isinstance(put.tokens, jax.Array)
        np.testing.assert_array_equal(np.reshape(put.tokens, batch.tokens.shape), batch.tokens)
        assert parallel.put(put) is put


def prefetch_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("prefetch")]


def test_prefetch_raises_where_it_happened_and_leaves_no_thread():
    def failing():
        yield random_batch(0)
        raise OSError("the disk is gone")

    iterator = make_parallel(experiment()).prefetch(failing())
    next(iterator)
    with pytest.raises(OSError, match="the disk is gone"):
        next(iterator)
    assert not prefetch_threads()


def test_prefetch_stops_early_without_reading_far_ahead_or_leaving_a_thread():
    taken = []

    def endless():
        while True:
            taken.append(len(taken))
            yield taken[-1]

    iterator = make_parallel(experiment()).prefetch(endless())
    assert [next(iterator) for _ in range(3)] == [0, 1, 2]
    assert prefetch_threads()
    iterator.close()
    assert len(taken) <= 5
    assert not prefetch_threads()


def test_the_state_is_donated():
    config = experiment()
    optimizer = optax.sgd(0.1)
    model = RewardModel(config.model, 32)
    step = make_parallel(config).compile_train(make_train_step(model, config, optimizer))
    state, _ = step(new_state(model, optimizer, 0), random_batch(0))
    again, _ = step(state, random_batch(1))
    assert jnp.isfinite(again.params["reward_head"]["kernel"]).all()
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state.params))


def test_the_log_says_which_attention_was_chosen(caplog, monkeypatch):
    monkeypatch.setattr(logging.get_absl_logger(), "propagate", True)
    caplog.set_level("INFO", logger="absl")
    config = experiment().model
    for kind in AttentionKind:
        if kind is not AttentionKind.PALLAS:
            config.attention = kind
            make_model(config, 32)
    assert [record.getMessage() for record in caplog.records] == ["attention is 'listed', which suits cpu"]
