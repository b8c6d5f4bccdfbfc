"""Blocks: which pairs are needed, and that cutting and joining loses nothing."""

import functools
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from random_batches import random_batch

from rmjax.config import ConfigError
from rmjax.model_config import AttentionKind
from rmjax.models.attention import ScoreRule, dense_attention, seen_from
from rmjax.models.attention_choice import ANYWHERE, choose_attention
from rmjax.models.blocked_attention import blocked_attention
from rmjax.models.blocks import Order, Pair, cut, cut_places, join, needed_blocks, visit
from rmjax.models.gpu_attention import gpu_attention
from rmjax.models.tpu_attention import tpu_attention


def truly_needed(batch, block, window=None):
    """Block pairs with any visible pair of tokens, from the whole matrix."""
    seen = np.asarray(seen_from(batch.visible_until, batch.positions, window))
    missing = -seen.shape[1] % block
    seen = np.pad(seen, ((0, 0), (0, missing), (0, missing)))
    blocks = seen.shape[1] // block
    return seen.reshape(-1, blocks, block, blocks, block).any(axis=(2, 4))


@pytest.mark.parametrize("block", [8, 24, 32])
@pytest.mark.parametrize("seed", range(3))
def test_exactly_the_needed_blocks_are_visited(seed, block):
    batch = random_batch(seed)
    places = cut_places(batch.visible_until, batch.positions, block)
    blocks = -(-128 // block)
    needed = needed_blocks(places, blocks)
    np.testing.assert_array_equal(needed, truly_needed(batch, block))

    def count(turn, visits):
        query, key = turn.query, turn.key
        return visits.at[query // blocks, query % blocks, key % blocks].add(
            jnp.where(query // blocks == key // blocks, 1, 99)
        )

    visits = visit(needed, Order.LISTED, count, jnp.zeros(needed.shape, jnp.int32))
    np.testing.assert_array_equal(visits, np.asarray(needed).astype(int))
    turns = visit(needed, Order.ABREAST, lambda turn, turns: turns + 1, jnp.zeros((), jnp.int32))
    offsets = np.argwhere(np.asarray(needed)) @ [0, 1, -1]
    assert int(turns) == offsets.max() + 1


@pytest.mark.parametrize("window", [1, 3, 9])
@pytest.mark.parametrize("seed", range(3))
def test_a_window_leaves_out_no_block_that_is_needed(seed, window):
    batch = random_batch(seed)
    needed = np.asarray(needed_blocks(cut_places(batch.visible_until, batch.positions, 8), 16, window))
    assert not (truly_needed(batch, 8, window) & ~needed).any()


def test_a_long_conversation_in_a_window_needs_few_blocks():
    length = 256
    visible_until, positions = np.full((1, length), length, np.int32), np.arange(length, dtype=np.int32)[None]
    needed = needed_blocks(cut_places(visible_until, positions, 16), 16, window=17)
    assert int(needed.sum()) == 16 + 15
    assert int(needed_blocks(cut_places(visible_until, positions, 16), 16).sum()) == 16 * 17 // 2


@pytest.mark.parametrize(("length", "block"), [(128, 32), (50, 16), (7, 16)])
def test_join_is_the_inverse_of_cut(length, block):
    array = np.random.default_rng(0).normal(size=(3, length, 6, 4)).astype(np.float32)
    np.testing.assert_array_equal(join(cut(array, 2, block), 3, length, block), array)


@pytest.mark.parametrize("size", [64, 96, 128, 256])
@pytest.mark.parametrize("order", list(Order))
def test_every_head_size_and_length_equals_the_dense_one(order, size):
    batch = random_batch(size, rows=2, length=120)
    keys = jax.random.split(jax.random.PRNGKey(size), 3)
    qkv = [jax.random.normal(key, (2, 120, heads, size)) for key, heads in zip(keys, (4, 2, 2), strict=True)]
    places = (batch.visible_until, batch.positions, ScoreRule(softcap=30.0, window=7))
    found = functools.partial(blocked_attention, order=order)(*qkv, *places)
    np.testing.assert_allclose(found, dense_attention(*qkv, *places), atol=2e-6)


@pytest.mark.parametrize("order", list(Order))
def test_memory_grows_with_the_length_not_with_its_square(order):
    """The temporaries of forward and backward as the compiler has them; they include sixteen copies of the inputs."""

    def temporaries(length: int) -> int:
        heads = jax.ShapeDtypeStruct((1, length, 2, 32), jnp.float32)
        places = jax.ShapeDtypeStruct((1, length), jnp.int32)

        def total(query, key, value, *places):
            return blocked_attention(query, key, value, *places, order=order).sum()

        lowered = jax.jit(jax.grad(total, argnums=(0, 1, 2))).lower(heads, heads, heads, places, places)
        return lowered.compile().memory_analysis().temp_size_in_bytes

    short, long = temporaries(2048), temporaries(8192)
    scores = 4 * 2 * 8192**2
    assert long < 4.5 * short
    assert long < scores / 4


def test_every_kind_has_its_implementation_and_every_platform_its_kind():
    assert set(ANYWHERE) == set(AttentionKind) - {AttentionKind.AUTO, AttentionKind.PALLAS}
    cpu = SimpleNamespace(platform="cpu", device_kind="cpu")
    tpu = SimpleNamespace(platform="tpu", device_kind="TPU v5e")
    assert choose_attention(AttentionKind.AUTO, cpu) is ANYWHERE[AttentionKind.LISTED]
    assert choose_attention(AttentionKind.AUTO, tpu) is tpu_attention
    assert choose_attention(AttentionKind.DENSE, tpu) is dense_attention
    with pytest.raises(ConfigError, match=r"model\.attention is 'pallas', which runs on TPU .*; on cpu \(cpu\) it"):
        choose_attention(AttentionKind.PALLAS, cpu)


@pytest.mark.parametrize(("capability", "kernels"), [("8.0", 1), ("9.0", 1), ("10.0", 1), ("7.5", 0), ("gfx942", 0)])
def test_gpus_that_the_kernels_are_not_for_have_blocks_in_plain_jax(capability, kernels):
    gpu = SimpleNamespace(platform="gpu", compute_capability=capability, device_kind="of some kind")
    expected = gpu_attention if kernels else ANYWHERE[AttentionKind.ABREAST]
    assert choose_attention(AttentionKind.AUTO, gpu) is expected
    if kernels:
        assert choose_attention(AttentionKind.PALLAS, gpu) is gpu_attention
    else:
        with pytest.raises(ConfigError, match=r"on gpu \(of some kind\) it must be 'auto' or another"):
            choose_attention(AttentionKind.PALLAS, gpu)


def test_a_pair_reads_and_writes_its_own_blocks():
    array = jnp.arange(12.0).reshape(4, 3)
    turn = Pair(jnp.array(2), jnp.array(1))
    np.testing.assert_array_equal(turn.queries(array), [array[2]])
    np.testing.assert_array_equal(turn.keys(array), [array[1]])
    np.testing.assert_array_equal(turn.add_to_keys(array, jnp.ones((1, 3))) - array, np.eye(4)[1][:, None] * np.ones(3))
