"""What a model is made of, as a part of the config of an experiment (``rmjax.config``)."""

import enum
import math
from collections.abc import Iterator
from dataclasses import dataclass


class ComputeDtype(enum.Enum):
    """The dtype of matrix products and activations; norms, softmax and reward head are float32 always."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


# Flags of the commands that read trained models, in words.
DTYPE_READ_IN = (
    "Of products and activations. In bfloat16, faster on GPUs and TPUs, rewards vary with what is beside them."
)
LESS_SPREAD = "Of an ensemble: so many standard deviations of its members are taken from their mean."


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


class Norm(enum.Enum):
    """What stands before each branch of a layer, and before the reward head."""

    RMS = "rms"  # divides by the root mean square
    LAYER = "layer"  # takes the mean away first, and adds a bias


class Activation(enum.Enum):
    """The nonlinearity of the MLP."""

    SILU = "silu"
    GELU = "gelu"
    GELU_TANH = "gelu_tanh"  # its approximation by tanh


class RopeScaling(enum.Enum):
    """How rotary frequencies are slowed for texts longer than those that a model was first trained on."""

    NONE = "none"
    LINEAR = "linear"  # all of them, by rope_factor
    LLAMA3 = "llama3"  # the slow ones by rope_factor, the fast ones not at all, and those between by something between


@dataclass(kw_only=True, slots=True)
class ModelConfig:
    """A decoder-only transformer with a reward head; by default Llama's architecture."""

    width: int = 128
    layers: int = 4
    attention_heads: int = 4
    key_value_heads: int = 2
    head_size: int = 32
    mlp_width: int = 384
    attention: AttentionKind = AttentionKind.AUTO
    attention_window: int | None = None  # how many positions back a token sees, itself counted; None: all of them
    global_layers: tuple[int, ...] = ()  # layers (from 0) in which it sees all of them in spite of a window
    attention_softcap: float | None = None  # scores s become cap * tanh(s / cap), as in Gemma 2; None: as they are
    attention_scale: float | None = None  # of query . key; None: one over the square root of the head size
    query_key_norm: bool = False  # each head of them, before it is turned, as in Qwen3
    projection_bias: bool = False  # of query, key and value
    output_bias: bool = False  # of the matrix from the heads back to the width
    rope_theta: float = 10_000.0
    local_rope_theta: float | None = None  # of layers with a window; None: the same, scaled alike
    rope_scaling: RopeScaling = RopeScaling.NONE
    rope_factor: float = 1.0
    rope_low_frequency: float = 1.0  # of llama3: turns in rope_original_length below which a frequency is slow,
    rope_high_frequency: float = 4.0  # and above which it is fast
    rope_original_length: int = 8192
    rotary_size: int | None = None  # how many numbers of a head are turned, the first; None: all
    position_embeddings: int | None = None  # learned ones for so many positions, as in GPT-2, and nothing is turned
    max_positions: int | None = None  # that rotary ones are good for; None: as config.pretrained says, or any number
    scaled_embedding: bool = False  # times the square root of the width, as in Gemma
    norm: Norm = Norm.RMS
    norm_epsilon: float = 1e-6
    norm_offset: bool = False  # the scale of an RMS norm is 1 + its parameter, as in Gemma
    post_norms: bool = False  # norms after each branch too, as in Gemma 2
    parallel_branches: bool = False  # attention and MLP read the same hidden states, as in GPT-NeoX
    gated_mlp: bool = True
    mlp_bias: bool = False
    activation: Activation = Activation.SILU
    dropout: float = 0.0  # of embeddings and residual branches, in training alone
    compute_dtype: ComputeDtype = ComputeDtype.FLOAT32
    remat: Remat = Remat.NONE
    vocabulary_size: int | None = None  # rows of the embedding; None: as many as the tokenizer's ids need
    unroll: int = 1  # layers in each turn of the scan over layers: more run faster on a CPU and compile longer
    reward_heads: tuple[str, ...] = ()  # one output for each named dimension; empty: one output for all comparisons
    ensemble: int = 1  # members of each reward head, whose mean is its reward and whose spread says how sure that is
    ensemble_scale: float = 1.0  # of the members' initial weights: how far apart they start


# The fields that say how a model is computed, trained or read; all others are its architecture, which its weights fix.
NOT_ARCHITECTURE = (
    "attention", "max_positions", "dropout", "compute_dtype", "remat", "vocabulary_size", "unroll", "reward_heads",
    "ensemble", "ensemble_scale",
)  # fmt: skip


def checks_of_heads(model: ModelConfig) -> Iterator[tuple[str, bool, str]]:
    """Of each field of the reward heads its name in the config, whether it can be right, and what would be."""
    heads, fresh = model.reward_heads, ModelConfig().ensemble_scale
    yield "model.reward_heads", len(set(heads)) == len(heads), "names that differ from each other"
    yield "model.ensemble", model.ensemble >= 1, "at least 1, which is no ensemble"
    yield "model.ensemble_scale", 0 < model.ensemble_scale < math.inf, "a finite number above 0"
    apart = model.ensemble > 1 or model.ensemble_scale == fresh
    yield "model.ensemble_scale", apart, f"left at {fresh}, as model.ensemble is 1"


def fault_of_head(head: str | None, heads: tuple[str, ...], option: str = "--head") -> str | None:
    """What is wrong with a choice of a reward head among the model's, and what would be right; None if nothing is.

    A model of several heads needs a choice, one of a single head none; ``heads`` is empty where that has no name.
    ``option`` is what the choice is made by.
    """
    if head in heads or (head is None and len(heads) < 2):
        return None
    right = f"one of {', '.join(heads)}" if heads else "left out, it has a single one without a name"
    fault = "has several reward heads" if head is None else f"has no reward head {head!r}"
    return f"{fault}; {option} must be {right}"
