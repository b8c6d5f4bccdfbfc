"""The config of a model as its modules have it: frozen."""

import dataclasses
from dataclasses import dataclass

import jax.numpy as jnp

from rmjax.model_config import Activation, AttentionKind, ComputeDtype, ModelConfig, Norm, Remat, RopeScaling
from rmjax.models.attention import ScoreRule
from rmjax.models.lora import Adapters


@dataclass(frozen=True, kw_only=True)
class ModelShape:
    """A ModelConfig that can't change, so that modules made of it can be hashed, compared and closed over by jit.

    Attributes:
      adapters: of the layers' projections, which are no part of the architecture; None for a model without.
    """

    width: int
    layers: int
    attention_heads: int
    key_value_heads: int
    head_size: int
    mlp_width: int
    attention: AttentionKind
    attention_window: int | None
    global_layers: tuple[int, ...]
    attention_softcap: float | None
    attention_scale: float | None
    query_key_norm: bool
    projection_bias: bool
    output_bias: bool
    rope_theta: float
    local_rope_theta: float | None
    rope_scaling: RopeScaling
    rope_factor: float
    rope_low_frequency: float
    rope_high_frequency: float
    rope_original_length: int
    rotary_size: int | None
    position_embeddings: int | None
    max_positions: int | None
    scaled_embedding: bool
    norm: Norm
    norm_epsilon: float
    norm_offset: bool
    post_norms: bool
    parallel_branches: bool
    gated_mlp: bool
    mlp_bias: bool
    activation: Activation
    dropout: float
    compute_dtype: ComputeDtype
    remat: Remat
    vocabulary_size: int | None
    unroll: int
    reward_heads: tuple[str, ...]
    ensemble: int
    ensemble_scale: float
    adapters: Adapters | None = None

    @property
    def dtype(self) -> jnp.dtype:
        """Of matrix products and activations."""
        return jnp.dtype(self.compute_dtype.value)

    @property
    def sees_all(self) -> tuple[bool, ...]:
        """Of each layer: whether its attention has no window."""
        return tuple(self.attention_window is None or layer in self.global_layers for layer in range(self.layers))

    def score_rule(self, *, sees_all: bool) -> ScoreRule:
        """Of layers with or without a window."""
        window = None if sees_all else self.attention_window
        return ScoreRule(scale=self.attention_scale, softcap=self.attention_softcap, window=window)


def model_shape(config: ModelConfig | ModelShape, adapters: Adapters | None = None) -> ModelShape:
    """The config as it is now, frozen, with adapters where they are given; equal ones give equal shapes."""
    if isinstance(config, ModelShape):
        return config if adapters is None else dataclasses.replace(config, adapters=adapters)
    fields = {part.name: getattr(config, part.name) for part in dataclasses.fields(config)}
    return ModelShape(**fields, adapters=adapters)
