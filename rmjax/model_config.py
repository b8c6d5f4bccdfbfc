"""What a model is made of, as a part of the config of an experiment (``rmjax.config``)."""

import enum
from dataclasses import dataclass


class ComputeDtype(enum.Enum):
    """The dtype of matrix products and activations; norms, softmax and reward head are float32 always."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


class AttentionKind(enum.Enum):
    """The implementation of attention; all give the same numbers."""

    AUTO = "auto"  # by the device that the model runs on
    DENSE = "dense"  # the whole score matrix: the reference
    LISTED = "listed"  # one needed pair of blocks after the other: for a CPU
    ABREAST = "abreast"  # all query blocks at once: for wide devices
    PALLAS = "pallas"  # kernels for TPU, and others for NVIDIA GPUs


class Remat(enum.Enum):
    """What the backward pass computes again instead of keeping."""

    NONE = "none"
    DOTS = "dots"  # all but the products of weights and activations
    FULL = "full"  # all but the input of each layer


@dataclass(kw_only=True, slots=True)
class ModelConfig:
    """A decoder-only transformer with a reward head."""

    width: int = 128
    layers: int = 4
    attention_heads: int = 4
    key_value_heads: int = 2
    head_size: int = 32
    mlp_width: int = 384
    attention: AttentionKind = AttentionKind.AUTO
    attention_window: int | None = None  # how many positions back a token sees, itself counted; None: all of them
    attention_softcap: float | None = None  # scores s become cap * tanh(s / cap), as in Gemma 2; None: as they are
    rope_theta: float = 10_000.0
    norm_epsilon: float = 1e-6
    dropout: float = 0.0  # of embeddings and residual branches, in training alone
    compute_dtype: ComputeDtype = ComputeDtype.FLOAT32
    remat: Remat = Remat.NONE
    unroll: int = 1  # layers in each turn of the scan over layers: more run faster on a CPU and compile longer
    reward_heads: tuple[str, ...] = ()  # one output for each named dimension; empty: one output for all comparisons
