"""Adapters add what they should and nothing at the start, in every variant of the backbone, and can be merged."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import unflatten_dict
from model_variants import VARIANTS
from random_batches import lay, lively, random_batch, random_rows, small_model_config, to_batch
from test_models_huggingface import GOLDEN, KEY
from test_models_reward import rewards, rewards_alone

from rmjax.config import ExperimentConfig, ParallelConfig, Strategy
from rmjax.model_config import ComputeDtype, Remat
from rmjax.models.huggingface import HuggingFaceModel
from rmjax.models.lora import Adapters, is_adapter, leaves_of, merged
from rmjax.models.reward import RewardModel, init
from rmjax.models.shape import model_shape
from rmjax.training.parallel import make_parallel
from rmjax.tuning_config import PROJECTIONS

ALL = Adapters(rank=3, alpha=4.5, targets=PROJECTIONS)
FEW = Adapters(rank=2, alpha=2.0, targets=("query", "down"))


def make(name="plain", adapters=ALL, **changes):
    """(model, fresh parameters); without adapters for None."""
    config = small_model_config(**(VARIANTS.get(name, {}) | changes))
    model = RewardModel(model_shape(config, adapters), 32)
    return model, init(model, jax.random.PRNGKey(1))


@pytest.mark.parametrize("name", ["plain", "gpt_neox"])
def test_at_the_start_rewards_are_those_of_the_base_bit_for_bit(name):
    batch = random_batch(0)
    (base, params), (adapted, with_adapters) = make(name, None), make(name)
    np.testing.assert_array_equal(rewards(adapted, with_adapters, batch), rewards(base, params, batch))
    jax.tree.map(np.testing.assert_array_equal, params, jax.tree.map(np.asarray, merged(with_adapters, ALL)))


@pytest.mark.parametrize(
    ("name", "adapters"),
    [("gemma2", ALL), ("gpt2", ALL), ("gpt_neox", FEW)],
)
def test_merged_rewards_are_those_with_adapters(name, adapters):
    batch = random_batch(0)
    (base, _), (adapted, params) = make(name, None), make(name, adapters)
    params = lively(params)
    before = np.asarray(rewards(adapted, params, batch))[batch.response_id >= 0]
    after = np.asarray(rewards(base, merged(params, adapters), batch))[batch.response_id >= 0]
    np.testing.assert_allclose(after, before, atol=1e-6)
    kernels = unflatten_dict({names: leaf for names, leaf in leaves_of(params).items() if not is_adapter(names)})
    without = np.asarray(rewards(base, kernels, batch))[batch.response_id >= 0]
    assert np.abs(without - before).max() > 1e-3


def test_an_adapter_adds_its_product_by_hand():
    """Of one projection and one layer, and in the scale alpha / rank."""
    adapters = Adapters(rank=2, alpha=6.0, targets=("up",))
    params = lively(make(adapters=adapters)[1])
    branch = params["backbone"]["layers"]["mlp_branch"]
    a, b = branch["up_adapter"]["a"], branch["up_adapter"]["b"]
    found = merged(params, adapters)["backbone"]["layers"]["mlp_branch"]["up"]["kernel"]
    for layer in range(2):
        expected = np.asarray(branch["up"]["kernel"])[layer] + 3.0 * np.asarray(a)[layer] @ np.asarray(b)[layer]
        np.testing.assert_allclose(found[layer], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("targets", "rank"), [(("output", "gate"), 5), (PROJECTIONS, 1)], ids=["two", "all"])
def test_only_the_targets_have_adapters_and_they_start_as_those_of_peft(targets, rank):
    params = make(adapters=Adapters(rank=rank, alpha=1.0, targets=targets), width=64)[1]
    found = {names: leaf for names, leaf in leaves_of(params).items() if is_adapter(names)}
    assert {names[-2] for names in found} == {f"{target}_adapter" for target in targets}
    assert len(found) == 2 * len(targets)
    for names, leaf in found.items():
        if names[-1] == "b":
            assert leaf.shape[:2] == (2, rank)
            assert not leaf.any()
        else:
            bound = leaf.shape[1] ** -0.5
            assert leaf.shape[2] == rank
            assert 0.8 * bound < np.abs(leaf).max() <= bound
            assert np.any(leaf[0] != leaf[1])


@pytest.mark.parametrize("name", ["plain", "gemma2"])
def test_packed_equals_alone_with_adapters(name):
    rng = np.random.default_rng(2)
    model, params = make(name)
    params = lively(params)
    params["reward_head"]["kernel"] *= 10.0
    rows = random_rows(rng, 3)
    batch = to_batch(rng, rows, length=128, responses=15, comparisons=1)
    alone = rewards_alone(model, params, [path for trees in rows for path in lay(trees).paths])
    assert alone.std() > 0.1
    np.testing.assert_allclose(np.asarray(rewards(model, params, batch))[batch.response_id >= 0], alone, atol=1e-5)


def test_remat_and_unrolling_change_no_gradient():
    batch = random_batch(3)

    @functools.partial(jax.jit, static_argnums=0)
    def gradients(model, params):
        return jax.grad(lambda params: jnp.square(rewards(model, params, batch)).sum())(params)

    (model, params), (other, _) = make(), make(remat=Remat.DOTS, unroll=2)
    params = lively(params)
    expected = gradients(model, params)
    assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(expected))
    jax.tree.map(
        lambda one, two: np.testing.assert_allclose(one, two, rtol=1e-4, atol=2e-4 * max(1, np.abs(one).max())),
        expected,
        gradients(other, params),
    )


def test_no_kernel_is_made_of_an_adapter():
    """Forward and backward: a product as large as a kernel would be that of its gradient, or of a merged one."""
    model, params = make(adapters=Adapters(rank=3, alpha=1.0, targets=PROJECTIONS), width=40, mlp_width=56)
    batch, leaves = random_batch(4), leaves_of(params)
    kernels, adapters = ({k: leaf for k, leaf in leaves.items() if is_adapter(k) is which} for which in (False, True))

    def loss(adapters):
        return model.apply({"params": unflatten_dict(kernels | adapters)}, *batch[:4]).sum()

    text = str(jax.make_jaxpr(jax.grad(loss))(adapters))
    products = set(re.findall(r":f32\[([\d,]+)\] = dot_general", text))
    assert {"512,3", "3,40", "3,56"} <= products
    assert not products & {"40,56", "56,40", "40,32", "32,40", "40,16", "16,40"}


def test_in_bfloat16_adapters_are_applied_in_bfloat16():
    model, params = make(compute_dtype=ComputeDtype.BFLOAT16)
    exact, _ = make()
    params, batch = lively(params), random_batch(5)
    used = batch.response_id >= 0
    found, expected = (np.asarray(rewards(which, params, batch))[used] for which in (model, exact))
    assert np.any(found != expected)
    np.testing.assert_allclose(found, expected, atol=0.05 * np.abs(expected).max())


@pytest.mark.parametrize("name", ["plain", "gpt2"])
def test_rewards_over_a_mesh_are_those_of_one_device(name):
    batch = random_batch(6)
    model, params = make(name)
    params = lively(params)
    config = ExperimentConfig(model=small_model_config(**VARIANTS.get(name, {})))
    config.parallel = ParallelConfig(strategy=Strategy.MESH, fsdp=2, tensor=2)
    parallel = make_parallel(config)
    fitted = parallel.fit(model)
    placed = jax.tree.map(lambda leaf, at: jax.device_put(leaf, at.sharding), params, parallel.abstract_params(model))
    compute = parallel.compile_rewards(lambda params, *rows: fitted.apply({"params": params}, *rows))
    got = compute(placed, batch.tokens, batch.positions, batch.visible_until, batch.response_end)()
    used = batch.response_id >= 0
    np.testing.assert_allclose(got[used], np.asarray(rewards(model, params, batch))[used], atol=1e-5)
    up, down = (placed["backbone"]["layers"]["mlp_branch"][f"{name}_adapter"] for name in ("up", "down"))
    shares = [tuple(leaf.addressable_shards[0].data.shape) for leaf in (up["a"], up["b"], down["a"], down["b"])]
    assert shares == [(2, 8, 3), (2, 3, 12), (2, 12, 3), (2, 3, 8)]
    whole = merged(placed, ALL)
    kernel = placed["backbone"]["layers"]["mlp_branch"]["up"]["kernel"]
    assert whole["backbone"]["layers"]["mlp_branch"]["up"]["kernel"].sharding.is_equivalent_to(kernel.sharding, 3)


@pytest.mark.parametrize("name", ["llama2", "gpt2", "gpt2_lm"])
def test_a_base_of_hugging_face_is_read_with_fresh_adapters(name):
    theirs = HuggingFaceModel(GOLDEN / name)
    targets = PROJECTIONS if theirs.config.gated_mlp else ("query", "up")
    adapters = Adapters(rank=4, alpha=4.0, targets=targets)
    config = ExperimentConfig(model=theirs.config, parallel=ParallelConfig(strategy=Strategy.JIT))
    parallel = make_parallel(config)
    base, model = (RewardModel(model_shape(theirs.config, which), theirs.vocabulary_size) for which in (None, adapters))
    plain, params = (theirs.load(parallel.abstract_params(which), KEY) for which in (base, model))
    jax.tree.map(np.testing.assert_array_equal, plain, jax.tree.map(np.asarray, merged(params, adapters)))
    starts = {names: leaf for names, leaf in leaves_of(params).items() if is_adapter(names) and names[-1] == "a"}
    assert len(starts) == len(targets)
    assert len({float(leaf.ravel()[0] * leaf.shape[1] ** 0.5) for leaf in starts.values()}) == len(targets)
    for leaf in starts.values():
        assert 0.8 < np.abs(leaf).max() * leaf.shape[1] ** 0.5 <= 1
