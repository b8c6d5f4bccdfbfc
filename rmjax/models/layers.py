"""A layer of the backbone and its parts: norms, projections, attention and the MLP.

By default they are Llama's: RMSNorm before each branch (Zhang and Sennrich, 2019, arXiv 1910.07467), rotary positions,
grouped-query attention and a SiLU-gated MLP (Shazeer, 2020, arXiv 2002.05202). The fields of ModelConfig say what else
there is.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.nn.initializers import Initializer
from jaxtyping import Bool, Float, Int

from rmjax.arrays import Array
from rmjax.model_config import Activation, Norm
from rmjax.models.attention import Attention
from rmjax.models.axes import laid_out, named
from rmjax.models.lora import Adapter, adapter_name
from rmjax.models.rotary import Rotation, rotate
from rmjax.models.shape import ModelShape

PROJECTION_INITIALIZER = nn.initializers.variance_scaling(1.0, "fan_in", "normal")
# Queries start at zero, so each token begins as the plain mean of what it sees, and what its words are worth is learned
# before where to look (as Yang et al., 2022, arXiv 2203.03466, appendix D.2, advise).
QUERY_INITIALIZER = nn.initializers.zeros

ACTIVATIONS: dict[Activation, Callable[[Array], Array]] = {
    Activation.SILU: nn.silu,
    Activation.GELU: functools.partial(nn.gelu, approximate=False),
    Activation.GELU_TANH: functools.partial(nn.gelu, approximate=True),
}


class Places(NamedTuple):
    """Where the tokens of the rows are: the same for all layers.

    Attributes:
      rotations: of layers that see all and of layers with a window; None where positions are learned.
    """

    rotations: tuple[Rotation, Rotation] | None
    positions: Int[Array, "rows length"]
    visible_until: Int[Array, "rows length"]


class RMSNorm(nn.Module):
    """Divides by the root mean square of the last axis and scales, in float32; the answer has ``dtype``.

    With ``offset`` the scale is one more than the parameter.
    """

    epsilon: float
    dtype: jnp.dtype
    offset: bool = False

    @nn.compact
    def __call__(self, values: Float[Array, "*rest width"]) -> Float[Array, "*rest width"]:
        start = nn.initializers.zeros if self.offset else nn.initializers.ones
        scale = self.param("scale", named(start, "norm"), (values.shape[-1],), jnp.float32)
        scale = scale + 1 if self.offset else scale
        values = values.astype(jnp.float32)
        mean_square = jnp.square(values).mean(axis=-1, keepdims=True)
        return (values * (scale / jnp.sqrt(mean_square + self.epsilon))).astype(self.dtype)


def make_norm(shape: ModelShape, name: str, dtype: jnp.dtype) -> nn.Module:
    """The norm of the model, whose answer has that dtype."""
    if shape.norm is Norm.RMS:
        return RMSNorm(shape.norm_epsilon, dtype, shape.norm_offset, name=name)
    return nn.LayerNorm(
        shape.norm_epsilon,
        dtype=dtype,  # of the answer; inside it is float32
        use_fast_variance=False,
        scale_init=named(nn.initializers.ones, "norm"),
        bias_init=named(nn.initializers.zeros, "norm"),
        name=name,
    )


class SelfAttention(nn.Module):
    """Query, key and value heads, turned by position; what each token sees, mixed; back to the width."""

    shape: ModelShape
    attention: Attention

    @nn.compact
    def __call__(
        self, hidden: Float[Array, "rows length width"], places: Places, sees_all: Bool[Array, ""]
    ) -> Float[Array, "rows length width"]:
        shape = self.shape
        rows, length, width = hidden.shape

        def heads(name: str, count: int, axis: str, initializer: Initializer) -> Float[Array, "rows length heads size"]:
            bias = axis if shape.projection_bias else None
            projected = _projection(name, count * shape.head_size, shape, initializer, ("width", axis), bias)(hidden)
            return projected.reshape(rows, length, count, shape.head_size)

        # Under a norm a query of zeros would have gradients as large as the norm's epsilon is small.
        start = PROJECTION_INITIALIZER if shape.query_key_norm else QUERY_INITIALIZER
        query = heads("query", shape.attention_heads, "heads", start)
        key = heads("key", shape.key_value_heads, "key_value_heads", PROJECTION_INITIALIZER)
        value = heads("value", shape.key_value_heads, "key_value_heads", PROJECTION_INITIALIZER)
        if shape.query_key_norm:
            query = make_norm(shape, "query_norm", shape.dtype)(query)
            key = make_norm(shape, "key_norm", shape.dtype)(key)
        if places.rotations is not None:
            by = _by_layer(shape, sees_all, *places.rotations)
            query, key = rotate(query, by), rotate(key, by)
        mixed = self._mixed(query, key, value, places, sees_all)
        bias = "features" if shape.output_bias else None
        return _residual("output", "heads", width, shape, bias)(mixed.reshape(rows, length, -1))

    def _mixed(self, query: Array, key: Array, value: Array, places: Places, sees_all: Bool[Array, ""]) -> Array:
        """By the rule of this layer. Where layers differ only the layer's own is computed."""
        shape = self.shape
        everywhere, nearby = (
            functools.partial(self.attention, rule=shape.score_rule(sees_all=every)) for every in (True, False)
        )
        seen = (query, key, value, places.visible_until, places.positions)
        if len(set(shape.sees_all)) == 1:
            return (everywhere if shape.sees_all[0] else nearby)(*seen)
        return jax.lax.cond(sees_all, everywhere, nearby, *seen)


