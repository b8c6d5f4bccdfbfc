"""The GPU kernels on a GPU, held against dense attention there: `make test-gpu`."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from attention_cases import (
    ALL,
    assert_as_near_as_dense,
    assert_equals_dense,
    assert_packed_equals_alone,
    assert_skips_what_nobody_needs,
    mixed_and_gradients,
    random_inputs,
)

from rmjax.model_config import AttentionKind
from rmjax.models.attention_choice import choose_attention
from rmjax.models.gpu_attention import gpu_attention
from rmjax.models.gpu_kernels import Tiles

pytestmark = pytest.mark.skipif(
    jax.default_backend() != "gpu", reason="no GPU in use: `make test-gpu` runs this on one (BUILD.md)"
)


@pytest.fixture(autouse=True)
def _in_full():
    """Float32 products are otherwise TF32, on both sides."""
    with jax.default_matmul_precision("highest"):
        yield


def test_it_is_what_a_gpu_gets():
    assert choose_attention(AttentionKind.AUTO, jax.local_devices()[0]) is gpu_attention


@pytest.mark.parametrize("size", [64, 96, 128, 256])
def test_head_sizes_in_float32(size):
    assert_equals_dense(gpu_attention, random_inputs(size, 250, 4, 2, size), ALL)


@pytest.mark.parametrize("size", [64, 96, 128, 256])
def test_in_bfloat16_it_is_as_near_to_float32_as_the_dense_one(size):
    assert_as_near_as_dense(gpu_attention, random_inputs(size, 250, 4, 2, size, jnp.bfloat16), ALL)


@pytest.mark.parametrize(("heads", "groups"), [(3, 3), (4, 1), (7, 1), (12, 1), (16, 1)])
def test_groups(heads, groups):
    assert_equals_dense(gpu_attention, random_inputs(heads, 128, heads, groups, 64))


@pytest.mark.parametrize("length", [1, 33, 100])
def test_any_length(length):
    assert_equals_dense(gpu_attention, random_inputs(length, length, 4, 2, 8))


def test_blocks_that_nobody_needs_are_not_computed():
    tiles = Tiles(together=2, queries=64, keys=32, warps=4, stages=2)
    assert_skips_what_nobody_needs(functools.partial(gpu_attention, tiles=tiles))


def test_as_the_attention_of_the_model_packed_equals_alone():
    assert_packed_equals_alone(gpu_attention)


def test_the_same_inputs_give_the_same_bits():
    inputs = random_inputs(0, 250, 8, 2, 64, jnp.bfloat16)
    for array, again in zip(*(mixed_and_gradients(gpu_attention, *inputs) for _ in range(2)), strict=True):
        np.testing.assert_array_equal(array, again)


def test_memory_grows_linearly_with_the_length():
    def temporaries(length):
        shapes = [jax.ShapeDtypeStruct((1, length, heads, 64), jnp.bfloat16) for heads in (8, 2, 2, 8)]
        places = [jax.ShapeDtypeStruct((1, length), jnp.int32)] * 2
        compiled = mixed_and_gradients.lower(gpu_attention, *shapes, *places).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    sizes = [temporaries(length) for length in (2048, 8192, 32768)]
    print("bytes of temporaries at 2048, 8192 and 32768 tokens:", sizes)
    assert all(longer < 5 * shorter for shorter, longer in itertools.pairwise(sizes))
