"""The GPU kernels by their interpreter: head sizes, types, lengths, tiles, devices; inside the model; what they skip.

The laws of all implementations are in test_models_attention.py; test_gpu_attention.py runs the kernels on a GPU.
"""

import functools

import jax.numpy as jnp
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

from rmjax.models.gpu_attention import default_tiles, gpu_attention, heads_together
from rmjax.models.gpu_kernels import Tiles


def in_tiles(together, queries, keys):
    return functools.partial(gpu_attention, tiles=Tiles(together, queries, keys, warps=4, stages=1), interpret=True)


attention = in_tiles(2, 64, 64)


@pytest.mark.parametrize("size", [64, 96])
def test_head_sizes_in_float32(size):
    assert_equals_dense(attention, random_inputs(size, 128, 4, 2, size), ALL)


@pytest.mark.parametrize("size", [64, 96])
def test_in_bfloat16_it_is_as_near_to_float32_as_the_dense_one(size):
    assert_as_near_as_dense(attention, random_inputs(size, 128, 4, 2, size, jnp.bfloat16), ALL)


@pytest.mark.parametrize("length", [1, 33, 160])
def test_any_length_in_the_tiles_that_it_gets(length):
    assert_equals_dense(functools.partial(gpu_attention, interpret=True), random_inputs(length, length, 4, 2, 16))


@pytest.mark.parametrize("tiles", [(1, 16, 64), (2, 128, 16), (1, 128, 128)])
def test_any_tiles(tiles):
    assert_equals_dense(in_tiles(*tiles), random_inputs(tiles[1], 128, 4, 2, 16), ALL)


@pytest.mark.parametrize(("heads", "groups", "together"), [(3, 1, 1), (12, 2, 2)])
def test_groups_that_are_met_in_several_bundles(heads, groups, together):
    """Keys and values are those of two or more bundles, whose gradients add up."""
    assert heads_together(heads // groups) == together < heads // groups
    assert_equals_dense(in_tiles(together, 32 * together, 32), random_inputs(heads, 64, heads, groups, 16))


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])
def test_default_tiles_are_powers_of_two_and_fit_the_shared_memory(dtype):
    for length in (1, 100, 128, 500, 1024, 8192):
        for per_group in range(1, 72):
            for size in (64, 96, 128, 256):
                tiles = default_tiles(length, per_group, size, dtype)
                assert per_group % tiles.together == 0
                assert all(number >= 16 and number & (number - 1) == 0 for number in (tiles.queries, tiles.keys))
                assert max(tiles.queries // tiles.together, tiles.keys) < max(2 * length, 17)
                wide = (128 if size == 96 else size) * jnp.dtype(dtype).itemsize
                # Of the key kernel: its keys and values, and for each stage queries and what is pulled back.
                assert 2 * wide * (tiles.keys + tiles.stages * tiles.queries) <= 96 * 1024


def test_blocks_that_nobody_needs_are_not_computed():
    assert_skips_what_nobody_needs(in_tiles(2, 64, 32))


def test_as_the_attention_of_the_model_packed_equals_alone():
    assert_packed_equals_alone(attention)


@pytest.mark.parametrize("how", ["pmap", "shard_map"])
def test_over_four_devices(how):
    assert_equals_dense_over_four_devices(attention, how)