def _by_layer(shape: ModelShape, sees_all: Bool[Array, ""], everywhere: Rotation, nearby: Rotation) -> Rotation:
    """The rotation of this layer."""
    if shape.local_rope_theta is None or all(shape.sees_all):
        return everywhere
    cosine, sine = (jnp.where(sees_all, *both) for both in zip(everywhere, nearby, strict=True))
    return cosine, sine


class MLP(nn.Module):
    """``down(act(gate(x)) * up(x))``, or without a gate ``down(act(up(x)))``."""

    shape: ModelShape

    @nn.compact
    def __call__(self, hidden: Float[Array, "rows length width"]) -> Float[Array, "rows length width"]:
        shape = self.shape
        axes, activation = ("width", "mlp"), ACTIVATIONS[shape.activation]
        bias, back = ("mlp", "features") if shape.mlp_bias else (None, None)
        up = _projection("up", shape.mlp_width, shape, PROJECTION_INITIALIZER, axes, bias)(hidden)
        if shape.gated_mlp:
            gate = _projection("gate", shape.mlp_width, shape, PROJECTION_INITIALIZER, axes, bias)(hidden)
            inner = activation(gate) * up
        else:
            inner = activation(up)
        inner = laid_out(inner, "rows", "length", "mlp")
        return _residual("down", "mlp", hidden.shape[-1], shape, back)(inner)


class Layer(nn.Module):
    """Two residual branches: attention, and the MLP after it or beside it. Carries the hidden states through a scan."""

    shape: ModelShape
    attention: Attention

    @nn.compact
    def __call__(
        self, hidden: Float[Array, "rows length width"], places: Places, sees_all: Bool[Array, ""]
    ) -> tuple[Float[Array, "rows length width"], None]:
        shape = self.shape
        dropout = nn.Dropout(shape.dropout, deterministic=not self.has_rng("dropout"))

        def normed(name: str, values: Array) -> Array:
            return make_norm(shape, name, shape.dtype)(values)

        def after(name: str, branch: Array) -> Array:
            return dropout(normed(name, branch) if shape.post_norms else branch)

        attend = SelfAttention(shape, self.attention, name="attention_branch")
        attended = after("attention_post_norm", attend(normed("attention_norm", hidden), places, sees_all))
        read = hidden if shape.parallel_branches else laid_out(hidden + attended, "rows", "length", "features")
        computed = after("mlp_post_norm", MLP(shape, name="mlp_branch")(normed("mlp_norm", read)))
        hidden = read + attended + computed if shape.parallel_branches else read + computed
        return laid_out(hidden, "rows", "length", "features"), None


def _projection(
    name: str, features: int, shape: ModelShape, initializer: Initializer, axes: tuple[str, str], bias: str | None
) -> Callable[[Array], Array]:
    """A matrix between the named axes, with a bias along another where there is one, and an adapter where the model has
    one."""
    dense = nn.Dense(
        features,
        use_bias=bias is not None,
        dtype=shape.dtype,
        kernel_init=named(initializer, *axes),
        bias_init=named(nn.initializers.zeros, bias or ""),
        name=name,
        dot_general=_flat_product,
    )
    if shape.adapters is None or name not in shape.adapters.targets:
        return dense
    # Beside the Dense and not in it, so that the kernel starts as it would without: Flax counts within a module.
    adapter = Adapter(shape.adapters, axes, features, shape.dtype, name=adapter_name(name))
    return lambda inputs: dense(inputs) + adapter(inputs)


def _flat_product(values: Array, kernel: Array, dimensions: Any, **options: Any) -> Array:
    """``values @ kernel`` as a product of two matrices.

    XLA writes the gradient of a product over two axes (rows, length) as a transposed copy of one side and then a
    product; over one axis it needs no copy.
    """
    flat = jnp.matmul(values.reshape(-1, values.shape[-1]), kernel)
    return flat.reshape(*values.shape[:-1], kernel.shape[-1])


def _residual(name: str, axis: str, features: int, shape: ModelShape, bias: str | None) -> Callable[[Array], Array]:
    """A matrix from ``axis`` to the residual stream. It starts smaller, by sqrt(2 * layers), so that the stream of a
    deep model starts no larger than that of a shallow one (GPT-2)."""
    shrunk = nn.initializers.variance_scaling(0.5 / shape.layers, "fan_in", "normal")
    return _projection(name, features, shape, shrunk, (axis, "width"), bias)
