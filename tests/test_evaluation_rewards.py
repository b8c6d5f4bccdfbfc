"""Laws of the rewards of tokenized responses: batches and devices don't matter."""

import dataclasses
import functools

import jax
import numpy as np
import pytest
from random_batches import lively
from untrained import random_text, untrained_config, untrained_contract

from rmjax.batches import packing
from rmjax.batches.choose_row import choose_row_shape
from rmjax.batches.contract import TextContract, TextGroup
from rmjax.batches.lengths import measure
from rmjax.batches.tokenize import tokenize, tokenize_responses
from rmjax.config import BatchConfig, ParallelConfig, Strategy
from rmjax.evaluation.rewards import NonFiniteRewardsError, RewardComputer
from rmjax.evaluation.validation import make_evaluator
from rmjax.models import reward
from rmjax.preferences.record import Comparison, Preference, Source
from rmjax.training.parallel import make_parallel


def preferences(seed: int, count: int) -> list[Preference]:
    rng = np.random.default_rng(seed)

    def text(most):
        return random_text(rng, most)

    found = []
    for _ in range(count):
        responses = tuple(f" {text(9)} {number}" for number in range(rng.integers(2, 6)))
        comparison = Comparison(left=0, right=len(responses) - 1, probability=float(rng.choice([0.0, 0.5, 1.0])))
        found.append(
            Preference(
                prompt=text(30), responses=responses, comparisons=(comparison,), dimension="d", source=Source.RULE
            )
        )
    return found


@pytest.fixture(scope="module")
def contract() -> TextContract:
    return untrained_contract(untrained_config())


@functools.cache
def initialized(model, seed):
    return lively(reward.init(model, jax.random.key(seed)), seed)


def trained(contract, settings, seed=0):
    model = reward.RewardModel(settings.model, contract.tokenizer.get_vocab_size())
    return model, initialized(model, seed)


@pytest.fixture(scope="module")
def compute(contract) -> RewardComputer:
    return RewardComputer(trained(contract, untrained_config())[0], untrained_config())


