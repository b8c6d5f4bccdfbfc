"""Which parameters are trained, as a part of the config of an experiment (``rmjax.config``)."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from rmjax.model_config import ComputeDtype, ModelConfig

PROJECTIONS = ("query", "key", "value", "output", "gate", "up", "down")  # the matrices of a layer, by our names


@dataclass(kw_only=True, slots=True)
class TuningConfig:
    """Low-rank adapters (LoRA: Hu et al., 2021, arXiv 2106.09685) and freezing; by default everything is trained.

    With adapters these and the reward head are trained, or, where ``trained`` is given, these and what it names: the
    head too only if it is named. Layers of which the last are trained stay float32, whatever ``frozen_dtype`` says.
    """

    lora_rank: int = 0  # of the adapters; 0: there are none
    lora_alpha: float = 16.0  # what an adapter adds is multiplied by lora_alpha / lora_rank
    lora_targets: tuple[str, ...] = ()  # of query, key, value, output, gate, up, down; empty: all that a layer has
    trained: tuple[str, ...] = ()  # beginnings of the parameters' paths, such as reward_head or backbone/layers
    last_layers: int | None = None  # so many layers are trained, with final norm and head; None: as the rest says
    frozen_dtype: ComputeDtype = ComputeDtype.FLOAT32  # in which matrices are stored that aren't trained


def targets_of(tuning: TuningConfig, model: ModelConfig) -> tuple[str, ...]:
    """The projections that get an adapter, in the order of ``PROJECTIONS``."""
    there = [name for name in PROJECTIONS if name != "gate" or model.gated_mlp]
    return tuple(name for name in there if name in (tuning.lora_targets or PROJECTIONS))


def checks_of_tuning(tuning: TuningConfig, model: ModelConfig) -> Iterator[tuple[str, bool, str]]:
    """Of each field its name in the config, whether it can be right, and what would be."""
    yield "tuning.lora_rank", tuning.lora_rank >= 0, "at least 0, which is no adapters"
    yield "tuning.lora_alpha", 0 < tuning.lora_alpha < math.inf, "a finite number above 0"
    known = targets_of(TuningConfig(), model)
    right = f"some of {', '.join(known)}, each once, or empty for all of them"
    named = tuning.lora_targets
    yield "tuning.lora_targets", set(named) <= set(known) and len(set(named)) == len(named), right
    yield "tuning.lora_targets", not named or tuning.lora_rank > 0, "empty, as tuning.lora_rank is 0"
    unscaled = TuningConfig().lora_alpha
    right = f"left at {unscaled}, as tuning.lora_rank is 0"
    yield "tuning.lora_alpha", tuning.lora_alpha == unscaled or tuning.lora_rank > 0, right
    last = tuning.last_layers
    yield "tuning.last_layers", last is None or 1 <= last <= model.layers, f"in 1..{model.layers}, or None"
    alone = last is None or (tuning.lora_rank == 0 and not tuning.trained)
    yield "tuning.last_layers", alone, "None where there are adapters or tuning.trained says what is trained"
    whole = tuning.frozen_dtype is ComputeDtype.FLOAT32
    freezes = tuning.lora_rank > 0 or bool(tuning.trained) or last is not None
    right = "float32, as nothing is frozen: none of tuning.lora_rank, tuning.trained and tuning.last_layers is given"
    yield "tuning.frozen_dtype", whole or freezes, right
