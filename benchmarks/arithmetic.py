"""What a benchmark counts: the arithmetic that distinct tokens need."""

import numpy as np

from rmjax.batches.lengths import GroupLengths
from rmjax.model_config import ModelConfig
from rmjax.models.flops import training_flops


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


def training_on(model: ModelConfig, lengths: GroupLengths) -> float:
    """Floating-point operations of training on every group once, each distinct token once
    (``rmjax.models.flops.training_flops``).

    Norms, softmax, activations, the optimizer and whatever is computed twice or on padding count nothing.
    """
    return training_flops(model, tokens=float(distinct_tokens(lengths)), visible_pairs=float(visible_pairs(lengths)))
