"""The TPU kernels by their interpreter: head sizes, types, lengths, blocks, devices; inside the model; what they skip.

The laws of all implementations are in test_models_attention.py, the real compiler is in test_tpu_compile_attention.py.
"""

import functools

import jax.numpy as jnp
import numpy as np
import pytest
from attention_cases import (
    ALL,
    assert_as_near_as_dense,
    assert_equals_dense,
    assert_equals_dense_over_four_devices,
    assert_packed_equals_alone,
    assert_skips_what_nobody_needs,
    random_inputs,
)

from rmjax.models.kernels import BlockSizes
from rmjax.models.tpu_attention import default_sizes, heads_together, tpu_attention

attention = functools.partial(tpu_attention, sizes=BlockSizes(query=32, key=64), interpret=True)


@pytest.mark.parametrize("size", [64, 96, 128, 256])
def test_head_sizes_in_float32(size):
    assert_equals_dense(attention, random_inputs(size, 128, 4, 2, size), ALL)


@pytest.mark.parametrize("size", [64, 96, 128, 256])
def test_in_bfloat16_it_is_as_near_to_float32_as_the_dense_one(size):
    assert_as_near_as_dense(attention, random_inputs(size, 128, 4, 2, size, jnp.bfloat16), ALL)


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
    assert_skips_what_nobody_needs(functools.partial(attention, sizes=BlockSizes(query=32, key=32)))


def test_as_the_attention_of_the_model_packed_equals_alone():
    assert_packed_equals_alone(attention)


@pytest.mark.parametrize("how", ["pmap", "shard_map"])
def test_over_four_devices(how):
    assert_equals_dense_over_four_devices(attention, how)
