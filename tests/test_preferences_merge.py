"""Merging loses no comparison and changes none."""

import random
from dataclasses import replace

import pytest

from rmjax.preferences.merge import merge_prompts
from rmjax.preferences.record import Comparison, Preference, RowError, Source


def random_preference(rng: random.Random) -> Preference:
    responses = tuple(rng.sample("abcde", rng.randint(2, 4)))
    comparisons = []
    for _ in range(rng.randint(1, 3)):
        left, right = rng.sample(range(len(responses)), 2)
        comparisons.append(Comparison(left=left, right=right, probability=rng.random(), margin=rng.random()))
    return Preference(
        prompt=rng.choice("PQ"),
        responses=responses,
        comparisons=tuple(comparisons),
        dimension=rng.choice(["helpfulness", "brevity"]),
        source=rng.choice([Source.HUMAN, Source.AI]),
        utilities=rng.choice([None, tuple(float(ord(response)) for response in responses)]),
        origin=f"line {rng.random()}",
    )


def judgments(preferences) -> list[tuple]:
    """All comparisons by what they compare, with everything that was said about it."""
    found = []
    for p in preferences:
        for comparison in p.comparisons:
            pair = p.responses[comparison.left], p.responses[comparison.right]
            utilities = p.utilities and (p.utilities[comparison.left], p.utilities[comparison.right])
            rest = replace(comparison, left=0, right=1)
            found.append((p.prompt, p.dimension, p.source.value, *pair, repr(utilities), repr(rest)))
    return sorted(found)


@pytest.mark.parametrize("seed", range(20))
def test_every_comparison_stays_what_it_was(seed):
    rng = random.Random(seed)
    preferences = [random_preference(rng) for _ in range(rng.randint(1, 30))]
    merged = merge_prompts(preferences)
    assert judgments(merged) == judgments(preferences)
    keys = [(p.prompt, p.dimension, p.source, p.utilities is None) for p in merged]
    assert keys == list(dict.fromkeys((p.prompt, p.dimension, p.source, p.utilities is None) for p in preferences))
    assert all(len(set(p.responses)) == len(p.responses) for p in merged)
    assert merge_prompts(merged) == merged


def test_a_response_with_two_utilities_is_an_error():
    first = replace(random_preference(random.Random(0)), responses=("a", "b"), utilities=(1.0, 2.0), origin="line 1")
    first = replace(first, comparisons=(Comparison(left=0, right=1),))
    with pytest.raises(RowError, match=r"line 2: field 'utilities\[1\]': utilities that differ: found 3\.0"):
        merge_prompts([first, replace(first, utilities=(1.0, 3.0), origin="line 2")])
