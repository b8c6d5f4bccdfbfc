"""Rotary positions (Su et al., 2021, arXiv 2104.09864): the angles by which queries and keys are turned."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Float32, Int

from rmjax.arrays import Array
from rmjax.model_config import RopeScaling
from rmjax.models.shape import ModelShape

Rotation = tuple[Float[Array, "rows length 1 half"], Float[Array, "rows length 1 half"]]


def frequencies(shape: ModelShape, *, sees_all: bool) -> Float32[np.ndarray, "half"]:
    """The angle for each position of each pair of a head's numbers: ``theta**(-2k / size)``, scaled as the config says.

    In layers with a window it is made of ``local_rope_theta`` and not scaled, where there is one (Gemma 3).
    """
    size = shape.head_size if shape.rotary_size is None else shape.rotary_size
    local = None if sees_all else shape.local_rope_theta
    frequency = (shape.rope_theta if local is None else local) ** (-np.arange(0, size, 2) / size)
    if local is None and shape.rope_scaling is RopeScaling.LINEAR:
        frequency = frequency / shape.rope_factor
    if local is None and shape.rope_scaling is RopeScaling.LLAMA3:
        frequency = frequency * _llama3_share(frequency, shape)
    return frequency.astype(np.float32)


def _llama3_share(frequency: np.ndarray, shape: ModelShape) -> np.ndarray:
    """What is left of each frequency: 1 of the fast ones, 1 / ``rope_factor`` of the slow ones, between them a mixture
    that is linear in the turns that ``rope_original_length`` positions make (Llama 3.1's ``use_scaled_rope``)."""
    turns = shape.rope_original_length * frequency / (2 * math.pi)
    low, high = shape.rope_low_frequency, shape.rope_high_frequency
    fast = np.clip((turns - low) / (high - low), 0.0, 1.0)
    return fast + (1 - fast) / shape.rope_factor


def rotation(positions: Int[Array, "rows length"], frequency: Float32[np.ndarray, "half"]) -> Rotation:
    """Cosine and sine of the angle ``position * frequency`` for each pair of a head's numbers, float32."""

    def turned(frequency: Float[Array, "part"]) -> tuple[Array, Array]:
        angle = positions[:, :, None].astype(jnp.float32) * frequency
        return jnp.cos(angle), jnp.sin(angle)

    # In a loop, if only of two turns, because XLA keeps what a loop computes. Else it would compute the cosines anew at
    # each of their uses, head by head and layer by layer.
    parts = frequency.reshape(2, -1) if frequency.size % 2 == 0 else frequency[None]
    cosine, sine = (jnp.concatenate(list(part), axis=-1) for part in jax.lax.map(turned, jnp.asarray(parts)))
    return cosine[:, :, None], sine[:, :, None]


def rotate(heads: Float[Array, "rows length heads size"], by: Rotation) -> Float[Array, "rows length heads size"]:
    """Turns number k of each head against number k + half, in float32; numbers after the first ``2 * half`` stay."""
    cosine, sine = by
    half = cosine.shape[-1]
    first, second, *rest = jnp.split(heads.astype(jnp.float32), list(range(half, heads.shape[-1], half))[:2], axis=-1)
    turned = jnp.concatenate([first * cosine - second * sine, second * cosine + first * sine, *rest], axis=-1)
    return turned.astype(heads.dtype)
