"""The study of ratings and comparisons: who rates what, equal count and equal time, the figure."""

import dataclasses
import math

import numpy as np
import pytest

from rmjax.preferences.record import Comparison
from studies.labeling_time import DECIDING, PROMPT, RESPONSE
from studies.pairwise_vs_absolute import (
    ALONE,
    APART,
    COMPARED,
    COMPARISONS,
    COUNT,
    FOUR,
    MODELS,
    SEEDS,
    SPREADS,
    STANDARDIZED,
    Case,
    compared,
    drawn,
    judged,
    labeled_only,
    picture,
)
from studies.ratings import EYES, assigned, label_quality, rated, raters, standardized
from studies.testbed import compared_by, unjudged

PNG = b"\x89PNG"
DIMENSION = "harmlessness"
PAIRS = unjudged(DIMENSION, count=60)


def test_a_pair_is_rated_by_one_person_or_by_two():
    people = raters(DIMENSION, count=8, spread=1.0)
    for entry in PAIRS:
        first, second = assigned(people, entry, alone=True)
        assert first is second
        first, second = assigned(people, entry, alone=False)
        assert first is not second
    assert {assigned(people, entry, alone=True)[0].annotator for entry in PAIRS} == {one.annotator for one in people}


def test_a_rating_is_that_of_its_rater():
    people = raters(DIMENSION, count=4, spread=2.0)
    for entry, own in zip(PAIRS, rated(people, PAIRS, alone=False), strict=True):
        left, right = assigned(people, entry, alone=False)
        assert own == [left.rate(entry)[0], right.rate(entry)[1]]


def test_raters_see_a_difference_as_those_who_compare_do():
    logistic = 0.5 * math.pi / math.sqrt(3)  # the standard deviation of a logistic error of temperature 0.5
    assert math.hypot(EYES, EYES) == pytest.approx(logistic)
    assert all(rater.noise == pytest.approx(EYES * rater.scale) for rater in raters(DIMENSION, count=5, spread=2.0))


def test_raters_without_a_spread_have_one_scale():
    people = raters(DIMENSION, count=6, spread=0.0)
    assert {(rater.scale, rater.offset) for rater in people} == {(1.0, 0.0)}
    assert len({(rater.scale, rater.offset) for rater in raters(DIMENSION, count=6, spread=1.0)}) == 6


def test_labels_say_which_rating_is_higher():
    found = compared_by(PAIRS[:3], [[5.0, 2.0], [3.0, 3.0], [1.0, 7.0]])
    assert [entry.comparisons[0].probability for entry in found] == [1.0, 0.5, 0.0]


def test_labels_by_ratings_and_the_truth():
    pairs = [
        dataclasses.replace(
            PAIRS[0], utilities=utilities, comparisons=(Comparison(left=0, right=1, probability=label),)
        )
        for utilities, label in (((1.0, 0.0), 1.0), ((0.0, 1.0), 1.0), ((2.0, 1.0), 0.5), ((1.0, 1.0), 1.0))
    ]
    assert label_quality(pairs) == pytest.approx({"ties": 1 / 3, "right": 0.5})


def test_standardized_ratings_have_no_scale_of_their_own():
    people = raters(DIMENSION, count=3, spread=2.0)
    found = standardized(people, PAIRS, rated(people, PAIRS, alone=False), alone=False)
    for rater in people:
        own = [
            value
            for entry, values in zip(PAIRS, found, strict=True)
            for who, value in zip(assigned(people, entry, alone=False), values, strict=True)
            if who is rater
        ]
        assert np.mean(own) == pytest.approx(0, abs=1e-12)
        assert np.std(own) == pytest.approx(1)


def test_who_gives_all_responses_one_number_says_nothing_of_any():
    constant, other = raters(DIMENSION, count=2, spread=0.0)
    people = (dataclasses.replace(constant, offset=30.0), other)
    ratings = rated(people, PAIRS, alone=False)
    for entry, before, after in zip(PAIRS, ratings, standardized(people, PAIRS, ratings, alone=False), strict=True):
        place = [who is people[0] for who in assigned(people, entry, alone=False)].index(True)
        assert before[place] == 7
        assert after[place] == 0
        assert after[1 - place] != 0


def read_and_decided(case):
    """The seconds of all judgments, text by text: who judges several responses to a prompt reads it once."""
    prompts_read, responses, decisions = {
        COMPARED: (1, 2, 1),
        ALONE: (1, 2, 2),
        APART: (2, 2, 2),
        STANDARDIZED: (2, 2, 2),
        FOUR: (1, 4, 4),
    }[case.arm]
    return case.prompts * (prompts_read * PROMPT + responses * RESPONSE + decisions * DECIDING)