def test_batch_size_row_length_and_device_count_do_not_matter(contract, compute):
    model, _ = trained(contract, untrained_config())
    one_device = RewardComputer(
        model, untrained_config(), parallel=make_parallel(untrained_config(), tuple(jax.devices()[:1]))
    )
    others = [
        compute,
        RewardComputer(model, untrained_config(batch=BatchConfig(row_length=256, rows=1))),
        RewardComputer(model, untrained_config(batch=BatchConfig(row_length=None, rows=2))),
        RewardComputer(
            model, untrained_config(parallel=ParallelConfig(strategy=Strategy.JIT), batch=BatchConfig(rows=3))
        ),
    ]
    for seed in range(3):
        tokenized = tokenize(preferences(seed, 25), contract)
        _, params = trained(contract, untrained_config(), seed)
        expected = one_device(params, tokenized)
        assert np.isfinite(expected).all()
        assert expected.std() > 0.01
        for other in others:
            np.testing.assert_allclose(other(params, tokenized), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("rows", [1, 3, 11])
def test_a_computer_that_is_warm_has_met_every_shape_that_there_is(contract, monkeypatch, rows):
    settings = untrained_config(batch=BatchConfig(row_length=256, rows=4 * rows))
    model, params = trained(contract, settings)
    devices = tuple(jax.devices()[:2])
    computer = RewardComputer(model, settings, parallel=make_parallel(settings, devices))
    heads, shapes = 1, []

    def recorded(_, *batch):
        shapes.append(tuple(array.shape for array in batch))
        return lambda: np.zeros((*batch[3].shape, heads), np.float32)

    monkeypatch.setattr(computer, "_compute", recorded)
    computer.warm_up(params)
    warm, full = set(shapes), max(shape[0][0] for shape in shapes)
    assert len(warm) == len(shapes)
    assert full * computer.shape.length <= max(computer.tokens_at_once, 2 * 2048)
    assert computer.tokens_at_once == pytest.approx(256 * 4 * rows, abs=2 * computer.shape.length)
    for count in (1, 5, 12, 60, 130):
        computer(params, tokenize(preferences(count, count), contract))
    assert warm == set(shapes)


def test_rewards_are_those_of_the_training_rows(contract, compute):
    tokenized = tokenize(preferences(5, 20), contract)
    model, params = trained(contract, untrained_config())
    expected = compute(params, tokenized)
    lengths = measure(tokenized)
    shape = choose_row_shape(lengths, untrained_config().batch)
    batch = packing.pack(tokenized, packing.plan_epoch(lengths, shape, seed=3, epoch=1), slice(None))
    found = np.asarray(jax.jit(functools.partial(reward.rewards, model))(params, batch))
    used = batch.response_id >= 0
    np.testing.assert_allclose(found[used], expected[batch.response_id[used]], rtol=0, atol=1e-5)


def test_a_response_scored_alone_has_the_reward_that_it_has_among_others(contract, compute):
    records = preferences(6, 6)
    requests = [TextGroup(record.prompt, record.responses) for record in records]
    _, params = trained(contract, untrained_config())
    together = compute(params, tokenize_responses(requests, contract))
    alone = [
        compute(params, tokenize_responses([TextGroup(request.prompt, [response])], contract))
        for request in requests
        for response in request.responses
    ]
    np.testing.assert_allclose(np.concatenate(alone), together, rtol=0, atol=1e-5)


def test_few_rows_are_not_padded_to_a_full_batch_and_shapes_are_few(contract):
    model, _ = trained(contract, untrained_config())
    compute = RewardComputer(model, untrained_config(batch=BatchConfig(row_length=256, rows=40)))
    sizes = {rows: [len(numbers) for numbers in compute._batches(rows)] for rows in range(100)}
    for rows, found in sizes.items():
        numbers = np.concatenate([*compute._batches(rows), np.zeros(0, int)])
        assert numbers[numbers >= 0].tolist() == list(range(rows))
        assert sum(found) <= 4 * rows / 3 + 4
    assert len({size for found in sizes.values() for size in found}) <= 6


def test_the_longest_that_the_contract_lets_through_has_a_reward(contract, compute):
    _, params = trained(contract, untrained_config())
    prompt, response = "why " * 200, "x"
    while True:
        try:
            contract.encode(prompt, [response + " z"])
        except ValueError:
            break
        response += " z"
    tokenized = tokenize_responses([TextGroup(prompt, [response] * 50)], contract)
    assert tokenized.cut_prompts == 1
    found = compute(params, tokenized)
    np.testing.assert_allclose(found, np.repeat(found[:1], 50, axis=0), rtol=0, atol=1e-5)


def test_nothing_has_no_rewards(contract, compute):
    _, params = trained(contract, untrained_config())
    assert compute(params, tokenize_responses([], contract)).shape == (0, 1)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_reward_that_is_not_finite_is_an_error(contract, compute, value):
    tokenized = tokenize_responses([TextGroup("Q", [" A", " B"])], contract)
    _, params = trained(contract, untrained_config())
    broken = jax.tree.map(lambda leaf: np.full_like(leaf, value), params)
    with pytest.raises(
        NonFiniteRewardsError, match=r"^the rewards of 2 of 2 responses are not finite; .* response 0 of record 0"
    ):
        compute(broken, tokenized)


def test_several_heads_are_read_by_dimension(contract):
    settings = untrained_config(model=dataclasses.replace(untrained_config().model, reward_heads=("other", "d")))
    model, params = trained(contract, settings)
    tokenized = tokenize(preferences(7, 10), contract, heads=("other", "d"))
    found = make_evaluator(model, tokenized, settings)(params).metrics
    rewards = RewardComputer(model, settings)(params, tokenized)
    assert rewards.shape == (tokenized.responses, 2)
    differences = rewards[tokenized.left, 1] - rewards[tokenized.right, 1]
    kept = tokenized.probability != 0.5
    assert found["accuracy"] == np.mean((differences > 0) == (tokenized.probability > 0.5), where=kept)


def test_the_evaluator_says_what_the_loop_logs(contract):
    tokenized = tokenize(preferences(8, 10), contract)
    model, params = trained(contract, untrained_config())
    found = make_evaluator(model, tokenized, untrained_config())(params).metrics
    assert set(found) == {"accuracy", "nll", "ece", "comparisons"}
    assert found["comparisons"] == 10
    assert found["nll"] == pytest.approx(np.log(2), abs=0.2)
