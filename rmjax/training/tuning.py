"""Which parameters are trained, by ``config.tuning``: the tree of parameters cut in two, and put together again.

Gradients and the optimizer's state are of the trained part alone. Parameters of all layers are stacked, so of those the
last layers alone may be trained: the first are cut off along the first axis.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax.traverse_util import unflatten_dict

from rmjax.config import ConfigError, ExperimentConfig, TuningConfig
from rmjax.model_config import ComputeDtype
from rmjax.models.lora import Adapters, Names, is_adapter, leaves_of
from rmjax.models.reward import Params, RewardModel, init
from rmjax.models.shape import model_shape
from rmjax.training.optimizer import decays
from rmjax.tuning_config import targets_of

LAYERS: Names = ("backbone", "layers")
HEAD, FINAL_NORM = "reward_head", "final_norm"


def adapters_of(config: ExperimentConfig) -> Adapters | None:
    """Those of the experiment's model; None where it has none."""
    tuning = config.tuning
    if tuning.lora_rank == 0:
        return None
    targets = targets_of(tuning, config.model)
    return Adapters(rank=tuning.lora_rank, alpha=tuning.lora_alpha, targets=targets)


def check_tuning(config: ExperimentConfig) -> None:
    """ConfigError for an entry of ``tuning.trained`` that no parameter of the model begins with, and for a dtype of
    frozen matrices where all of them are trained."""
    if not config.tuning.trained:
        return
    model = RewardModel(model_shape(config.model, adapters_of(config)), vocabulary_size=1)
    params = jax.eval_shape(lambda: init(model, jax.random.PRNGKey(0)))
    trained, dtype = trained_from(params, config.tuning), config.tuning.frozen_dtype
    frozen = [names for names, matrix in leaves_of(decays(params)).items() if matrix and names not in trained]
    if dtype is not ComputeDtype.FLOAT32 and not frozen:
        raise ConfigError(
            f"config.tuning.frozen_dtype is {dtype.value!r}; it must be 'float32', as all matrices are trained by "
            f"config.tuning.trained = {config.tuning.trained!r}"
        )


def trained_from(params: Params, tuning: TuningConfig) -> dict[Names, int]:
    """The names of all parameters that are trained, each with the first of its layers that is (0: all of it)."""
    leaves = leaves_of(params)
    if tuning.last_layers is not None:
        layered = {names: leaf.shape[0] - tuning.last_layers for names, leaf in leaves.items() if names[:2] == LAYERS}
        return layered | {names: 0 for names in leaves if names[0] in (FINAL_NORM, HEAD)}
    beginnings = [tuple(entry.strip("/").split("/")) for entry in tuning.trained]
    for entry, beginning in zip(tuning.trained, beginnings, strict=True):
        if not any(names[: len(beginning)] == beginning for names in leaves):
            raise ConfigError(f"config.tuning.trained has {entry!r}, with which no parameter begins; {_there(leaves)}")
    if not beginnings and tuning.lora_rank == 0:
        return dict.fromkeys(leaves, 0)
    beginnings = beginnings or [(HEAD,)]
    return {
        names: 0
        for names in leaves
        if is_adapter(names) or any(names[: len(beginning)] == beginning for beginning in beginnings)
    }


def _there(leaves: dict[Names, Any]) -> str:
    """The beginnings that would be right, in words."""
    beginnings = {"/".join(names[:length]) for names in leaves for length in range(1, len(names) + 1)}
    return f"those there are: {', '.join(sorted(beginnings))}"


def of_trained(tree: Any, trained: dict[Names, int]) -> Any:
    """The entries of a tree like that of the parameters where these are trained, as they are."""
    leaves = leaves_of(tree)
    return unflatten_dict({names: leaves[names] for names in trained})


def split(params: Params, tuning: TuningConfig) -> tuple[Params, Params]:
    """(what is trained, what is not): two trees of the same names, which hold different layers where both have one."""
    leaves, trained = leaves_of(params), trained_from(params, tuning)
    kept = {names: leaf for names, leaf in leaves.items() if names not in trained}
    kept |= {names: leaves[names][:first] for names, first in trained.items() if first > 0}
    moving = {names: leaves[names][first:] if first else leaves[names] for names, first in trained.items()}
    return unflatten_dict(moving), unflatten_dict(kept)


def join(trained: Any, frozen: Any) -> Params:
    """The inverse of ``split``."""
    leaves, kept = leaves_of(trained), leaves_of(frozen)
    both = {names: jnp.concatenate([kept[names], leaves[names]]) for names in kept if names in leaves}
    return unflatten_dict(kept | leaves | both)


def stored(params: Params, tuning: TuningConfig) -> Params:
    """With matrices that are not trained in ``tuning.frozen_dtype``; a stack of layers trained in part stays."""
    trained, dtype = trained_from(params, tuning), jnp.dtype(tuning.frozen_dtype.value)
    matrices = leaves_of(decays(params))
    cast = {
        names: leaf.astype(dtype) if matrices[names] and names not in trained else leaf
        for names, leaf in leaves_of(params).items()
    }
    return unflatten_dict(cast)
