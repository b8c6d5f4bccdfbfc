"""What is frozen keeps its bits and has neither gradient nor optimizer state, however a step is laid over devices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from random_batches import lively, random_batch
from test_training_checkpoint import assert_same_bits
from test_training_step import close, experiment

from rmjax.config import ConfigError, Strategy, TuningConfig, from_json, to_json, validate
from rmjax.model_config import ComputeDtype
from rmjax.models.lora import is_adapter, leaves_of
from rmjax.models.reward import RewardModel, init, rewards
from rmjax.models.shape import model_shape
from rmjax.training.checkpoint import Checkpoints
from rmjax.training.loss import pairwise_loss
from rmjax.training.optimizer import make_optimizer
from rmjax.training.parallel import make_parallel
from rmjax.training.state import all_finite
from rmjax.training.step import make_train_step
from rmjax.training.tuning import adapters_of, check_tuning, join, split, stored, trained_from

ROWS = 8
LORA = TuningConfig(lora_rank=3, lora_alpha=3.0, lora_targets=("query", "value", "down"))
SMALL = TuningConfig(
    lora_rank=2, lora_alpha=2.0, trained=("reward_head", "final_norm"), frozen_dtype=ComputeDtype.BFLOAT16
)
HEAD = TuningConfig(trained=("reward_head",))
LAST = TuningConfig(last_layers=1)
TUNINGS = {"everything": TuningConfig(), "lora": LORA, "lora_and_norm": SMALL, "head": HEAD, "last": LAST}
JIT, PMAP = (Strategy.JIT, 1, 1, 1), (Strategy.PMAP, 1, 1, 1)
MESH = (Strategy.MESH, 2, 2, 2)  # fsdp, tensor, microbatches
each = pytest.mark.parametrize("name", TUNINGS)


def config_of(name, layout=JIT):
    strategy, fsdp, tensor, microbatches = layout
    config = experiment(microbatches)
    config.tuning = TUNINGS[name]
    config.batch.rows, config.text.max_prompt_tokens, config.text.max_response_tokens = ROWS, 32, 32
    config.parallel.strategy, config.parallel.fsdp, config.parallel.tensor = strategy, fsdp, tensor
    validate(config)
    return config


def model_of(config, adapters=True):
    return RewardModel(model_shape(config.model, adapters_of(config) if adapters else None), 32)


@functools.cache
def parts(name, layout):
    """(parallel, model, optimizer, compiled step)."""
    config = config_of(name, layout)
    parallel, model = make_parallel(config), model_of(config)
    optimizer = make_optimizer(config.optimizer, config.steps)
    return parallel, model, optimizer, parallel.compile_train(make_train_step(parallel.fit(model), config, optimizer))


def first_state(name, layout):
    """With random queries and adapters."""
    parallel, model, optimizer, _ = parts(name, layout)
    state = parallel.new_state(model, optimizer, 0)
    return state.replace(params=jax.device_put(lively(state.params), jax.tree.map(lambda x: x.sharding, state.params)))


def taken(state, name, layout, seeds):
    parallel, _, _, step = parts(name, layout)
    results = []
    for batch in parallel.prefetch(random_batch(seed, rows=ROWS) for seed in seeds):
        state, result = step(state, batch)
        results.append(jax.tree.map(np.array, result))
    return state, results


@functools.cache
def four_steps(name, layout=JIT):
    """(parameters before as numpy, the state after, what the steps say)."""
    state = first_state(name, layout)
    before = jax.tree.map(np.array, state.params)
    return before, *taken(state, name, layout, range(4))


@each
def test_what_is_frozen_keeps_its_bits_and_all_that_is_trained_moves(name):
    before, state, _ = four_steps(name)
    assert all_finite(state)
    (moving, kept), (moved, stayed) = (split(tree, TUNINGS[name]) for tree in (before, state.params))
    assert_same_bits(stayed, kept)
    assert bool(leaves_of(kept)) == (name != "everything")
    assert all(
        np.abs(np.asarray(a) - b).max() > 1e-4 for a, b in zip(*map(jax.tree.leaves, (moved, moving)), strict=True)
    )


def test_the_trained_parts_are_those_that_the_config_says():
    names = {name: trained_from(four_steps(name)[0], tuning) for name, tuning in TUNINGS.items()}
    assert len(names["everything"]) == len(jax.tree.leaves(four_steps("everything")[0]))
    lora = set(names["lora"])
    assert {entry[-2] for entry in lora} == {"query_adapter", "value_adapter", "down_adapter", "reward_head"}
    assert {entry[-2] for entry in names["lora_and_norm"] if not is_adapter(entry)} == {"reward_head", "final_norm"}
    assert sum(map(is_adapter, names["lora_and_norm"])) == 2 * 7
    assert names["head"] == {("reward_head", "kernel"): 0}
    assert {entry[:2]: first for entry, first in names["last"].items()} == {
        ("backbone", "layers"): 1, ("final_norm", "scale"): 0, ("reward_head", "kernel"): 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "layout"), [*((name, JIT) for name in TUNINGS), *((name, MESH) for name in ("lora_and_norm", "last"))]
)
def test_the_optimizer_holds_two_moments_of_the_trained_parameters_alone(name, layout):
    before, state, _ = four_steps(name, layout)
    trained = split(before, TUNINGS[name])[0]
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(trained))
    held = sum(leaf.nbytes for leaf in jax.tree.leaves(state.opt_state) if leaf.ndim)
    assert held == 2 * size
    moments = state.opt_state[1][0]
    for moment in (moments.mu, moments.nu):
        assert jax.tree.map(jnp.shape, moment) == jax.tree.map(np.shape, trained)


@each
def test_gradients_are_those_of_the_whole_where_it_is_trained_and_no_others_count(name):
    config, before, (first, *_) = config_of(name), four_steps(name)[0], four_steps(name)[2]
    model, batch = model_of(config), random_batch(0, rows=ROWS)

    def mean_loss(params):
        loss, sums = pairwise_loss(rewards(model, params, batch), batch, config.loss)
        return loss / sums.weight

    whole = jax.jit(jax.grad(mean_loss))(jax.tree.map(jnp.asarray, before))
    trained = split(whole, TUNINGS[name])[0]
    assert float(first.gradient_norm) == pytest.approx(float(optax.tree.norm(trained)), rel=1e-4)
    if name != "everything":
        assert float(first.gradient_norm) < 0.999 * float(optax.tree.norm(whole))


@pytest.mark.parametrize("name", ["lora_and_norm", "last"])
@pytest.mark.parametrize("layout", [PMAP, MESH], ids=["pmap", "mesh"])
def test_steps_are_those_of_one_device(name, layout):
    _, one, expected = four_steps(name)
    _, several, results = four_steps(name, layout)
    close(jax.tree.map(np.asarray, one), jax.tree.map(np.asarray, several), 2e-5)
    close(expected, results, 1e-3)


@pytest.mark.parametrize("saved", [JIT, MESH], ids=["jit", "mesh"])
@pytest.mark.parametrize("name", ["lora_and_norm", "last"])
def test_a_checkpoint_is_restored_under_any_strategy_and_goes_on_as_if_uninterrupted(name, saved, tmp_path):
    half, _ = taken(first_state(name, saved), name, saved, range(2))
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(2, half, data={"epoch": 0, "step": 2}, validation=None)
        checkpoints.wait()
        for other in (JIT, PMAP, MESH):
            parallel, model, optimizer, _ = parts(name, other)
            restored = checkpoints.restore(2, parallel.new_state(model, optimizer, 7)).state
            assert_same_bits(restored, half)
            assert_same_bits(checkpoints.restore_params(2, parallel.abstract_params(model)), half.params)
        again = checkpoints.restore(2, first_state(name, saved)).state
    assert_same_bits(taken(again, name, saved, range(2, 4))[0], four_steps(name, saved)[1])


@each
def test_a_state_is_described_without_arrays(name):
    parallel, model, optimizer, _ = parts(name, MESH)
    abstract, state = parallel.abstract_state(model, optimizer), first_state(name, MESH)
    assert jax.tree.structure(abstract) == jax.tree.structure(state)
    for ours, theirs in zip(jax.tree.leaves(abstract), jax.tree.leaves(state), strict=True):
        assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
        assert ours.sharding.is_equivalent_to(theirs.sharding, theirs.ndim)


@pytest.mark.parametrize("name", ["lora", "last", "head"])
def test_what_is_cut_in_two_is_put_together_again(name):
    before = four_steps(name)[0]
    assert_same_bits(join(*split(before, TUNINGS[name])), before)


def test_frozen_matrices_may_be_stored_in_bfloat16_and_all_else_stays():
    params = four_steps("lora_and_norm")[1].params
    for names, leaf in leaves_of(params).items():
        frozen = names[-1] in ("kernel", "embedding") and names[0] == "backbone"
        assert leaf.dtype == (jnp.bfloat16 if frozen else jnp.float32), names
    partly = stored(four_steps("last")[0], TuningConfig(last_layers=1, frozen_dtype=ComputeDtype.BFLOAT16))
    assert {leaf.dtype.name for leaf in jax.tree.leaves(partly["backbone"]["layers"])} == {"float32"}
    assert partly["backbone"]["embedding"]["embedding"].dtype == jnp.bfloat16


def test_stored_in_bfloat16_rewards_computed_in_it_are_the_same_bits():
    config = config_of("lora")
    config.model.compute_dtype = ComputeDtype.BFLOAT16
    model = model_of(config)
    params = lively(init(model, jax.random.PRNGKey(0)))
    half = stored(params, TuningConfig(lora_rank=3, frozen_dtype=ComputeDtype.BFLOAT16))
    compute = jax.jit(lambda params: rewards(model, params, random_batch(0)))
    np.testing.assert_array_equal(compute(params), compute(half))


@pytest.mark.parametrize("entry", ["head", "reward", "backbone/layer", "reward_head/kernel/0"])
def test_a_beginning_that_nothing_has_is_said_with_those_there_are(entry):
    config = config_of("lora")
    config.tuning = TuningConfig(trained=("final_norm", entry))
    validate(config)
    found = r"those there are: backbone, .*backbone/layers, .*final_norm, final_norm/scale, reward_head"
    with pytest.raises(ConfigError, match=rf"config\.tuning\.trained has '{entry}', .*{found}"):
        check_tuning(config)
    config.tuning = TuningConfig(trained=("final_norm/", "backbone/layers/mlp_branch"))
    check_tuning(config)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lora_rank": -1}, "lora_rank is -1; it must be at least 0"),
        ({"lora_alpha": 0.0}, "lora_alpha is 0.0; it must be a finite number above 0"),
        (
            {"lora_rank": 1, "lora_targets": ("q_proj",)},
            r"lora_targets is .*some of query, key, value, output, gate, up",
        ),
        ({"lora_rank": 1, "lora_targets": ("up", "up")}, "lora_targets is .*each once"),
        ({"lora_targets": ("up",)}, r"lora_targets is .*empty, as tuning\.lora_rank is 0"),
        ({"last_layers": 0}, r"last_layers is 0; it must be in 1\.\.2, or None"),
        ({"last_layers": 3}, r"last_layers is 3; it must be in 1\.\.2, or None"),
        ({"last_layers": 1, "lora_rank": 1}, "last_layers is 1; it must be None where there are adapters"),
        ({"last_layers": 1, "trained": ("reward_head",)}, "last_layers is 1; it must be None"),
        ({"lora_alpha": 32.0}, r"lora_alpha is 32\.0; it must be left at 16\.0, as tuning\.lora_rank is 0"),
        ({"frozen_dtype": ComputeDtype.BFLOAT16}, "frozen_dtype is .*bfloat16.*; it must be float32, as nothing is fr"),
    ],
)
def test_fields_that_cannot_be_right_are_named(changes, message):
    config = config_of("everything")
    config.tuning = TuningConfig(**changes)
    with pytest.raises(ConfigError, match=rf"config\.tuning\.{message}"):
        validate(config)


def test_a_dtype_of_frozen_matrices_wants_one_of_them():
    config = config_of("everything")
    config.tuning = TuningConfig(trained=("backbone", "reward_head"), frozen_dtype=ComputeDtype.BFLOAT16)
    validate(config)
    with pytest.raises(ConfigError, match=r"frozen_dtype is 'bfloat16'; it must be 'float32', as all matrices are tr"):
        check_tuning(config)
    for trained in ("backbone/layers", "final_norm", "backbone/embedding"):
        config.tuning.trained = (trained, "reward_head")
        check_tuning(config)


def test_a_model_without_a_gate_has_no_adapter_for_it():
    config = config_of("lora")
    config.model.gated_mlp = False
    config.tuning = TuningConfig(lora_rank=1)
    adapters = adapters_of(config)
    assert adapters is not None
    assert adapters.targets == ("query", "key", "value", "output", "up", "down")
    config.tuning.lora_targets = ("gate",)
    with pytest.raises(ConfigError, match=r"some of query, key, value, output, up, down"):
        validate(config)


def test_the_config_comes_back_from_its_json():
    config = config_of("lora_and_norm")
    assert from_json(to_json(config)) == config
