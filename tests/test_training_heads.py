"""What several heads, rankings and ties do to the gradient, through tokenizing, packing, model and step."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from random_batches import lively, random_batch, small_model_config
from untrained import random_text, untrained_config, untrained_contract

from rmjax.batches.lengths import measure
from rmjax.batches.packing import pack, plan_epoch
from rmjax.batches.row_shape import RowShape
from rmjax.batches.tokenize import tokenize
from rmjax.config import ExperimentConfig, LossConfig
from rmjax.models.reward import RewardModel, rewards
from rmjax.preferences.groups import RowDefaults
from rmjax.preferences.record import Comparison, Preference, Source
from rmjax.preferences.row_forms import parse_row
from rmjax.training.loss import pairwise_loss
from rmjax.training.state import new_state
from rmjax.training.step import make_train_step
from rmjax.tuning_config import TuningConfig

HEADS = ("helpfulness", "harmlessness", "brevity")


def head_gradient(batch, heads):
    """The gradient of the head's kernel with a frozen trunk, from a step of plain descent at rate 1."""
    config = ExperimentConfig(
        model=small_model_config(reward_heads=heads), tuning=TuningConfig(trained=("reward_head",))
    )
    model, optimizer = RewardModel(config.model, 32), optax.sgd(1.0)
    state = new_state(model, optimizer, 0, tuning=config.tuning)
    state = state.replace(params=lively(state.params))
    kernel = np.random.default_rng(5).normal(size=(16, len(HEADS))).astype(np.float32)
    state.params["reward_head"]["kernel"] = kernel[:, [HEADS.index(head) for head in heads]]
    after, _ = jax.jit(make_train_step(model, config, optimizer))(state, batch)
    frozen = jax.tree.map(np.array_equal, after.params["backbone"], state.params["backbone"])
    assert all(jax.tree.leaves(frozen))
    return np.asarray(state.params["reward_head"]["kernel"]) - np.asarray(after.params["reward_head"]["kernel"])


@pytest.mark.parametrize("weights", ["equal", "any"])
@pytest.mark.parametrize("seed", range(2))
def test_with_a_frozen_trunk_a_heads_gradient_is_its_own_times_its_share_of_the_comparisons(seed, weights):
    batch = random_batch(seed, heads=3)
    if weights == "equal":
        batch = batch._replace(weight=(batch.weight > 0).astype(np.float32))
    together = head_gradient(batch, HEADS)
    for number, name in enumerate(HEADS):
        own = batch.head == number
        alone = batch._replace(weight=np.where(own, batch.weight, 0), head=np.zeros_like(batch.head))
        share = alone.weight.sum() / batch.weight.sum()
        assert 0.1 < share < 0.7
        expected = share * head_gradient(alone, (name,))[:, 0]
        assert np.abs(expected).max() > 0.01
        np.testing.assert_allclose(together[:, number], expected, atol=1e-6)


@pytest.mark.parametrize("responses", [2, 3, 4, 8])
def test_the_loss_of_a_ranking_is_the_mean_of_its_pairs(responses):
    rng = np.random.default_rng(responses)
    config = untrained_config()
    contract, loss = untrained_contract(config), LossConfig(label_smoothing=0.1, centering=0.05)
    texts = [f" {random_text(rng, 6)} {number}" for number in range(responses)]
    row = {"prompt": "why", "responses": texts, "ranking": list(range(1, responses + 1))}
    ranking = parse_row(row, origin="row", defaults=RowDefaults(dimension="d", source=Source.HUMAN))
    assert len(ranking.comparisons) == responses * (responses - 1) // 2
    pairs = [
        Preference(
            prompt="why", responses=(texts[best], texts[other]), dimension="d", source=Source.HUMAN,
            comparisons=(Comparison(left=0, right=1, probability=1.0),),
        )
        for best, other in itertools.combinations(range(responses), 2)
    ]  # fmt: skip
    model = RewardModel(config.model, contract.tokenizer.get_vocab_size())
    params = lively(new_state(model, optax.sgd(1.0), 0).params)
    params["reward_head"]["kernel"] *= 10.0

    def found(preferences):
        tokenized = tokenize(preferences, contract)
        plan = plan_epoch(measure(tokenized), RowShape(length=256, responses=16, comparisons=32), seed=0, epoch=0)
        batch = pack(tokenized, plan, slice(None))
        return pairwise_loss(rewards(model, params, batch), batch, loss)

    ranked, sums = found([ranking])
    apart, sums_apart = found(pairs)
    assert float(sums.weight) == pytest.approx(1.0, abs=1e-6)
    assert float(sums_apart.weight) == len(pairs)
    assert abs(float(apart) / len(pairs) - np.log(2)) > 1e-3
    assert float(ranked) == pytest.approx(float(apart) / len(pairs), abs=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_a_tie_pulls_at_nothing_where_rewards_are_equal_and_together_where_they_are_not(smoothing):
    batch = random_batch(0, heads=2)
    ties = batch._replace(probability=np.full_like(batch.probability, 0.5), margin=np.zeros_like(batch.margin))
    gradient = jax.grad(lambda values: pairwise_loss(values, ties, LossConfig(label_smoothing=smoothing))[0])
    equal = jnp.broadcast_to(jnp.arange(4.0)[:, None, None], (4, 15, 2))
    np.testing.assert_array_equal(gradient(equal), 0.0)
    values = jnp.zeros((4, 15, 2)).at[0, 0].set(1.0)
    touched = (ties.weight[0] > 0) & ((ties.left[0] == 0) | (ties.right[0] == 0))
    assert touched.any()
    assert float(gradient(values)[0, 0].sum()) > 0.05
    hard = batch._replace(margin=np.zeros_like(batch.margin), probability=np.ones_like(batch.probability))
    pulled = jax.grad(lambda values: pairwise_loss(values, hard, LossConfig())[0])(equal)
    assert np.abs(pulled).max() > 0.1
