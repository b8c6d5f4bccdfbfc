"""The backbone: a decoder-only transformer over packed rows, from tokens to the hidden states of its last layer.

RMSNorm before each branch (Zhang and Sennrich, 2019, arXiv 1910.07467), rotary positions (Su et al., 2021, arXiv
2104.09864), grouped-query attention and a SiLU-gated MLP (Shazeer, 2020, arXiv 2002.05202), as in Llama.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.nn.initializers import Initializer
from jaxtyping import Float, Int

from rmjax.arrays import Array
from rmjax.model_config import AttentionKind, ComputeDtype, ModelConfig, Remat
from rmjax.models.attention import Attention, ScoreRule
from rmjax.models.axes import LAYERS, laid_out, named

Rotation = tuple[Float[Array, "rows length 1 half"], Float[Array, "rows length 1 half"]]


class Places(NamedTuple):
    """Where the tokens of the rows are: the same for all layers."""

    rotation: Rotation
    positions: Int[Array, "rows length"]
    visible_until: Int[Array, "rows length"]


# Embeddings start about as small as one residual branch, so that neither drowns the other in the first layers.
EMBEDDING_INITIALIZER = nn.initializers.variance_scaling(1.0, "fan_out", "normal")
PROJECTION_INITIALIZER = nn.initializers.variance_scaling(1.0, "fan_in", "normal")
# Queries start at zero, so each token begins as the plain mean of what it sees, and what its words are worth is learned
# before where to look (as Yang et al., 2022, arXiv 2203.03466, appendix D.2, advise).
QUERY_INITIALIZER = nn.initializers.zeros


@dataclass(frozen=True, kw_only=True)
class ModelShape:
    """A ModelConfig that can't change, so that modules made of it can be hashed, compared and closed over by jit."""

    width: int
    layers: int
    attention_heads: int
    key_value_heads: int
    head_size: int
    mlp_width: int
    attention: AttentionKind
    attention_window: int | None
    attention_softcap: float | None
    rope_theta: float
    norm_epsilon: float
    dropout: float
    compute_dtype: ComputeDtype
    remat: Remat
    unroll: int
    reward_heads: tuple[str, ...]

    @property
    def dtype(self) -> jnp.dtype:
        """Of matrix products and activations."""
        return jnp.dtype(self.compute_dtype.value)

    @property
    def score_rule(self) -> ScoreRule:
        """Of all layers."""
        return ScoreRule(softcap=self.attention_softcap, window=self.attention_window)


def model_shape(config: ModelConfig | ModelShape) -> ModelShape:
    """The config as it is now, frozen; equal configs give equal shapes."""
    if isinstance(config, ModelShape):
        return config
    return ModelShape(**{part.name: getattr(config, part.name) for part in dataclasses.fields(config)})


def rotation(positions: Int[Array, "rows length"], size: int, theta: float) -> Rotation:
    """Cosine and sine of the angle ``position * theta**(-2k / size)`` for each pair k of a head's numbers, float32."""
    frequency = theta ** (-jnp.arange(0, size, 2, dtype=jnp.float32) / size)

    def turned(frequency: Float[Array, "part"]) -> tuple[Array, Array]:
        angle = positions[:, :, None].astype(jnp.float32) * frequency
        return jnp.cos(angle), jnp.sin(angle)

    # In a loop, if only of two turns, because XLA keeps what a loop computes. Else it would compute the cosines anew at
    # each of their uses, head by head and layer by layer.
    parts = frequency.reshape(2, -1) if frequency.size % 2 == 0 else frequency[None]
    cosine, sine = (jnp.concatenate(list(part), axis=-1) for part in jax.lax.map(turned, parts))
    return cosine[:, :, None], sine[:, :, None]


def rotate(heads: Float[Array, "rows length heads size"], by: Rotation) -> Float[Array, "rows length heads size"]:
    """Turns number k of each head against number k + size/2, in float32."""
    cosine, sine = by
    first, second = jnp.split(heads.astype(jnp.float32), 2, axis=-1)
    turned = jnp.concatenate([first * cosine - second * sine, second * cosine + first * sine], axis=-1)
    return turned.astype(heads.dtype)


class RMSNorm(nn.Module):
    """Divides by the root mean square of the last axis and scales, in float32; the answer has ``dtype``."""

    epsilon: float
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, values: Float[Array, "*rest width"]) -> Float[Array, "*rest width"]:
        scale = self.param("scale", named(nn.initializers.ones, "norm"), (values.shape[-1],), jnp.float32)
        values = values.astype(jnp.float32)
        mean_square = jnp.square(values).mean(axis=-1, keepdims=True)
        return (values * (scale / jnp.sqrt(mean_square + self.epsilon))).astype(self.dtype)


class SelfAttention(nn.Module):
    """Query, key and value heads, turned by position; what each token sees, mixed; back to the width."""

    shape: ModelShape
    attention: Attention

    @nn.compact
    def __call__(self, hidden: Float[Array, "rows length width"], places: Places) -> Float[Array, "rows length width"]:
        shape = self.shape
        rows, length, width = hidden.shape

        def heads(
            name: str, count: int, axis: str, initializer: Initializer = PROJECTION_INITIALIZER
        ) -> Float[Array, "rows length heads size"]:
            projected = _projection(name, count * shape.head_size, shape, named(initializer, "width", axis))(hidden)
            return projected.reshape(rows, length, count, shape.head_size)

        query = rotate(heads("query", shape.attention_heads, "heads", QUERY_INITIALIZER), places.rotation)
        key = rotate(heads("key", shape.key_value_heads, "key_value_heads"), places.rotation)
        value = heads("value", shape.key_value_heads, "key_value_heads")
        mixed = self.attention(query, key, value, places.visible_until, places.positions, shape.score_rule)
        return _residual("output", "heads", width, shape)(mixed.reshape(rows, length, -1))


