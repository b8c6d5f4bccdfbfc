"""Merging loses no comparison and changes none."""

import random
from collections import Counter
from dataclasses import replace

import pytest

from rmjax.preferences.merge import merge_prompts, merge_sets
from rmjax.preferences.record import Comparison, Preference, PreferenceSet, RowError, Source


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
        fields=("prompt", *responses),
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
    assert all(p.fields in ((), ("prompt", *p.responses)) for p in merged)  # never those of other responses
    assert merge_prompts(merged) == merged


@pytest.mark.parametrize("seed", range(10))
def test_over_several_sets_a_group_lies_where_its_first_record_lay(seed):
    rng = random.Random(seed)
    sets = [
        PreferenceSet(
            spec=str(number),
            preferences=tuple(random_preference(rng) for _ in range(rng.randint(0, 9))),
            skipped=Counter(bad=number),
        )
        for number in range(4)
    ]
    merged = merge_sets(sets)
    assert [(one.spec, one.skipped) for one in merged] == [(one.spec, one.skipped) for one in sets]
    everything = [preference for one in sets for preference in one]
    assert tuple(preference for one in merged for preference in one) == merge_prompts(everything)
    origins = [{preference.origin for preference in one} for one in sets]
    assert all(p.origin.split(" and ")[0] in own for one, own in zip(merged, origins, strict=True) for p in one)


def test_a_response_with_two_utilities_is_an_error():
    first = replace(random_preference(random.Random(0)), responses=("a", "b"), utilities=(1.0, 2.0), origin="line 1")
    first = replace(first, comparisons=(Comparison(left=0, right=1),))
    with pytest.raises(RowError, match=r"line 2: field 'utilities\[1\]': utilities that differ: found 3\.0"):
        merge_prompts([first, replace(first, utilities=(1.0, 3.0), origin="line 2")])


def test_a_group_has_the_id_that_all_its_records_have():
    def record(name, prompt="Q"):
        comparisons = (Comparison(left=0, right=1),)
        return Preference(prompt=prompt, responses=("a", "b"), comparisons=comparisons, dimension="helpfulness",
                          source=Source.HUMAN, id=name)  # fmt: skip

    same, other = [record("x"), record("x")], [record("x", "P"), record(None, "P")]
    assert [merged.id for merged in merge_prompts([*same, *other])] == ["x", None]
