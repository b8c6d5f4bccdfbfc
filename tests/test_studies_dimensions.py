"""Mixtures are made as they say, accuracies are those of their definition, and the figure is drawn."""

import dataclasses

import numpy as np
import pytest

from experiments import dimensions, hh_base
from rmjax.preferences.record import Comparison, Preference, Source
from studies.dimensions import (
    ALONE,
    DIMENSIONS,
    HEADS,
    LONGER,
    MIXED,
    MIXTURE,
    Remembering,
    accuracy,
    capped,
    configured,
    figure,
    mixed,
    picture,
    synthetic,
)  # fmt: skip

SHARES = (0.0, 0.25, 0.5, 1.0)


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


def test_a_cap_is_the_same_in_any_order_and_of_more():
    pairs = [pair(number, "x") for number in range(60)]
    found = capped(pairs, 20)
    assert len(found) == 20
    assert found == capped(pairs[::-1], 20) == capped(capped(pairs, 40), 20)
    assert found != tuple(pairs[:20])
    kept = {entry.prompt for entry in capped([pair(number, "y", 0.0) for number in range(60)], 20)}
    assert kept == {entry.prompt for entry in found}  # whatever they were judged on


@pytest.mark.parametrize("base", [dimensions, hh_base])
def test_a_head_has_as_many_comparisons_in_a_step_as_a_model_of_its_own(base):
    config = base.get_config()
    assert configured(config, heads=False) == config
    found = configured(config, heads=True)
    assert found.model.reward_heads == DIMENSIONS
    assert (found.steps, found.batch.rows) == (config.steps, 3 * config.batch.rows)


def test_rewards_are_computed_once_for_the_same_texts_and_anew_for_others():
    asked = []

    class Counting:
        def rewards(self, preferences):
            asked.append([entry.prompt for entry in preferences])
            return [np.full((2, 1), len(asked))]

    model = Remembering(Counting())
    one, judged_otherwise, other = (pair(0, "x"),), (pair(0, "y", 0.0),), (pair(1, "x"),)
    found = [model.rewards(entries)[0][0, 0] for entries in (one, judged_otherwise, other, one)]
    assert found == [1, 1, 2, 1]
    assert asked == [["prompt 0"], ["prompt 1"]]


def test_the_seed_is_that_of_prompts_labels_and_weights(monkeypatch):
    monkeypatch.setattr("studies.dimensions.TRAIN_PROMPTS", 20)
    monkeypatch.setattr("studies.dimensions.TEST_PROMPTS", 10)
    config = dimensions.get_config()
    config.seed = 5
    one, other = synthetic(config), synthetic(dataclasses.replace(config, seed=6))
    for dimension in DIMENSIONS:
        assert one.train[dimension] != other.train[dimension]
        assert {entry.prompt for entry in one.train[dimension]} == {entry.prompt for entry in one.train["brevity"]}
        assert {entry.prompt for entry in one.test[dimension]}.isdisjoint(
            entry.prompt for entry in one.train[dimension]
        )


@pytest.mark.parametrize("worlds", [("testbed",), ("testbed", "HH")])
def test_the_figure_has_each_accuracy_in_its_cell_and_a_line_for_each_dimension(worlds):
    rows = [row for world in worlds for row in rows_of(world)]
    axes = figure(rows).axes
    assert len(axes) == 3 * len(worlds)
    for place, world in enumerate(worlds):
        alone, heads, mixtures = axes[3 * place : 3 * place + 3]
        for panel, kinds in ((alone, (ALONE, LONGER)), (heads, (HEADS,))):
            own = [row for row in rows if row["world"] == world and row["kind"] in kinds]
            said = {text.get_position(): text.get_text() for text in panel.texts}
            places = {name: line for line, name in enumerate([*DIMENSIONS, LONGER])}
            assert said == {(places[row["tested"]], places[row["trained"]]): f"{row['accuracy']:.3f}" for row in own}
            assert panel.get_title().startswith(f"{world}: {kinds[0].split(',')[0]}")
        lines = {one.get_label(): list(one.get_ydata()) for one in mixtures.lines if one.get_label()[0] != "_"}
        assert lines["tested on helpfulness"] == pytest.approx([0.5 + share / 10 for share in SHARES])
        assert lines["tested on harmlessness"] == pytest.approx([0.4 + share / 10 for share in SHARES])
        assert mixtures.get_ylim()[1] > 0.7  # room for the legend above the highest interval, which ends at 0.65
    assert picture(rows).startswith(b"\x89PNG")


def rows_of(world: str) -> list[dict]:
    """Rows whose accuracies tell apart what was trained and what it was tested on."""
    rows = []
    for column, tested in enumerate(DIMENSIONS):
        said = {"world": world, "tested": tested}
        rows.append(said | {"kind": LONGER, "trained": LONGER} | numbers(0.2 + column / 100))
        for kind, value in ((ALONE, 0.3), (HEADS, 0.6)):
            rows += [
                said | {"kind": kind, "trained": name} | numbers(value + line / 10 + column / 100)
                for line, name in enumerate(DIMENSIONS)
            ]
        if tested in MIXED:
            for share in SHARES:
                about = {"kind": MIXTURE, "trained": str(share), "share": share}
                rows.append(said | about | numbers((0.5, 0.4)[column] + share / 10))
    return rows


def numbers(value: float) -> dict[str, float]:
    return {"accuracy": value, "low": value - 0.05, "high": value + 0.05}
