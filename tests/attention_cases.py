"""What the tests of the kernels for TPU and for GPU have in common: inputs, and what is held against dense."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, PartitionSpec
from random_batches import Tree, lay, lively, random_batch, random_rows, small_model_config, to_batch

from rmjax.model_config import Remat
from rmjax.models.attention import PLAIN, ScoreRule, dense_attention
from rmjax.models.reward import RewardModel, init, rewards

ALL = ScoreRule(scale=0.2, softcap=2.0, window=9)


def random_inputs(seed, length, heads, groups, size, dtype=jnp.float32, rows=2):
    """Query, key, value, a gradient to pull, visible_until, positions; the rows cut off or padded."""
    batch = random_batch(seed, rows=rows)
    cut = [np.pad(array, [(0, 0), (0, 128)])[:, :length] for array in (batch.visible_until, batch.positions)]
    keys = jax.random.split(jax.random.PRNGKey(seed), 4)
    query, pulled = (jax.random.normal(key, (rows, length, heads, size), dtype) for key in keys[:2])
    key, value = (jax.random.normal(key, (rows, length, groups, size), dtype) for key in keys[2:])
    return query, key, value, pulled, *cut


@functools.partial(jax.jit, static_argnums=(0, 7))
def mixed_and_gradients(implementation, query, key, value, pulled, visible_until, positions, rule=PLAIN):
    def attend(query, key, value):
        return implementation(query, key, value, visible_until, positions, rule)

    mixed, pull = jax.vjp(attend, query, key, value)
    return mixed, *pull(pulled)


def assert_equals_dense(implementation, inputs, rule=PLAIN, atol=2e-5):
    found = mixed_and_gradients(implementation, *inputs, rule)
    for array, expected in zip(found, mixed_and_gradients(dense_attention, *inputs, rule), strict=True):
        np.testing.assert_allclose(array, expected, atol=atol)


def assert_as_near_as_dense(implementation, inputs, rule=PLAIN):
    """To float32, in the dtype of the inputs."""
    exact = mixed_and_gradients(
        dense_attention, *(array.astype(jnp.float32) for array in inputs[:4]), *inputs[4:], rule
    )
    found, dense = (mixed_and_gradients(one, *inputs, rule) for one in (implementation, dense_attention))
    for array, from_dense, expected in zip(found, dense, exact, strict=True):
        assert array.dtype == inputs[0].dtype
        error, usual = (np.abs(np.asarray(a, np.float32) - expected).max() for a in (array, from_dense))
        assert error < 1.5 * usual


def assert_skips_what_nobody_needs(implementation):
    """Its blocks are of 32. Whatever is multiplied with NaN is NaN, also where it is hidden afterwards."""
    query, key, value, pulled, *_ = random_inputs(0, 128, 2, 1, 8, rows=1)
    visible_until = np.repeat([64, 128], 64)[None].astype(np.int32)
    places = (visible_until, np.tile(np.arange(64, dtype=np.int32), 2)[None])
    before = mixed_and_gradients(implementation, query, key, value, pulled, *places)
    poison = [array.at[:, 64:].set(np.nan) for array in (query, key, value, pulled)]
    for array, expected in zip(mixed_and_gradients(implementation, *poison, *places), before, strict=True):
        np.testing.assert_array_equal(array[:, :64], expected[:, :64])
        assert np.isnan(array[:, 64:]).all()


def assert_packed_equals_alone(attention):
    """As the attention of a model, whose gradients are those with dense attention."""
    rng = np.random.default_rng(0)
    config = small_model_config(attention_window=7, attention_softcap=1.0, remat=Remat.FULL)
    model, dense = RewardModel(config, 32, attention=attention), RewardModel(config, 32)
    params = lively(init(model, jax.random.PRNGKey(0)))
    params["reward_head"]["kernel"] *= 10.0
    rows = random_rows(rng, 2, nested=True)
    batch = to_batch(rng, rows, length=128, responses=15, comparisons=1)
    packed = np.asarray(jax.jit(rewards, static_argnums=0)(model, params, batch))[batch.response_id >= 0]
    paths = [path for trees in rows for path in lay(trees).paths]
    single = to_batch(rng, [[Tree(path, [])] for path in paths], length=32, responses=1, comparisons=1)
    alone = np.asarray(jax.jit(rewards, static_argnums=0)(model, params, single))[:, 0]
    assert alone.std() > 0.2
    np.testing.assert_allclose(packed, alone, atol=1e-5)

    def loss(model, params):
        return jnp.square(rewards(model, params, batch) - 1.0).mean()

    found, expected = (jax.jit(jax.grad(functools.partial(loss, one)))(params) for one in (model, dense))
    jax.tree.map(functools.partial(np.testing.assert_allclose, atol=2e-5, rtol=1e-4), found, expected)


def assert_equals_dense_over_four_devices(attention, how):
    """By pmap, or by shard_map over rows and heads."""
    query, key, value, pulled, *places = random_inputs(0, 128, 4, 2, 8, rows=4)
    expected = mixed_and_gradients(dense_attention, query, key, value, pulled, *places)
    if how == "pmap":
        split = [array.reshape(4, 1, *array.shape[1:]) for array in (query, key, value, pulled, *places)]
        found = jax.pmap(functools.partial(mixed_and_gradients, attention))(*split)
    else:
        mesh = jax.make_mesh((2, 2), ("data", "tensor"), axis_types=(AxisType.Auto, AxisType.Auto))
        heads, rows = PartitionSpec("data", None, "tensor"), PartitionSpec("data")
        split = jax.shard_map(
            lambda *inputs: attention(*inputs, PLAIN),
            mesh=mesh,
            in_specs=(heads, heads, heads, rows, rows),
            out_specs=heads,
            check_vma=False,
        )
        found = mixed_and_gradients(lambda *inputs: split(*inputs[:5]), query, key, value, pulled, *places)
    for array, reference in zip(found, expected, strict=True):
        np.testing.assert_allclose(array.reshape(reference.shape), reference, atol=2e-5)
