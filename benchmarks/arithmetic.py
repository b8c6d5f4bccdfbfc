"""What a benchmark counts: the arithmetic that distinct tokens need."""

import numpy as np

from rmjax.batches.lengths import GroupLengths
from rmjax.config import ModelConfig


def matmul_parameters(model: ModelConfig) -> int:
    """How many parameters each token is multiplied with: the matrices of all layers.

    The embedding is looked up and not multiplied; the reward head is, but only at the ends of responses, and is left
    out.
    """
    heads = model.head_size * (2 * model.attention_heads + 2 * model.key_value_heads)
    return model.layers * model.width * (heads + 3 * model.mlp_width)


def distinct_tokens(lengths: GroupLengths) -> int:
    """The tokens of all groups, each shared prefix once."""
    return int(lengths.prefix.sum() + lengths.own.sum())


def visible_pairs(lengths: GroupLengths) -> int:
    """How many (query, key) pairs attention must look at: a token sees itself, what is before it in its own response,
    and its group's prefix up to itself."""
    prefix = lengths.prefix.astype(np.int64)
    own = lengths.own.astype(np.int64)
    before = np.repeat(prefix, np.diff(lengths.group_offsets))
    return int((prefix * (prefix + 1) // 2).sum() + (own * before + own * (own + 1) // 2).sum())


def training_flops(model: ModelConfig, lengths: GroupLengths) -> float:
    """Floating-point operations of training on every group once, each distinct token once.

    ``6 * matmul_parameters * distinct_tokens + 12 * layers * heads * head_size * visible_pairs``: a multiplication and
    an addition for each parameter of a token, or for each of the ``heads * head_size`` numbers of a visible pair in
    the scores and again in the mix of values; once forward, twice backward. Norms, softmax, activations, the optimizer
    and whatever is computed twice or on padding count nothing.
    """
    mixed = 12.0 * model.layers * model.attention_heads * model.head_size * visible_pairs(lengths)
    return 6.0 * matmul_parameters(model) * distinct_tokens(lengths) + mixed
