"""What the candidates are, what is said of a pick, and that the figure is drawn."""

import itertools
import re

import numpy as np
import pytest

from studies.best_of_n import (
    ALIKE,
    FROM,
    MEAN,
    PAIRS,
    PESSIMISTIC,
    REPEATING,
    REPEATS,
    TRUTH,
    WIDTHS,
    N,
    curve,
    gains,
    picture,
    repeating,
)  # fmt: skip
from studies.testbed import unjudged


@pytest.fixture(scope="module")
def scores():
    return np.random.default_rng(0).standard_normal((5, max(N)))


def test_what_is_said_again_is_one_sentence_of_the_response_and_counts_for_nothing():
    (entry,) = unjudged("harmlessness", count=1, responses=200, every_pair=False, test=True)
    said = repeating(entry)
    assert said == repeating(entry)
    assert said.utilities == entry.utilities
    counts = []
    for before, after in zip(entry.responses, said.responses, strict=True):
        assert after.startswith(before)
        again = re.findall(r"[^.?!]+[.?!]", after[len(before) :])
        assert len(set(again)) <= 1
        assert all(sentence.strip() in before for sentence in again)
        counts.append(len(again))
    assert set(counts) == set(range(REPEATS + 1))


def test_the_truth_gains_most_and_its_opposite_loses_as_much(scores):
    best, worst = gains(scores, scores), gains(-scores, scores)
    assert np.allclose(best[:, 0], 0)
    assert (np.diff(best, axis=1) > 0).all()
    assert (np.diff(worst, axis=1) < 0).all()
    other = gains(np.random.default_rng(1).standard_normal(scores.shape), scores)
    assert ((worst <= other) & (other <= best))[:, 1:].all()
    assert gains(scores, 3 * scores + 7) == pytest.approx(best)  # in standard deviations


def test_a_curve_says_where_it_is_highest_and_what_is_lost_from_there():
    found = np.tile([0, 1, 2, 3, 4, 5, 4, 3, 1.0], (6, 1)) + np.arange(6)[:, None]
    said = curve(found)
    assert said["highest_at"] == 32
    assert said["gain"] == pytest.approx(found.mean(axis=0))
    assert said["lost"] == pytest.approx([3, 3, 3])  # the same of every prompt, so nothing is left to chance
    assert N[4] == FROM
    assert all(low < value < high for low, value, high in zip(said["low"], said["gain"], said["high"], strict=True))


def test_the_figure_is_a_picture(scores):
    line = curve(gains(scores, scores))
    rows = [{"score": TRUTH, **line}]
    rows += [
        {"width": width, "pairs": pairs, "candidates": kind, "score": score, **line}
        for width, pairs, kind, score in itertools.product(WIDTHS, PAIRS, (ALIKE, REPEATING), (MEAN, PESSIMISTIC))
    ]
    assert picture(rows).startswith(b"\x89PNG")
