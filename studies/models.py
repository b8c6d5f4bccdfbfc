"""Training on preferences that a study has made, and what is asked of the trained model."""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
from etils import epath
from jaxtyping import Float32

from rmjax.batches.contract import TextGroup
from rmjax.batches.tokenize import tokenize, tokenize_responses
from rmjax.config import ExperimentConfig, OnError
from rmjax.errors import UserError
from rmjax.evaluation.golden import trusted_computer
from rmjax.evaluation.measure import judged_pairs, measure_heads
from rmjax.evaluation.rewards import RewardComputer
from rmjax.evaluation.validation import make_evaluator
from rmjax.models.reward import mean_of_members
from rmjax.preferences.record import Preference
from rmjax.preferences.write import to_lines, write_preferences
from rmjax.training.loop import train
from rmjax.training.trained import load_trained


class Model:
    """A model that was trained, its best checkpoint.

    Args:
      workdir: of its run.
    """

    def __init__(self, workdir: epath.PathLike):
        self.trained = load_trained(workdir)
        self._compute: RewardComputer = trusted_computer(self.trained)

    def measured(self, preferences: Sequence[Preference]) -> dict[str, Any]:
        """What ``rmjax.evaluate`` would say of it on these preferences."""
        heads = self.trained.config.model.reward_heads
        tokenized = tokenize(preferences, self.trained.contract, heads=heads, on_error=OnError.ERROR)
        members = self._compute.members(self.trained.params, tokenized)
        apart = members if members.shape[-1] > 1 else None
        return measure_heads(mean_of_members(members), judged_pairs(tokenized, preferences), heads, apart).numbers

    def against(self, truth: Sequence[Preference]) -> dict[str, Any]:
        """Which checkpoint was the best, and how well it does on pairs that are labeled with the truth."""
        found = self.measured(truth)
        kept = ("accuracy", "accuracy_low", "accuracy_high", "spearman")
        return {"best_step": self.trained.step} | {name: found[name] for name in kept}

    def members(self, preferences: Sequence[Preference]) -> list[Float32[np.ndarray, "responses heads members"]]:
        """The rewards of the responses of each record, of each member of an ensemble."""
        groups = [TextGroup(entry.prompt, entry.responses, entry.origin, ()) for entry in preferences]
        tokenized = tokenize_responses(groups, self.trained.contract, on_error=OnError.ERROR)
        found = self._compute.members(self.trained.params, tokenized)
        ends = np.cumsum([len(entry.responses) for entry in preferences])
        return np.split(found, ends[:-1])

    def rewards(self, preferences: Sequence[Preference]) -> list[Float32[np.ndarray, "responses heads"]]:
        """The rewards of the responses of each record."""
        return [mean_of_members(found) for found in self.members(preferences)]


def trained_on(
    preferences: Sequence[Preference],
    config: ExperimentConfig,
    folder: epath.PathLike,
    validation: Sequence[Preference] = (),
) -> Model:
    """A model trained on these preferences, in ``folder``; one that is complete is not trained again.

    They lie in ``folder/preferences.jsonl``, so ``rmjax.train`` could do it again; and those of ``validation``, if
    there are any, by which the best checkpoint is then chosen, in ``validation.jsonl``. UserError where the folder has
    other ones, which stay as they are.
    """
    folder = epath.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    own = copy.deepcopy(config)
    own.logging.tensorboard = False  # a study draws a figure of its own
    own.data.train = (_written(folder / "preferences.jsonl", preferences),)
    if validation:
        own.data.validation = (_written(folder / "validation.jsonl", validation),)
    train(own, folder / "run", make_evaluator=make_evaluator)
    return Model(folder / "run")


def _written(file: epath.Path, preferences: Sequence[Preference]) -> str:
    """The name of the file, which holds these preferences alone."""
    if not file.exists():
        write_preferences(file, preferences)
    elif file.read_bytes() != b"".join(to_lines(preferences)):
        raise UserError(f"{file}: found other preferences than this study makes; right would be another --workdir")
    return str(file)
