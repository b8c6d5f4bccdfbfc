"""The study of ratings and comparisons: who rates what, equal count and equal time, the figure."""

import dataclasses
import math

import numpy as np
import pytest

from rmjax.preferences.record import Comparison
from studies import pairwise_vs_absolute
from studies.pairwise_vs_absolute import APART, COMPARED, COUNT, FOUR, TIME, cases
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


def test_one_number_for_all_is_no_scale():
    people = raters(DIMENSION, count=2, spread=0.0)
    with pytest.raises(ValueError, match=r"annotator_\d gave all responses one rating"):
        standardized(people, PAIRS, [[4.0, 4.0]] * len(PAIRS), alone=False)


def test_budgets_are_equal():
    found = list(cases(10.0, 25.0))
    assert len(set(found)) == len(found)
    compared = next(case for case in found if case.arm == COMPARED)
    for case in found:
        if case.budget == COUNT:
            assert case.judgments == compared.judgments
        else:
            assert case.budget == TIME
            assert case.judgments * 10.0 == pytest.approx(compared.judgments * 25.0)
    assert {case.prompts * 2 for case in found if case.arm == APART} == {
        compared.judgments,
        compared.judgments * 5 // 2,
    }
    assert {case.prompts * 4 for case in found if case.arm == FOUR} == {compared.judgments * 5 // 2}


def test_the_figure_is_drawn_of_rows():
    numbers = {"right": 0.9, "accuracy": 0.85, "accuracy_low": 0.83, "accuracy_high": 0.87, "spearman": 0.8}
    rows = [{"arm": case.arm, "budget": case.budget, "spread": case.spread} | numbers for case in cases(16.0, 22.0)]
    assert pairwise_vs_absolute.picture(rows).startswith(PNG)
