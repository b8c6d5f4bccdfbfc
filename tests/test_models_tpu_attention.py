"""The TPU kernels by their interpreter: head sizes, types, lengths, blocks, devices; inside the model; what they skip.

The laws of all implementations are in test_models_attention.py, the real compiler is in test_tpu_compile_attention.py.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec
from random_batches import Tree, lay, lively, random_batch, random_rows, small_model_config, to_batch

from rmjax.config import Remat
from rmjax.models.attention import PLAIN, ScoreRule, dense_attention
from rmjax.models.reward import RewardModel, init, rewards
from rmjax.models.tpu_attention import default_sizes, heads_together, tpu_attention
from rmjax.models.tpu_blocks import BlockSizes

ALL = ScoreRule(scale=0.2, softcap=2.0, window=9)
attention = functools.partial(tpu_attention, sizes=BlockSizes(query=32, key=64), interpret=True)


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


@pytest.mark.parametrize("size", [64, 96, 128, 256])
def test_head_sizes_in_float32(size):
    assert_equals_dense(attention, random_inputs(size, 128, 4, 2, size), ALL)


@pytest.mark.parametrize("size", [64, 96, 128, 256])
def test_in_bfloat16_it_is_as_near_to_float32_as_the_dense_one(size):
    inputs = random_inputs(size, 128, 4, 2, size, jnp.bfloat16)
    exact = mixed_and_gradients(dense_attention, *(array.astype(jnp.float32) for array in inputs[:4]), *inputs[4:], ALL)
    found, dense = (mixed_and_gradients(one, *inputs, ALL) for one in (attention, dense_attention))
    for array, from_dense, expected in zip(found, dense, exact, strict=True):
        assert array.dtype == jnp.bfloat16
        error, usual = (np.abs(np.asarray(a, np.float32) - expected).max() for a in (array, from_dense))
        assert error < 1.5 * usual


@pytest.mark.parametrize("length", [1, 33, 100, 160])
def test_any_length(length):
    assert_equals_dense(attention, random_inputs(length, length, 4, 2, 8))


@pytest.mark.parametrize("sizes", [(16, 64), (64, 16), (24, 32), (256, 256)])
def test_any_blocks(sizes):
    query, key = sizes
    implementation = functools.partial(attention, sizes=BlockSizes(query=query, key=key))
    assert_equals_dense(implementation, random_inputs(query, 128, 4, 2, 8), ALL)


@pytest.mark.parametrize(("heads", "groups"), [(9, 1), (11, 1), (24, 2)])
def test_groups_that_are_met_in_several_bundles(heads, groups):
    """Keys and values are those of two or more bundles, whose gradients add up."""
    assert heads_together(heads // groups) < heads // groups
    assert_equals_dense(attention, random_inputs(heads, 64, heads, groups, 8), ALL)


def test_default_sizes_are_of_whole_tiles_and_no_larger_than_the_row_needs():
    for length in (1, 128, 129, 500, 1024, 8192):
        for per_group in range(1, 72):
            sizes = default_sizes(length, per_group)
            assert sizes.query % 128 == sizes.key % 128 == 0
            assert max(sizes.query, sizes.key) < max(2 * length, 129)
            assert 128 <= heads_together(per_group) * sizes.query <= 1024
    assert_equals_dense(functools.partial(tpu_attention, interpret=True), random_inputs(0, 200, 2, 1, 16))


def test_blocks_that_do_not_fit_the_tiles_of_a_tpu_are_refused():
    with pytest.raises(ValueError, match=r"query=128, key=96.*multiple of 128"):
        tpu_attention(
            *random_inputs(0, 96, 2, 1, 8)[:3], *np.zeros((2, 2, 96), np.int32), sizes=BlockSizes(query=128, key=96)
        )


def test_blocks_that_nobody_needs_are_not_computed():
    """Whatever is multiplied with NaN is NaN, also where it is hidden afterwards."""
    query, key, value, pulled, *_ = random_inputs(0, 128, 2, 1, 8, rows=1)
    visible_until = np.repeat([64, 128], 64)[None].astype(np.int32)
    places = (visible_until, np.tile(np.arange(64, dtype=np.int32), 2)[None])
    implementation = functools.partial(attention, sizes=BlockSizes(query=32, key=32))
    before = mixed_and_gradients(implementation, query, key, value, pulled, *places)
    poison = [array.at[:, 64:].set(np.nan) for array in (query, key, value, pulled)]
    for array, expected in zip(mixed_and_gradients(implementation, *poison, *places), before, strict=True):
        np.testing.assert_array_equal(array[:, :64], expected[:, :64])
        assert np.isnan(array[:, 64:]).all()


def test_as_the_attention_of_the_model_packed_equals_alone():
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


@pytest.mark.parametrize("how", ["pmap", "shard_map"])
def test_over_four_devices(how):
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
