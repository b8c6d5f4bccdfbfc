"""A run that is small enough to be trained in a test, mostly for the shorter of two responses."""

import json
import pathlib
import random

from rmjax.config import BatchConfig, DataConfig, ExperimentConfig, LoggingConfig, OptimizerConfig, TextConfig
from rmjax.model_config import AttentionKind, ModelConfig

WORDS = ("apple", "bird", "cloud", "door", "earth", "fire", "gold", "hill")


def write_rows(path: pathlib.Path, *, rows: int = 200, seed: int = 0) -> None:
    numbers = random.Random(seed)
    with path.open("w") as file:
        for row in range(rows):
            short = " ".join(numbers.choices(WORDS, k=numbers.randrange(1, 5)))
            long = short + " " + " ".join(numbers.choices(WORDS, k=numbers.randrange(1, 5)))
            prompt = f"Question {row}: {numbers.choice(WORDS)}? "
            chosen, rejected = (short, long) if numbers.random() < 0.8 else (long, short)  # so that no model is perfect
            file.write(json.dumps({"prompt": prompt, "chosen": chosen, "rejected": rejected}) + "\n")


def tiny_config(rows: str, *, steps: int = 20, evaluate_every: int = 7, seed: int = 0) -> ExperimentConfig:
    return ExperimentConfig(
        dimension="brevity",
        seed=seed,
        steps=steps,
        evaluate_every=evaluate_every,
        data=DataConfig(train=(rows,), validation_fraction=0.2),
        text=TextConfig(vocabulary_size=300, max_prompt_tokens=32, max_response_tokens=64),
        batch=BatchConfig(row_length=None, rows=4),  # chosen from the data, also when it is resumed
        model=ModelConfig(
            width=16,
            layers=1,
            attention_heads=2,
            key_value_heads=1,
            head_size=8,
            mlp_width=32,
            dropout=0.1,
            attention=AttentionKind.DENSE,  # compiles quickest, which is what such runs spend their time on
        ),
        optimizer=OptimizerConfig(warmup_steps=5, learning_rate=3e-3),
        logging=LoggingConfig(progress_every=3),
    )