def test_budgets_are_equal():
    cases = {*MODELS, *labeled_only()}
    budget = Case(arm=COMPARED).seconds
    assert {case.arm for case in cases} == {COMPARED, ALONE, APART, STANDARDIZED, FOUR}
    for case in cases:
        seconds = read_and_decided(case)
        assert case.seconds == pytest.approx(seconds)
        if case.budget == COUNT:
            assert case.judgments == COMPARISONS
        else:
            assert budget - seconds / case.prompts < seconds <= budget + 1e-6
    assert len(set(MODELS)) == len(MODELS)


def test_those_that_differ_least_have_a_model_of_each_seed():
    for case in (Case(arm=COMPARED), Case(arm=ALONE, spread=2.0), *(Case(arm=FOUR, spread=2.0 * n) for n in range(2))):
        assert MODELS[case] == SEEDS
    assert all(set(seeds) <= set(SEEDS) and seeds for seeds in MODELS.values())


def test_a_seed_is_of_prompts_people_and_labels(monkeypatch):
    monkeypatch.setattr("studies.pairwise_vs_absolute.COMPARISONS", 30)
    for case in MODELS:
        first, again, other = (judged(case, DIMENSION, seed) for seed in (1, 1, 2))
        assert first == again
        assert {entry.prompt for entry in first}.isdisjoint(entry.prompt for entry in other)
        assert {len(entry.responses) for entry in first} == {case.responses}
    of_two = [[entry.prompt for entry in judged(case, DIMENSION, 1)] for case in MODELS if case.responses == 2]
    longest = max(of_two, key=len)
    assert all(prompts == longest[: len(prompts)] for prompts in of_two)
    one, other = (raters(DIMENSION, count=8, spread=2.0, seed=seed) for seed in (1, 2))
    assert not {rater.offset for rater in one} & {rater.offset for rater in other}


def test_those_who_choose_the_checkpoint_judge_other_pairs_than_are_learned_from():
    learned, held_out = (compared(DIMENSION, count=30, seed=1, scenes=scenes) for scenes in (1, 101))
    assert {entry.prompt for entry in learned}.isdisjoint(entry.prompt for entry in held_out)
    assert {pair.annotator for entry in held_out for pair in entry.comparisons} <= {f"annotator_{i}" for i in range(8)}


def test_the_figure_has_a_line_for_those_who_label_and_a_dot_for_each_seed_of_a_model():
    right = {ALONE: 0.9, APART: 0.8, STANDARDIZED: 0.85}
    rows = [
        {"arm": case.arm, "spread": case.spread, "trained": False, "right": right[case.arm] - 0.01 * case.spread * seed}
        for case in labeled_only()
        for seed in SEEDS
    ]
    for place, case in enumerate(MODELS):
        made = {"arm": case.arm, "budget": case.budget, "spread": case.spread, "trained": True, "right": 0.94}
        rows += [made | {"accuracy": 0.8 + 0.01 * place, "spearman": 0.7 + 0.001 * seed} for seed in MODELS[case]]
    labels, accuracy, spearman = drawn(rows).axes
    lines = {line.get_label(): np.array(line.get_ydata()).tolist() for line in labels.get_lines()}
    assert lines["comparison"] == pytest.approx([0.94, 0.94])
    for arm, value in right.items():
        assert lines[arm] == pytest.approx([value - 0.02 * spread for spread in SPREADS])
    assert labels.get_legend_handles_labels()[1] == [COMPARED, ALONE, APART, STANDARDIZED]
    for place, (dots, mean) in enumerate(zip(accuracy.get_lines()[::2], accuracy.get_lines()[1::2], strict=True)):
        assert np.array(dots.get_xdata()).tolist() == pytest.approx(
            [0.8 + 0.01 * place] * len(list(MODELS.values())[place])
        )
        assert np.array(mean.get_xdata()).tolist() == pytest.approx([0.8 + 0.01 * place])
        assert {*np.array(dots.get_ydata()), *np.array(mean.get_ydata())} == {place}
    assert np.array(spearman.get_lines()[0].get_xdata()).tolist() == pytest.approx([0.701, 0.702, 0.703])
    names = [label.get_text() for label in accuracy.get_yticklabels()]
    assert names[:2] == ["comparison", "one rater, four responses,\nequal time, spread 2"]
    assert len(set(names)) == len(MODELS)
    assert picture(rows).startswith(PNG)
