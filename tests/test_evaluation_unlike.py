"""An ensemble is less sure of prompts that are unlike those that it was trained on than of held-out ones."""

import dataclasses
import random

import jax
import numpy as np
import pytest

from rmjax.batches.contract import TextContract
from rmjax.batches.lengths import measure
from rmjax.batches.packing import pack, plan_epoch
from rmjax.batches.row_shape import RowShape
from rmjax.batches.tokenize import tokenize
from rmjax.batches.tokenizer import train_tokenizer
from rmjax.config import (
    BatchConfig,
    ExperimentConfig,
    LossConfig,
    OnError,
    OptimizerConfig,
    ParallelConfig,
    Strategy,
    TextConfig,
)
from rmjax.datasets.synthetic import make_preferences
from rmjax.evaluation.pairwise import accuracy, reward_differences
from rmjax.evaluation.rewards import RewardComputer
from rmjax.evaluation.spread import spread
from rmjax.model_config import ModelConfig
from rmjax.models.reward import RewardModel, mean_of_members
from rmjax.training.optimizer import make_optimizer
from rmjax.training.state import new_state
from rmjax.training.step import make_train_step

ROWS, STEPS, MEMBERS = 4, 60, 32
RARE = "zqxjkvwZQXJKVW0123456789#@%&{}[]<>~^;:|"


def unlike(preference):
    """The same responses to a prompt of characters that are rare or missing in the training texts."""
    characters = random.Random(preference.prompt).choices(RARE, k=60)
    return dataclasses.replace(preference, prompt=f"\n\nHuman: {''.join(characters)}\n\nAssistant:")


@pytest.fixture(scope="module")
def trainer():
    """A function of the seed to the parameters of a small model, with its text contract and what computes rewards."""
    config = ExperimentConfig(
        steps=STEPS,
        text=TextConfig(vocabulary_size=600, max_prompt_tokens=128, max_response_tokens=160),
        batch=BatchConfig(row_length=512, rows=ROWS),
        model=ModelConfig(
            width=64, layers=1, attention_heads=2, key_value_heads=1, head_size=16, mlp_width=128,
            ensemble=MEMBERS, ensemble_scale=5.0,
        ),
        loss=LossConfig(centering=0.5),
        optimizer=OptimizerConfig(learning_rate=4e-3, warmup_steps=10, weight_decay=0.0),
        parallel=ParallelConfig(strategy=Strategy.JIT),
    )  # fmt: skip
    train = list(make_preferences("helpfulness", count=500))
    tokenizer = train_tokenizer([text for entry in train for text in (entry.prompt, *entry.responses)], 600)
    contract = TextContract.from_config(config.text, tokenizer)
    tokenized = tokenize(train, contract, on_error=OnError.SKIP)
    lengths, shape = measure(tokenized), RowShape(length=512, responses=12, comparisons=6)
    model, optimizer = RewardModel(config.model, tokenizer.get_vocab_size()), make_optimizer(config.optimizer, STEPS)
    step = jax.jit(make_train_step(model, config, optimizer))

    def trained(seed):
        state, taken = new_state(model, optimizer, seed), 0
        while taken < STEPS:
            plan = plan_epoch(lengths, shape, seed=seed, epoch=taken)
            for first in range(0, min(plan.rows - ROWS + 1, ROWS * (STEPS - taken)), ROWS):
                state, _ = step(state, pack(tokenized, plan, slice(first, first + ROWS)))
                taken += 1
        return state.params

    return contract, RewardComputer(model, config), trained


def test_the_spread_is_larger_on_prompts_that_are_unlike_those_of_training(trainer):
    """By a fifth at least, at every seed, of a model that tells better from worse on held-out prompts."""
    contract, compute, trained = trainer
    held_out = list(make_preferences("helpfulness", count=60, test=True))
    alike, other = (tokenize(part, contract, on_error=OnError.SKIP) for part in (held_out, map(unlike, held_out)))
    ratios, accuracies = [], []
    for seed in range(3):
        params = trained(seed)
        members = compute.members(params, alike)
        differences = reward_differences(members, alike.left, alike.right, alike.head).mean(axis=-1)
        accuracies.append(accuracy(differences, alike.probability))
        assert mean_of_members(members).std() > 0.01
        ratios.append(spread(compute.members(params, other)).mean() / spread(members).mean())
    assert min(ratios) > 1.2, ratios
    assert np.mean(accuracies) > 0.6, accuracies
