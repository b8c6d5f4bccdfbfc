"""The mesh strategy: the same steps as one device's, split state, checkpoints that any strategy takes."""

import dataclasses
import functools

import jax
import numpy as np
import optax
import pytest
from random_batches import lively, random_batch
from test_training_checkpoint import assert_same_bits
from test_training_step import close, experiment
from untrained import untrained_config, write_run

from rmjax.config import ConfigError, ParallelConfig, Strategy
from rmjax.models.reward import RewardModel
from rmjax.scoring.scorer import RewardScorer
from rmjax.training.checkpoint import Checkpoints
from rmjax.training.mesh import MeshParallel
from rmjax.training.optimizer import make_optimizer
from rmjax.training.parallel import Replicated, make_parallel, make_parallel_here
from rmjax.training.step import make_train_step
from rmjax.training.trained import load_trained

ROWS = 8
JIT, PMAP = (Strategy.JIT, 1, 1, 1), (Strategy.PMAP, 1, 1, 1)
MESHES = [(Strategy.MESH, *rest) for rest in ((1, 1, 1), (4, 1, 1), (1, 2, 1), (2, 2, 2))]  # fsdp, tensor, microbatches


def config_of(strategy, fsdp, tensor, microbatches, **model):
    config = experiment(microbatches, **model)
    config.batch.rows = ROWS
    config.parallel.strategy, config.parallel.fsdp, config.parallel.tensor = strategy, fsdp, tensor
    return config


@functools.cache
def five_steps(layout):
    """(parallel, model, losses, state), the first state having random queries."""
    config = config_of(*layout)
    parallel, model = make_parallel(config), RewardModel(config.model, 32)
    optimizer = make_optimizer(config.optimizer, config.steps)
    state = parallel.new_state(model, optimizer, 0)
    places = jax.tree.map(lambda leaf: leaf.sharding, state.params)
    state = state.replace(params=jax.device_put(lively(state.params), places))
    step, losses = parallel.compile_train(make_train_step(parallel.fit(model), config, optimizer)), []
    for batch in parallel.prefetch(random_batch(seed, rows=ROWS) for seed in range(5)):
        state, result = step(state, batch)
        losses.append(float(result.sums.loss / result.sums.weight))
    return parallel, model, losses, state


@pytest.mark.parametrize("layout", [PMAP, *MESHES])
def test_five_steps_are_those_of_one_device(layout):
    _, _, expected, one = five_steps(JIT)
    _, _, losses, several = five_steps(layout)
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    close(jax.tree.leaves(one), jax.tree.leaves(several), 1e-5)


def shares(tree):
    """Which share of each parameter a device holds, by the parameter's name, the same for all devices."""
    found = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        (shape,) = {shard.data.shape for shard in leaf.addressable_shards}
        assert len(leaf.addressable_shards) == 4
        found[[entry.key for entry in path][-2]] = tuple(
            whole // part for whole, part in zip(leaf.shape, shape, strict=True)
        )
    return found


def test_the_state_is_split_as_the_axes_say_and_stays_so():
    state = five_steps((Strategy.MESH, 2, 2, 2))[3]
    into, out_of, whole = (1, 2, 2), (1, 2, 2), (1, 1)
    expected = {"embedding": (1, 4), "attention_norm": whole, "mlp_norm": whole, "final_norm": (1,)}
    expected |= {"query": into, "key": into, "value": into, "gate": into, "up": into, "output": out_of, "down": out_of}
    expected |= {"reward_head": whole}
    moments = state.opt_state[1][0]
    for tree in (state.params, moments.mu, moments.nu):
        assert shares(tree) == expected
        assert all(type(leaf).__name__ == "ArrayImpl" for leaf in jax.tree.leaves(tree))


def test_key_and_value_heads_that_are_too_few_to_split_are_on_every_device():
    config = config_of(Strategy.MESH, 1, 4, 1)
    params = make_parallel(config).new_state(RewardModel(config.model, 32), optax.identity(), 0).params
    found = shares(params)
    assert (found["query"], found["key"], found["value"]) == ((1, 1, 4), (1, 1, 1), (1, 1, 1))


def test_the_state_is_never_whole_on_a_device():
    config = config_of(Strategy.MESH, 4, 1, 1, width=256, mlp_width=1024)
    model, optimizer = RewardModel(config.model, 512), make_optimizer(config.optimizer, config.steps)
    parallel = make_parallel(config)
    abstract = parallel.abstract_state(model, optimizer)
    whole = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(abstract))
    used = parallel._jit_new_state(model, optimizer).lower(0).compile().memory_analysis()
    assert used.output_size_in_bytes < 0.26 * whole
    assert used.output_size_in_bytes + used.temp_size_in_bytes < 0.5 * whole


