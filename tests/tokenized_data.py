"""Random tokenized preferences for tests: arrays without a tokenizer, with groups of any size."""

import numpy as np

from rmjax.batches.lengths import GroupLengths
from rmjax.batches.tokenized import TokenizedPreferences


def random_tokenized(
    seed: int,
    *,
    groups: int = 40,
    most_responses: int = 5,
    longest_prompt: int = 12,
    longest_response: int = 8,
    vocabulary: int = 4,
    all_pairs: bool = False,
    melted: int = 0,
) -> TokenizedPreferences:
    """Groups of 2 to ``most_responses`` responses with comparisons between some; a small vocabulary makes responses
    that begin alike, so that shared prefixes are longer than prompts. Where up to ``melted`` of a prompt's last tokens
    make other tokens with the response, as words grow together, prefixes are shorter too, and differ inside a group."""
    random = np.random.default_rng(seed)
    conversations, group_sizes, comparison_counts, pairs = [], [], [], []
    for _ in range(groups):
        prompt = random.integers(2, 2 + vocabulary, random.integers(0, longest_prompt + 1))
        count, first = int(random.integers(2, most_responses + 1)), len(conversations)
        for _ in range(count):
            own = random.integers(2, 2 + vocabulary, random.integers(0, longest_response))
            kept = prompt[: len(prompt) - int(random.integers(0, melted + 1))] if melted else prompt
            conversations.append(np.concatenate([kept, own, [1]]).astype(np.int32))
        every = [(first + left, first + right) for left in range(count) for right in range(left)]
        chosen = every if all_pairs else [every[i] for i in random.permutation(len(every))[: random.integers(1, 4)]]
        group_sizes.append(count)
        comparison_counts.append(len(chosen))
        pairs.extend(chosen)
    comparisons = len(pairs)
    return TokenizedPreferences(
        tokens=np.concatenate(conversations),
        response_offsets=np.cumsum([0, *map(len, conversations)]),
        group_offsets=np.cumsum([0, *group_sizes]),
        comparison_offsets=np.cumsum([0, *comparison_counts]),
        left=np.array(pairs)[:, 0],
        right=np.array(pairs)[:, 1],
        head=random.integers(0, 3, comparisons).astype(np.int32),
        probability=random.random(comparisons, np.float32),
        margin=random.normal(size=comparisons).astype(np.float32),
        weight=random.random(comparisons, np.float32) + np.float32(0.1),
        response_origin=_origins(group_sizes),
        comparison_origin=_origins(comparison_counts),
    )


def _origins(counts: list[int]) -> np.ndarray:
    """(number of the group, number inside the group) of each entry."""
    return np.array([(group, index) for group, count in enumerate(counts) for index in range(count)], np.int32)


def lengths_of(prefix, own, group_offsets, comparison_offsets, *, left, right):
    """Groups in which all responses share the prefix and none shares more with another."""
    sizes = np.diff(group_offsets)
    common = np.repeat(prefix, sizes)
    common[group_offsets[:-1]] = 0
    return GroupLengths(
        whole=own + np.repeat(prefix, sizes),
        place=np.arange(len(own)),
        common=common,
        group_offsets=group_offsets,
        comparison_offsets=comparison_offsets,
        left=left,
        right=right,
        response_origin=np.stack([np.repeat(np.arange(len(sizes)), sizes), np.arange(len(own))], 1),
        comparison_origin=np.stack([np.arange(len(left)), np.zeros_like(left)], 1),
    )
