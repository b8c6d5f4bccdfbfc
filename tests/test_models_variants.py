"""The laws that hold for the backbone hold for each of its variants, and each variant matters."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from model_variants import VARIANTS
from random_batches import lay, lively, random_batch, random_rows, random_tree, small_model_config, to_batch
from test_models_reward import make, rewards, rewards_alone

from rmjax.config import ExperimentConfig, ParallelConfig, Strategy, validate
from rmjax.model_config import AttentionKind, Remat, RopeScaling
from rmjax.models.attention_choice import ANYWHERE
from rmjax.models.flops import matrix_parameters
from rmjax.models.reward import init
from rmjax.models.rotary import frequencies
from rmjax.models.shape import model_shape
from rmjax.training.mesh import MeshParallel, make_mesh

each = pytest.mark.parametrize("name", VARIANTS)


# Of an implementation of attention a variant asks for a window, a soft cap, a scale, or heads of other sizes.
RULES = ("mistral", "gemma2", "gemma3", "gpt2")
KINDS = [(name, kind) for name in VARIANTS for kind in ANYWHERE if name in RULES or kind is AttentionKind.LISTED]


@pytest.mark.parametrize(("name", "kind"), KINDS)
def test_packed_equals_alone(name, kind):
    rng = np.random.default_rng(1)
    model, params = make(1, ANYWHERE[kind], **VARIANTS[name])
    rows = random_rows(rng, 3, nested=True) + [[random_tree(rng, 32, k, nested=True)] for k in range(1, 6)]
    batch = to_batch(rng, rows, length=128, responses=15, comparisons=1)
    packed = np.asarray(rewards(model, params, batch))
    alone = rewards_alone(model, params, [path for trees in rows for path in lay(trees).paths])
    assert alone.std() > 0.1  # ten thousand times the tolerance
    np.testing.assert_allclose(packed[batch.response_id >= 0], alone, atol=1e-5)


OF_OTHER_SHAPE = {"key_value_heads", "head_size"}
OF_FIELD = {  # the variants that change it
    field: [name for name, changes in VARIANTS.items() if field in changes]
    for field in dict.fromkeys(field for changes in VARIANTS.values() for field in changes)
    if field not in OF_OTHER_SHAPE
}
WITH_ANOTHER = {"rope_factor": {"rope_scaling": RopeScaling.NONE}, "rope_original_length": {"rope_original_length": 4}}


@pytest.mark.parametrize(("name", "field"), [(names[0], field) for field, names in OF_FIELD.items()])
def test_every_field_changes_the_rewards(name, field):
    """With parameters that both models have alike, as far as they have them."""
    batch = random_batch(2)
    model, params = make(2, **VARIANTS[name])
    without = {key: value for key, value in VARIANTS[name].items() if key != field}
    if field == "attention_window":
        without.pop("global_layers", None)
    other, others = make(2, **(without | WITH_ANOTHER.get(field, {})))
    found = dict(jax.tree_util.tree_leaves_with_path(params))
    others = jax.tree_util.tree_map_with_path(lambda path, leaf: found.get(path, leaf), others)
    used = batch.response_id >= 0
    assert np.abs(np.asarray(rewards(model, params, batch) - rewards(other, others, batch))[used]).max() > 1e-3


# Layers that differ from each other, and parallel branches: what a scan over layers could get wrong.
@pytest.mark.parametrize(("name", "remat"), [("gemma3", Remat.FULL), ("gpt_neox", Remat.DOTS)])
def test_remat_and_unrolling_change_no_gradient(name, remat):
    batch = random_batch(3)

    @functools.partial(jax.jit, static_argnums=0)
    def gradients(model, params):
        return jax.grad(lambda params: jnp.square(rewards(model, params, batch)).sum())(params)

    model, params = make(3, ANYWHERE_LISTED, **VARIANTS[name])
    other, _ = make(3, ANYWHERE_LISTED, remat=remat, unroll=2, **VARIANTS[name])
    expected = gradients(model, params)
    assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(expected))
    jax.tree.map(
        lambda one, two: np.testing.assert_allclose(one, two, rtol=1e-4, atol=2e-4 * max(1, np.abs(one).max())),
        expected,
        gradients(other, params),
    )


ANYWHERE_LISTED = next(attention for kind, attention in ANYWHERE.items() if kind.value == "listed")


@pytest.mark.parametrize("name", ["qwen3", "gemma3", "gpt2", "gpt_neox"])
def test_rewards_over_a_mesh_are_those_of_one_device(name):
    batch = random_batch(4)
    model, params = make(4, ANYWHERE_LISTED, **VARIANTS[name])
    config = ExperimentConfig(model=small_model_config(**VARIANTS[name]))
    config.parallel = ParallelConfig(strategy=Strategy.MESH, fsdp=2, tensor=2)
    devices = tuple(jax.devices()[:4])
    parallel = MeshParallel(config, devices, make_mesh(config.parallel, devices))
    fitted = parallel.fit(model)
    compute = parallel.compile_rewards(lambda params, *rows: fitted.apply({"params": params}, *rows))
    placed = jax.tree.map(
        lambda leaf, like: jax.device_put(leaf, like.sharding), params, parallel.abstract_params(model)
    )
    got = compute(placed, batch.tokens, batch.positions, batch.visible_until, batch.response_end)()
    used = batch.response_id >= 0
    np.testing.assert_allclose(got[used], np.asarray(rewards(model, params, batch))[used], atol=1e-5)


@each
def test_the_config_is_valid_and_every_parameter_is_named(name):
    config = ExperimentConfig(model=small_model_config(**VARIANTS[name]))
    config.text.max_prompt_tokens, config.text.max_response_tokens = 32, 32
    validate(config)
    _, params = make(0, **VARIANTS[name])
    kernels = [leaf.size for path, leaf in jax.tree_util.tree_leaves_with_path(params["backbone"]["layers"])
               if path[-1].key == "kernel"]  # fmt: skip
    assert sum(kernels) == matrix_parameters(config.model)


def test_norm_offsets_start_at_a_scale_of_one():
    model, _ = make(0, **VARIANTS["gemma2"])
    fresh = init(model, jax.random.PRNGKey(0))
    scales = fresh["backbone"]["layers"]["attention_post_norm"]["scale"]
    assert scales.shape == (2, 16)
    assert not scales.any()
    assert lively(fresh)["final_norm"]["scale"].shape == (16,)


def test_llama3_scaling_leaves_fast_frequencies_and_slows_slow_ones():
    """By hand: with 64 original positions, factor 4 and bounds of 1 and 4 turns."""
    plain = {"head_size": 8, "rope_theta": 10_000.0}
    scaled = plain | {"rope_scaling": RopeScaling.LLAMA3, "rope_factor": 4.0, "rope_original_length": 64}
    before, after = (
        frequencies(model_shape(small_model_config(**changes)), sees_all=True) for changes in (plain, scaled)
    )
    turns = 64 * before / (2 * np.pi)  # 10.2, 1.02, 0.102, 0.0102
    share = (turns[1] - 1) / 3
    np.testing.assert_allclose(after / before, [1.0, share + (1 - share) / 4, 0.25, 0.25], rtol=1e-5)
