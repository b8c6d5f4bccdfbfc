"""What benchmarks.attention and benchmarks.gpu count and compute besides what they measure; none needs the peers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import workload
from benchmarks.fused_attention import fused_attention
from benchmarks.gpu_cases import make_config, peak_flops
from benchmarks.hh_lengths import draw_lengths, draw_pairs
from benchmarks.installed import here
from benchmarks.representative import padded_tokens
from benchmarks.sides import Side, SideError
from benchmarks.structures import (
    BEST_OF,
    BLOCKS,
    FINEST,
    STRUCTURES,
    Structure,
    computed_by_kernels,
    computed_in_blocks,
    look,
    make_structure,
)
from rmjax.batches.lengths import measure
from rmjax.model_config import AttentionKind
from rmjax.models.attention import ScoreRule, dense_attention, seen_from
from rmjax.models.kernels import BlockSizes


def test_drawn_lengths_pad_as_those_of_hh_do():
    lengths = draw_lengths(20_000, seed=0)
    sequences = lengths[:, :1] + lengths[:, 1:]
    assert sequences.max() <= workload.LONGEST
    assert lengths.min() >= 2
    assert padded_tokens(sequences, 16).sum() / lengths.sum() == pytest.approx(4.65, abs=0.1)


def test_drawn_pairs_share_as_many_tokens_as_was_drawn():
    pairs = draw_pairs(50, 64, seed=3)
    lengths = measure(pairs.tokenized())
    drawn = draw_lengths(50, seed=3)
    assert lengths.prefix.tolist() == drawn[:, 0].tolist()
    assert lengths.own.reshape(-1, 2).tolist() == drawn[:, 1:].tolist()


def seen(row: Structure) -> np.ndarray:
    return np.asarray(seen_from(row.visible_until[None], row.positions[None], row.window))[0]


@pytest.mark.parametrize("name", STRUCTURES)
def test_what_is_looked_at_is_what_the_rule_of_visibility_says(name):
    row = make_structure(name, 1024)
    visible = look(row)
    assert visible.pairs == seen(row).sum()
    for query, key in ((32, 32), (64, 128), (256, 64)):
        blocks = seen(row).reshape(1024 // query, query, 1024 // key, key).any(axis=(1, 3))
        assert visible.pairs_in_blocks(query, key) == blocks.sum() * query * key


@pytest.mark.parametrize("name", STRUCTURES)
def test_blocks_one_by_one_compute_no_more_than_those_that_hold_something_visible(name):
    row = make_structure(name, 1024)
    visible = look(row)
    for block in BLOCKS:
        least = visible.pairs_in_blocks(block, block)
        assert computed_in_blocks(row, AttentionKind.LISTED, block) == least
        assert least <= computed_in_blocks(row, AttentionKind.ABREAST, block) <= 1024**2
    for sizes in (BlockSizes(query=512, key=512), BlockSizes(query=32, key=64)):
        assert computed_by_kernels(row, sizes) == visible.pairs_in_blocks(sizes.query, sizes.key)


def test_responses_of_best_of_share_the_prompt_and_see_no_sibling():
    row = make_structure(f"best_of_{BEST_OF}", 512)
    assert (row.visible_until[:256] == 512).all()
    each = 256 // BEST_OF
    assert look(row).pairs == 256 * 257 // 2 + BEST_OF * (each * 256 + each * (each + 1) // 2)
    assert row.positions[-1] == 256 + each - 1


@pytest.mark.parametrize("window", [None, 40])
def test_fused_attention_is_dense_attention(window):
    row = make_structure("pairs", 128 * FINEST // 16)
    random = np.random.default_rng(0)
    query, key, value, pulled = (
        jnp.asarray(random.standard_normal((1, row.length, heads, 8)), jnp.float32) for heads in (4, 2, 2, 4)
    )
    places = (jnp.asarray(row.visible_until[None]), jnp.asarray(row.positions[None]), ScoreRule(window=window))
    assert (row.visible_until == 0).any()  # the padding, which sees nothing

    def pulled_back(attention):
        mixed = attention(query, key, value, *places)
        gradient = jax.grad(lambda *qkv: jnp.vdot(attention(*qkv, *places), pulled), argnums=(0, 1, 2))
        return mixed, *gradient(query, key, value)

    for fused, dense in zip(pulled_back(fused_attention("xla")), pulled_back(dense_attention), strict=True):
        np.testing.assert_allclose(fused, dense, atol=2e-5)


def test_fused_attention_refuses_what_it_cannot_do():
    array = jnp.ones((1, 4, 1, 8))
    places = jnp.full((1, 4), 4), jnp.arange(4)[None]
    with pytest.raises(ValueError, match=r"softcap: 5\.0"):
        fused_attention("xla")(array, array, array, *places, ScoreRule(softcap=5.0))


def test_peaks_are_those_of_the_gpu_that_is_named():
    assert peak_flops("NVIDIA H100 80GB HBM3", None) == 989e12
    assert peak_flops("NVIDIA H100 PCIe", None) == 756e12
    assert peak_flops("NVIDIA L40S", None) == 362e12
    assert peak_flops("NVIDIA L40", None) == 181e12
    assert peak_flops("NVIDIA L4", None) == 121e12
    assert peak_flops("cpu", 0.5) == 0.5e12
    with pytest.raises(SystemExit, match="cpu is not a GPU whose peak is known"):
        peak_flops("cpu", None)


def test_a_package_that_is_not_there_has_no_version():
    assert here("jax", "no_such_package") == {"jax": jax.__version__, "no_such_package": None}


def test_the_side_of_a_gpu_trains_in_little_and_says_why_it_cannot(tmp_path):
    pairs = draw_pairs(24, 512, seed=0)
    config = make_config("tiny", pairs, 4)
    workload.write_shared(tmp_path, config, pairs, {"vocab_size": 512})
    with Side("benchmarks.side_gpu", str(tmp_path), "xla") as side:
        answer = side.ask(steps=1)
    assert answer["pairs"] >= 1
    assert answer["work"] == answer["steps"]
    assert answer["device"] == "cpu"
    with (
        Side("benchmarks.side_gpu", str(tmp_path), "pallas") as side,
        pytest.raises(SideError, match="runs on TPU and on NVIDIA GPUs"),
    ):
        side.ask(steps=1)
