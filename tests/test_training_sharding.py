"""Attention over a mesh gives the values and gradients of one device; every axis of a parameter has a name."""

import functools

import jax
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec
from random_batches import random_batch, small_model_config
from test_models_attention import random_heads

from rmjax.config import ParallelConfig
from rmjax.model_config import AttentionKind
from rmjax.models.attention import PLAIN, ScoreRule, dense_attention
from rmjax.models.attention_choice import choose_attention
from rmjax.models.reward import RewardModel, init, parameter_axes
from rmjax.training.mesh import make_mesh
from rmjax.training.sharding import axis_rules, shard_attention


def mesh_of(fsdp, tensor):
    return make_mesh(ParallelConfig(fsdp=fsdp, tensor=tensor), tuple(jax.devices()))


@functools.partial(jax.jit, static_argnums=(0, 1))
def mixed_and_gradients(attention, rule, pulled, visible_until, positions, *qkv):
    mixed, pull = jax.vjp(lambda *qkv: attention(*qkv, visible_until, positions, rule), *qkv)
    return mixed, *pull(pulled)


@pytest.mark.parametrize("rule", [PLAIN, ScoreRule(scale=0.3, softcap=2.0, window=4)])
@pytest.mark.parametrize(
    ("fsdp", "tensor", "heads", "groups"), [(1, 1, 4, 2), (2, 2, 4, 2), (1, 4, 8, 4), (1, 4, 8, 2), (2, 2, 6, 1)]
)
def test_values_and_gradients_are_those_of_one_device(fsdp, tensor, heads, groups, rule):
    batch = random_batch(0, rows=4)
    arguments = batch.visible_until, batch.positions, *random_heads(0, batch.visible_until, heads, groups)
    pulled = np.random.default_rng(0).normal(size=arguments[2].shape).astype(np.float32)
    expected = mixed_and_gradients(dense_attention, rule, pulled, *arguments)
    mesh = mesh_of(fsdp, tensor)
    found = mixed_and_gradients(shard_attention(dense_attention, mesh), rule, pulled, *arguments)
    split = NamedSharding(mesh, PartitionSpec(("data", "fsdp"), None, "tensor"))
    assert found[0].sharding.is_equivalent_to(split, found[0].ndim)
    for ours, theirs in zip(found, expected, strict=True):
        assert np.abs(theirs).max() > 0.1
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("kind", [AttentionKind.LISTED, AttentionKind.ABREAST])
def test_blocked_attention_is_split_as_well(kind):
    batch = random_batch(1, rows=4)
    arguments = batch.visible_until, batch.positions, *random_heads(1, batch.visible_until, 4, 2)
    pulled = np.random.default_rng(1).normal(size=arguments[2].shape).astype(np.float32)
    expected = mixed_and_gradients(dense_attention, PLAIN, pulled, *arguments)
    sharded = shard_attention(choose_attention(kind, jax.local_devices()[0]), mesh_of(2, 2))
    for ours, theirs in zip(mixed_and_gradients(sharded, PLAIN, pulled, *arguments), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_equal_ones_are_equal_to_jit():
    assert shard_attention(dense_attention, mesh_of(2, 2)) == shard_attention(dense_attention, mesh_of(2, 2))
    assert shard_attention(dense_attention, mesh_of(2, 2)) != shard_attention(dense_attention, mesh_of(2, 1))


def test_every_parameter_has_a_name_for_each_axis_and_is_a_plain_array():
    config = small_model_config(reward_heads=("a", "b"))
    model = RewardModel(config, 32)
    axes, params = parameter_axes(model), init(model, jax.random.PRNGKey(0))
    assert jax.tree.structure(axes) == jax.tree.structure(params)
    for names, leaf in zip(jax.tree.leaves(axes), jax.tree.leaves(params), strict=True):
        assert isinstance(leaf, jax.Array)
        assert len(names) == leaf.ndim
    named = {name for names in jax.tree.leaves(axes) for name in names}
    split = {name for name, _ in axis_rules(config, mesh_of(2, 2))}
    assert named - split == {"layers", "vocabulary", "norm", "read", "reward"}
