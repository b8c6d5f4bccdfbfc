"""Random words, a tokenizer that knows them, and a tiny run that was saved but never trained."""

import pathlib
from typing import Any

import numpy as np
import optax

from rmjax.batches.contract import TextContract
from rmjax.batches.template import RoleTemplate
from rmjax.batches.tokenizer import train_tokenizer
from rmjax.config import BatchConfig, ExperimentConfig, TextConfig
from rmjax.model_config import ModelConfig
from rmjax.models import reward
from rmjax.models.shape import model_shape
from rmjax.training.checkpoint import Checkpoints
from rmjax.training.state import new_state
from rmjax.training.tuning import adapters_of
from rmjax.training.workdir import open_workdir, write_contract

WORDS = (
    "river", "stone", "green", "walks", "slowly", "under", "seven", "bridges", "never", "asks", "why", "it", "rains",
)  # fmt: skip


def random_text(rng: np.random.Generator, most: int) -> str:
    """1 to ``most - 1`` of the words."""
    return " ".join(rng.choice(WORDS, size=rng.integers(1, most)))


def untrained_config(*, heads: tuple[str, ...] = (), response_tokens: int = 40, **changes: Any) -> ExperimentConfig:
    base = {
        "text": TextConfig(vocabulary_size=300, max_prompt_tokens=60, max_response_tokens=response_tokens),
        "batch": BatchConfig(row_length=256, rows=8),
        "model": ModelConfig(
            width=16, layers=1, attention_heads=2, key_value_heads=1, head_size=8, mlp_width=32, reward_heads=heads
        ),
    }
    return ExperimentConfig(**{**base, **changes})


def untrained_contract(config: ExperimentConfig) -> TextContract:
    return TextContract.from_config(config.text, train_tokenizer(list(WORDS) * 3, 300))


def write_run(
    path: pathlib.Path,
    config: ExperimentConfig,
    *,
    seed: int = 0,
    checkpoints: dict[int, tuple[Any, float]] | None = None,
) -> str:
    """A workdir with checkpoints: of each step the parameters (None: new ones) and the validation accuracy."""
    workdir = open_workdir(path, config)
    contract = untrained_contract(config)
    write_contract(workdir, contract.tokenizer, RoleTemplate())
    shape = model_shape(config.model, adapters_of(config))
    model = reward.RewardModel(shape, contract.tokenizer.get_vocab_size())
    fresh = new_state(model, optax.sgd(1.0), seed, tuning=config.tuning)
    with Checkpoints(path / "checkpoints") as saved:
        for step, (params, accuracy) in (checkpoints or {5: (None, 0.6)}).items():
            state = fresh if params is None else fresh.replace(params=params)
            saved.save(step, state, data={"epoch": 0, "step": step}, validation={"accuracy": accuracy})
    return str(path)
