"""Token lengths like those of HH's pairs, for benchmarks that run where the data is not.

The quantiles are those of the pairs that ``benchmarks.workload`` takes from HH (helpful-base and harmless-base, train,
8k BPE). Prompt and responses are drawn apart from each other: in HH they correlate little (0.14, the two responses
0.29). No response is the end token alone. Padded to batches of 16 pairs, these lengths are 4.7 times as many tokens as
the distinct ones, as HH's are.
"""

import numpy as np
from jaxtyping import Int

from benchmarks.workload import LONGEST, Pairs, as_pairs

_LEVELS = (0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 1)
_SHARED = (9, 16, 18, 24, 48, 75, 103, 132, 166, 216, 303, 382, 484, 589, 680, 1011)
_OWN = (2, 7, 10, 15, 21, 28, 36, 46, 59, 77, 109, 149, 210, 261, 273, 911)
_FIRST_FREE = 2  # token 0 pads, token 1 ends


def draw_lengths(count: int, *, seed: int) -> Int[np.ndarray, "pairs 3"]:
    """Of so many pairs: the shared tokens, those of the chosen and those of the rejected response. No conversation is
    longer than ``LONGEST``."""
    random = np.random.default_rng(seed)
    shared = np.interp(random.random((count, 1)), _LEVELS, _SHARED).astype(np.int64)
    own = np.interp(random.random((count, 2)), _LEVELS, _OWN).astype(np.int64)
    return np.hstack([shared, np.minimum(own, LONGEST - shared)])


def draw_pairs(count: int, vocabulary: int, *, seed: int) -> Pairs:
    """Pairs of such lengths, of random tokens and the end token; the two responses differ from their first token on."""
    random = np.random.default_rng(seed)
    conversations = []
    for shared, *own in draw_lengths(count, seed=seed).tolist():
        prompt = random.integers(_FIRST_FREE, vocabulary, shared)
        firsts = random.choice(np.arange(_FIRST_FREE, vocabulary), 2, replace=False)
        for first, length in zip(firsts, own, strict=True):
            rest = random.integers(_FIRST_FREE, vocabulary, length - 2)
            conversations.append(np.concatenate([prompt, [first], rest, [1]]))
    return as_pairs(conversations)
