"""All that changes from step to step."""

from typing import Any, no_type_check

import flax.struct
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Int, UInt32

from rmjax.arrays import Array
from rmjax.config import TuningConfig
from rmjax.models.reward import Params, RewardModel, init
from rmjax.training.tuning import split, stored


@no_type_check  # jax makes one of shapes, and one of places, where arrays are meant to be
class TrainState(flax.struct.PyTreeNode):
    """One state goes into a step and one comes out.

    Attributes:
      step: how many steps have been taken, int32.
      params: all of the model's parameters; float32, but for those that ``tuning.frozen_dtype`` is for.
      opt_state: the optimizer's, of the parameters that are trained.
      key: never changes; the randomness of a step comes from it and the step's number, so a resumed run goes on alike.
    """

    step: Int[Array, ""]
    params: Params
    opt_state: Any
    key: UInt32[Array, "2"]


def new_state(
    model: RewardModel,
    optimizer: optax.GradientTransformation,
    seed: int,
    params: Params | None = None,
    tuning: TuningConfig | None = None,
) -> TrainState:
    """The state before the first step: a function of the seed, but for parameters that it begins with.

    Without ``tuning`` all parameters are trained.
    """
    init_key, key = jax.random.split(jax.random.PRNGKey(seed))
    tuning = tuning or TuningConfig()
    params = stored(init(model, init_key) if params is None else params, tuning)
    trained, _ = split(params, tuning)
    return TrainState(step=jnp.zeros((), jnp.int32), params=params, opt_state=optimizer.init(trained), key=key)


def all_finite(state: Any) -> bool:
    """Whether every floating-point array of a tree is free of NaN and infinity."""
    floats = [leaf for leaf in jax.tree.leaves(state) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    return bool(_all_finite(floats))


@jax.jit
def _all_finite(leaves: list[jax.Array]) -> jax.Array:
    return jnp.all(jnp.array([jnp.isfinite(leaf).all() for leaf in leaves]))
