"""How much further the members of an ensemble are apart on prompts that are unlike those that it was trained on.

    python -m benchmarks.unlike [--members=32] [--scale=5] [--centering=0.5] [--step_rows=2] [--trained_on=curious]

Small models from scratch are trained on 500 pairs of the testbed's helpfulness (``--trained_on`` keeps the prompts of
one purpose), and asked about held-out prompts like these. Needs neither data nor peers: three seeds take 17 s of
a CPU.

One JSON line: for each seed the ``accuracy`` on the held-out prompts; and for prompts of random ``characters``, with
the responses of the held-out ones, and with ``--trained_on`` for prompts of each other purpose, the ratios to the
held-out ones of the mean spread of rewards (``spread``) and of the mean spread of a pair's differences
(``differences``).
"""

import dataclasses
import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
from absl import app, flags

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
from rmjax.datasets.synthetic import to_preference
from rmjax.datasets.synthetic_scenes import Purpose, make_scenes
from rmjax.evaluation.pairwise import accuracy, reward_differences
from rmjax.evaluation.rewards import RewardComputer
from rmjax.evaluation.spread import spread
from rmjax.model_config import ModelConfig
from rmjax.models.reward import RewardModel, mean_of_members
from rmjax.preferences.record import Preference
from rmjax.training.optimizer import make_optimizer
from rmjax.training.state import new_state
from rmjax.training.step import make_train_step

_MEMBERS = flags.DEFINE_integer("members", 32, "Of the ensemble.", lower_bound=2)
_SCALE = flags.DEFINE_float("scale", 5.0, "config.model.ensemble_scale.")
_CENTERING = flags.DEFINE_float("centering", 0.5, "config.loss.centering.")
_ROWS = flags.DEFINE_integer("step_rows", 2, "Of a training step, each of 512 tokens.", lower_bound=1)
_SEEDS = flags.DEFINE_integer("seeds", 3, "Models that are trained.", lower_bound=1)
_TRAINED_ON = flags.DEFINE_enum_class(
    "trained_on", None, Purpose, "Prompts of this purpose alone; of all if not given."
)

STEPS, TRAIN_PAIRS, HELD_OUT_PAIRS = 60, 500, 60
RARE = "zqxjkvwZQXJKVW0123456789#@%&{}[]<>~^;:|"  # characters that are rare or missing in the testbed's texts


@dataclass(frozen=True, kw_only=True, slots=True)
class Apart:
    """How far the members are apart on a set of pairs, and what they say together.

    Attributes:
      spread: the mean over responses of the spread of their rewards.
      differences: the mean over pairs of the spread of the difference of their two rewards.
      accuracy: of the mean of the members.
      deviation: the standard deviation over responses of the mean of the members.
    """

    spread: float
    differences: float
    accuracy: float
    deviation: float


def pairs(count: int, *, test: bool, purpose: Purpose | None = None) -> list[Preference]:
    """So many of the testbed's pairs, judged on helpfulness; of one purpose, or of all."""
    scenes = make_scenes(count=count if purpose is None else 8 * count, seed=0, test=test)
    kept = [scene for scene in scenes if purpose in (None, scene.latents[0].purpose)]
    return [to_preference(scene, "helpfulness", origin=f"scene {place}") for place, scene in enumerate(kept[:count])]


def with_random_characters(preference: Preference) -> Preference:
    """The same responses to a prompt of characters that are rare in the training texts, or missing."""
    characters = random.Random(str(preference.prompt)).choices(RARE, k=60)
    return dataclasses.replace(preference, prompt=f"\n\nHuman: {''.join(characters)}\n\nAssistant:")


