"""rmjax: reward models from preference judgments, in JAX.

The public names, each loaded when it is first asked for, so that ``import rmjax`` itself costs nothing.
(``rmjax.train`` and ``rmjax.evaluate`` are the commands; their functions are ``rmjax.training.loop.train`` and
``rmjax.evaluation.evaluate.evaluate``.)
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rmjax.config import ExperimentConfig, OnError
    from rmjax.preferences.groups import RowDefaults
    from rmjax.preferences.read import read_preferences
    from rmjax.preferences.record import Comparison, Message, Preference, Source
    from rmjax.preferences.write import write_preferences
    from rmjax.scoring.scorer import RewardScorer
    from rmjax.scoring.stage_two import reward_function

_HOME = {
    "Comparison": "rmjax.preferences.record",
    "ExperimentConfig": "rmjax.config",
    "Message": "rmjax.preferences.record",
    "OnError": "rmjax.config",
    "Preference": "rmjax.preferences.record",
    "RewardScorer": "rmjax.scoring.scorer",
    "RowDefaults": "rmjax.preferences.groups",
    "Source": "rmjax.preferences.record",
    "read_preferences": "rmjax.preferences.read",
    "reward_function": "rmjax.scoring.stage_two",
    "write_preferences": "rmjax.preferences.write",
}

__all__ = [
    "Comparison",
    "ExperimentConfig",
    "Message",
    "OnError",
    "Preference",
    "RewardScorer",
    "RowDefaults",
    "Source",
    "read_preferences",
    "reward_function",
    "write_preferences",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"rmjax has no public name {name!r}; its names are {', '.join(__all__)}")
    return getattr(importlib.import_module(_HOME[name]), name)
