"""Mixtures are made as they say, accuracies are those of their definition, and the figure is drawn."""

import dataclasses

import numpy as np
import pytest

from rmjax.preferences.record import Comparison, Preference, Source
from studies.dimensions import ALONE, DIMENSIONS, LONGER, MIXED, MIXTURE, ROWS, SHARES, STEPS, accuracy, mixed, picture


def pair(number: int, dimension: str, probability: float = 1.0) -> Preference:
    return Preference(
        prompt=f"prompt {number}",
        responses=("one", "another"),
        comparisons=(Comparison(left=0, right=1, probability=probability),),
        dimension=dimension,
        source=Source.HUMAN,
    )


@pytest.mark.parametrize("share", SHARES)
def test_a_mixture_has_its_share_of_each_and_no_prompt_twice(share):
    train = {dimension: tuple(pair(number, dimension) for number in range(40)) for dimension in DIMENSIONS}
    found = mixed(train, share)
    assert len(found) == len({preference.prompt for preference in found}) == 40
    assert sum(preference.dimension == MIXED[0] for preference in found) == round(40 * share)
    assert {preference.dimension for preference in found} <= set(MIXED)


def test_the_accuracy_is_of_the_head_and_of_pairs_that_have_a_right_answer():
    pairs = [pair(0, "x", 1.0), pair(1, "x", 0.0), pair(2, "x", 0.5), pair(3, "x", 1.0)]
    rewards = [np.array([[1.0, 0.0], [0.0, 1.0]])] * 4
    assert accuracy(rewards, pairs).value == pytest.approx(2 / 3)
    assert accuracy(rewards, pairs, head=1).value == pytest.approx(1 / 3)
    same_prompt = [dataclasses.replace(entry, prompt="one") for entry in pairs]
    one, several = accuracy(rewards, same_prompt), accuracy(rewards, pairs)
    assert one.high - one.low > several.high - several.low


@pytest.mark.parametrize("worlds", [("testbed",), ("testbed", "HH")])
def test_the_figure_is_drawn(worlds):
    numbers = {"accuracy": 0.6, "low": 0.5, "high": 0.7}
    rows = []
    for world in worlds:
        for tested in DIMENSIONS:
            said = {"world": world, "tested": tested} | numbers
            rows.append({"kind": LONGER, "trained": LONGER} | said)
            rows += [{"kind": kind, "trained": name} | said for kind in (ALONE, STEPS, ROWS) for name in DIMENSIONS]
        for tested in MIXED:
            said = {"world": world, "tested": tested} | numbers
            rows += [{"kind": MIXTURE, "trained": str(share), "share": share} | said for share in SHARES]
    assert picture(rows).startswith(b"\x89PNG")
