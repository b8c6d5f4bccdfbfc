"""AdamW (Loshchilov and Hutter, 2019, arXiv 1711.05101) with warmup, decay and clipping."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Float

from rmjax.arrays import Array
from rmjax.config import OptimizerConfig, Schedule
from rmjax.models.lora import A, B

LearningRate = Callable[[Any], Any]
MATRICES = ("kernel", "embedding", A, B)  # names of parameters


def learning_rate(config: OptimizerConfig, steps: int) -> LearningRate:
    """The learning rate of each step (counted from 0) of a run of so many steps.

    It rises in a line and reaches ``learning_rate`` at the last of ``warmup_steps`` steps (no step is wasted on a rate
    of zero), then falls to ``final_learning_rate`` times that, which it would reach at step ``steps``.
    """

    def at(step: Any) -> Float[Array, ""]:
        step = jnp.asarray(step, jnp.float32)
        warmup = jnp.minimum(1.0, (step + 1) / max(1, config.warmup_steps))
        progress = jnp.clip((step - config.warmup_steps) / max(1, steps - config.warmup_steps), 0.0, 1.0)
        shares = {
            Schedule.CONSTANT: 1.0,
            Schedule.LINEAR: 1.0 - progress,
            Schedule.COSINE: 0.5 + 0.5 * jnp.cos(jnp.pi * progress),
        }
        final = 1.0 if config.schedule is Schedule.CONSTANT else config.final_learning_rate
        share = final + (1.0 - final) * shares[config.schedule]
        return config.learning_rate * warmup * share

    return at


def decays(params: Any) -> Any:
    """True for matrices (kernels, embeddings, adapters), False for norm scales and biases, by the parameter's own name.

    The number of axes doesn't tell: parameters of all layers are stacked, so a norm's scale has two.
    """
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key in MATRICES, params)


def make_optimizer(config: OptimizerConfig, steps: int) -> optax.GradientTransformation:
    """Clips by the global norm, then AdamW; decay is decoupled and multiplied by the learning rate."""
    adamw = optax.adamw(
        learning_rate(config, steps),
        b1=config.b1,
        b2=config.b2,
        eps=config.epsilon,
        weight_decay=config.weight_decay,
        mask=decays,
        mu_dtype=jnp.dtype(config.first_moment_dtype.value),
    )
    clip = optax.identity() if config.clip_norm is None else optax.clip_by_global_norm(config.clip_norm)
    return optax.chain(clip, adamw)