class Ensembles:
    """Small models, one for each seed, that are trained on the same pairs.

    Args:
      train: the pairs.
      rows: of a training step.
      members, scale, centering: as ``config.model.ensemble``, ``.ensemble_scale`` and ``config.loss.centering``.
    """

    def __init__(self, train: Sequence[Preference], *, rows: int, members: int, scale: float, centering: float):
        config = _config(rows=rows, members=members, scale=scale, centering=centering)
        texts = [str(text) for entry in train for text in (entry.prompt, *entry.responses)]
        tokenizer = train_tokenizer(texts, config.text.vocabulary_size)
        self._rows = rows
        self._contract = TextContract.from_config(config.text, tokenizer)
        self._train = tokenize(train, self._contract, on_error=OnError.SKIP)
        self._model = RewardModel(config.model, tokenizer.get_vocab_size())
        self._optimizer = make_optimizer(config.optimizer, STEPS)
        self._step = jax.jit(make_train_step(self._model, config, self._optimizer))
        self._computer = RewardComputer(self._model, config)

    def params(self, seed: int) -> Any:
        """The parameters of a model after its training."""
        lengths, shape = measure(self._train), RowShape(length=512, responses=12, comparisons=6)
        state, taken, rows = new_state(self._model, self._optimizer, seed), 0, self._rows
        while taken < STEPS:
            plan = plan_epoch(lengths, shape, seed=seed, epoch=taken)
            for first in range(0, min(plan.rows - rows + 1, rows * (STEPS - taken)), rows):
                state, _ = self._step(state, pack(self._train, plan, slice(first, first + rows)))
                taken += 1
        return state.params

    def apart(self, params: Any, asked: Iterable[Preference]) -> Apart:
        """What the members say of pairs."""
        tokenized = tokenize(asked, self._contract, on_error=OnError.SKIP)
        members = self._computer.members(params, tokenized)
        differences = reward_differences(members, tokenized.left, tokenized.right, tokenized.head)
        return Apart(
            spread=float(spread(members).mean()),
            differences=float(spread(differences).mean()),
            accuracy=float(accuracy(differences.mean(axis=-1), tokenized.probability)),
            deviation=float(mean_of_members(members).std()),
        )


def _config(*, rows: int, members: int, scale: float, centering: float) -> ExperimentConfig:
    return ExperimentConfig(
        steps=STEPS,
        text=TextConfig(vocabulary_size=600, max_prompt_tokens=128, max_response_tokens=160),
        batch=BatchConfig(row_length=512, rows=rows),
        model=ModelConfig(
            width=64, layers=1, attention_heads=2, key_value_heads=1, head_size=16, mlp_width=128,
            ensemble=members, ensemble_scale=scale,
        ),
        loss=LossConfig(centering=centering),
        optimizer=OptimizerConfig(learning_rate=4e-3, warmup_steps=10, weight_decay=0.0),
        parallel=ParallelConfig(strategy=Strategy.JIT),
    )  # fmt: skip


def main(_: Sequence[str]) -> None:
    purpose = _TRAINED_ON.value
    ensembles = Ensembles(
        pairs(TRAIN_PAIRS, test=False, purpose=purpose), rows=_ROWS.value, members=_MEMBERS.value,
        scale=_SCALE.value, centering=_CENTERING.value,
    )  # fmt: skip
    held_out = pairs(HELD_OUT_PAIRS, test=True, purpose=purpose)
    others = {"characters": [with_random_characters(entry) for entry in held_out]}
    if purpose is not None:
        others |= {
            other.name.lower(): pairs(HELD_OUT_PAIRS, test=True, purpose=other) for other in Purpose if other != purpose
        }
    answer: dict[str, Any] = {"accuracy": []}
    for seed in range(_SEEDS.value):
        params = ensembles.params(seed)
        alike = ensembles.apart(params, held_out)
        answer["accuracy"].append(round(alike.accuracy, 3))
        for name, asked in others.items():
            found, ratios = ensembles.apart(params, asked), answer.setdefault(name, {"spread": [], "differences": []})
            ratios["spread"].append(round(found.spread / alike.spread, 2))
            ratios["differences"].append(round(found.differences / alike.differences, 2))
    print(json.dumps(answer))


if __name__ == "__main__":
    app.run(main)