class GatedMLP(nn.Module):
    """``down(silu(gate(x)) * up(x))``."""

    shape: ModelShape

    @nn.compact
    def __call__(self, hidden: Float[Array, "rows length width"]) -> Float[Array, "rows length width"]:
        initializer = named(PROJECTION_INITIALIZER, "width", "mlp")
        gate = _projection("gate", self.shape.mlp_width, self.shape, initializer)(hidden)
        up = _projection("up", self.shape.mlp_width, self.shape, initializer)(hidden)
        gated = laid_out(nn.silu(gate) * up, "rows", "length", "mlp")
        return _residual("down", "mlp", hidden.shape[-1], self.shape)(gated)


class Layer(nn.Module):
    """Two residual branches: attention, then the gated MLP. Carries the hidden states through the scan."""

    shape: ModelShape
    attention: Attention

    @nn.compact
    def __call__(
        self, hidden: Float[Array, "rows length width"], places: Places
    ) -> tuple[Float[Array, "rows length width"], None]:
        shape = self.shape
        dropout = nn.Dropout(shape.dropout, deterministic=not self.has_rng("dropout"))
        normed = RMSNorm(shape.norm_epsilon, shape.dtype, name="attention_norm")(hidden)
        hidden += dropout(SelfAttention(shape, self.attention, name="attention_branch")(normed, places))
        hidden = laid_out(hidden, "rows", "length", "features")
        normed = RMSNorm(shape.norm_epsilon, shape.dtype, name="mlp_norm")(hidden)
        hidden += dropout(GatedMLP(shape, name="mlp_branch")(normed))
        return laid_out(hidden, "rows", "length", "features"), None


class Backbone(nn.Module):
    """Embeds tokens and runs the layers; the final norm is left to whoever reads the hidden states, of few tokens.

    The parameters of all layers are stacked on a first axis. Dropout works where a ``dropout`` key is given.
    """

    shape: ModelShape
    vocabulary_size: int
    attention: Attention

    @nn.compact
    def __call__(
        self,
        tokens: Int[Array, "rows length"],
        positions: Int[Array, "rows length"],
        visible_until: Int[Array, "rows length"],
    ) -> Float[Array, "rows length width"]:
        shape = self.shape
        embed = nn.Embed(
            self.vocabulary_size,
            shape.width,
            dtype=shape.dtype,
            embedding_init=named(EMBEDDING_INITIALIZER, "vocabulary", "embedding_width"),
            name="embedding",
        )
        embedded = _sent_to_rows(embed(laid_out(tokens, "lookup_rows", "length")))
        hidden = nn.Dropout(shape.dropout, deterministic=not self.has_rng("dropout"))(embedded)
        layers = nn.scan(
            _rematerialized(shape),
            variable_axes={"params": 0},
            split_rngs={"params": True, "dropout": True},
            in_axes=nn.broadcast,  # pyright: ignore[reportArgumentType] annotated as int, documented as this too
            length=shape.layers,
            unroll=min(shape.unroll, shape.layers),
            metadata_params=LAYERS,
        )
        places = Places(rotation(positions, shape.head_size, shape.rope_theta), positions, visible_until)
        hidden, _ = layers(shape, self.attention, name="layers")(hidden, places)
        return hidden


def _sent_to_rows(looked_up: Float[Array, "rows length width"]) -> Float[Array, "rows length width"]:
    """What was looked up in an embedding whose width is split over devices, laid out as the layers take it.

    Each device looks up its share of the width for the tokens of many rows, so the table and its gradient stay where
    they are, and only what was looked up is sent. In three steps, of each of which XLA makes one exchange.
    """
    for axes in (("lookup_rows", "embedding_width"), ("lookup_rows", "width"), ("rows", "features")):
        looked_up = laid_out(looked_up, axes[0], "length", axes[1])
    return looked_up


def _rematerialized(shape: ModelShape) -> type[Layer]:
    """The layer, whose backward pass computes again what ``remat`` says."""
    if shape.remat is Remat.NONE:
        return Layer
    # Products of weights and activations have no batch axes; those of attention, which grow with the square of the
    # length, have.
    policy = jax.checkpoint_policies.checkpoint_dots_with_no_batch_dims if shape.remat is Remat.DOTS else None
    # Inside a scan of several turns nothing can be merged with the forward pass, so remat needs no barrier against it.
    return nn.remat(Layer, prevent_cse=shape.unroll >= shape.layers, policy=policy)


def _projection(name: str, features: int, shape: ModelShape, initializer: Initializer) -> nn.Dense:
    """A matrix without bias."""
    return nn.Dense(
        features,
        use_bias=False,
        dtype=shape.dtype,
        kernel_init=initializer,
        name=name,
        dot_general=_flat_product,
    )


def _flat_product(values: Array, kernel: Array, dimensions: Any, **options: Any) -> Array:
    """``values @ kernel`` as a product of two matrices.

    XLA writes the gradient of a product over two axes (rows, length) as a transposed copy of one side and then a
    product; over one axis it needs no copy.
    """
    flat = jnp.matmul(values.reshape(-1, values.shape[-1]), kernel)
    return flat.reshape(*values.shape[:-1], kernel.shape[-1])


def _residual(name: str, axis: str, features: int, shape: ModelShape) -> nn.Dense:
    """A matrix from ``axis`` to the residual stream. It starts smaller, by sqrt(2 * layers), so that the stream of a
    deep model starts no larger than that of a shallow one (GPT-2)."""
    shrunk = nn.initializers.variance_scaling(0.5 / shape.layers, "fan_in", "normal")
    return _projection(name, features, shape, named(shrunk, axis, "width"))