def test_a_step_is_lowered_without_arrays():
    """As it is for devices that aren't there."""
    config = config_of(*MESHES[3])
    model, optimizer = RewardModel(config.model, 32), make_optimizer(config.optimizer, config.steps)
    parallel = make_parallel(config)
    step = make_train_step(parallel.fit(model), config, optimizer)
    lowered = parallel.lower_train(step, parallel.abstract_state(model, optimizer), random_batch(0, rows=ROWS))
    state, batch = lowered.args_info[0]
    assert all(info.donated for info in jax.tree.leaves(state))
    assert not any(info.donated for info in jax.tree.leaves(batch))
    shape = lowered.out_info[0].params["backbone"]["embedding"]["embedding"].shape
    assert shape == (32, 16)


@pytest.mark.parametrize("saved", [JIT, PMAP, MESHES[1], MESHES[3]])
def test_a_checkpoint_of_any_strategy_is_restored_under_any_other(tmp_path, saved):
    state = five_steps(saved)[3]
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(5, state, data={"epoch": 0, "step": 5}, validation=None)
        checkpoints.wait()
        for other in (JIT, PMAP, MESHES[1], MESHES[3]):
            parallel, model, _, template = five_steps(other)
            restored = checkpoints.restore(5, template).state
            assert_same_bits(restored, state)
            for ours, theirs in zip(jax.tree.leaves(restored), jax.tree.leaves(template), strict=True):
                assert ours.sharding.is_equivalent_to(theirs.sharding, ours.ndim)
            assert_same_bits(checkpoints.restore_params(5, parallel.abstract_params(model)), state.params)


@pytest.mark.parametrize("rows", [4, 7])
def test_rewards_are_those_of_one_device_however_the_parameters_lie(rows):
    batch = random_batch(0, rows=rows)
    arrays = (batch.tokens, batch.positions, batch.visible_until, batch.response_end)
    values = []
    for layout in (JIT, MESHES[3]):
        parallel, model, _, state = five_steps(layout)
        fitted = parallel.fit(model)
        compute = parallel.compile_rewards(lambda params, *rows, model=fitted: model.apply({"params": params}, *rows))
        values += [compute(state.params, *arrays)(), compute(five_steps(JIT)[3].params, *arrays)()]
    for other in values[1:]:
        assert other.shape == (rows, 15, 1)
        np.testing.assert_allclose(other, values[0], atol=2e-5)


@pytest.mark.parametrize(("fsdp", "strategy"), [(2, MeshParallel), (8, Replicated)])
def test_a_trained_model_is_read_on_devices_that_its_mesh_does_not_fit(tmp_path, fsdp, strategy):
    config = untrained_config(parallel=ParallelConfig(strategy=Strategy.MESH, fsdp=fsdp))
    assert type(make_parallel_here(config)) is strategy
    trained = load_trained(write_run(tmp_path, config))
    table = trained.params["backbone"]["embedding"]["embedding"]
    assert table.sharding.shard_shape(table.shape)[1] == (8 if strategy is MeshParallel else 16)
    scorer = RewardScorer.from_workdir(tmp_path)
    whole = RewardScorer(dataclasses.replace(trained, config=untrained_config(), params=jax.device_get(trained.params)))
    responses = ("the river", "seven bridges")
    np.testing.assert_allclose(scorer.score("why", responses), whole.score("why", responses), atol=1e-5)


def test_devices_that_the_mesh_does_not_fit_are_a_config_error():
    config = config_of(Strategy.MESH, 3, 2, 1)
    with pytest.raises(ConfigError, match=r"fsdp \* config\.parallel\.tensor is 3 \* 2 = 6; .* divisor of the 4 dev"):
        make_parallel(config)


@pytest.mark.parametrize(("tensor", "rows", "right"), [(1, 6, "4 devices / .* such as 4 or 8"), (2, 3, "2 or 4")])
def test_rows_are_split_over_all_devices_but_those_of_tensor(tensor, rows, right):
    config = config_of(Strategy.MESH, 1, tensor, 1)
    config.batch.rows = rows
    with pytest.raises(ConfigError, match=rf"config\.batch\.rows is {rows}; .*{right}$"):
        make_parallel(config).check_rows()
