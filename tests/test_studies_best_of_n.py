"""What the candidates are, what is said of a pick, and that the figure is drawn."""

import itertools
import re

import numpy as np
import pytest

from experiments import best_of_n
from rmjax.config import validate
from studies.best_of_n import (
    ALIKE,
    FROM,
    MEAN,
    PAIRS,
    PESSIMISTIC,
    REPEATING,
    REPEATS,
    SEEDS,
    SETS,
    TRUTH,
    WIDTHS,
    N,
    configured,
    curve,
    figure,
    gains,
    judged,
    picture,
    repeating,
    scores,
)  # fmt: skip
from studies.testbed import unjudged


class Members:
    """A model of three members that says of each response what it is told to, one head each."""

    def __init__(self, said):
        self.said = np.array(said, np.float32)[:, :, None, :]  # records, responses, members

    def members(self, records):
        return [self.said[place] for place, _ in enumerate(records)]


@pytest.fixture(scope="module")
def drawn():
    return np.random.default_rng(0).standard_normal((5, max(N)))


def test_the_pessimistic_score_is_one_spread_below_the_mean():
    said = [[[1, 1, 1], [0, 2, 4]], [[-1, 0, 1], [3, 3, 3]]]
    found = scores(Members(said), ["one", "another"])
    assert set(found) == {MEAN, PESSIMISTIC}
    assert found[MEAN] == pytest.approx(np.array([[1, 2], [0, 3]]))
    assert found[PESSIMISTIC] == pytest.approx(np.array([[1, 0], [-1, 3]]))


@pytest.mark.parametrize("width", WIDTHS)
def test_models_differ_in_their_size_and_seed_and_in_nothing_that_a_flag_could_set(width):
    config = best_of_n.get_config()
    own = configured(config, width, 7)
    validate(own)
    assert (own.seed, own.model.width, own.model.layers, config.seed) == (7, width, WIDTHS[width], 0)
    assert own.batch.rows * own.batch.row_length == config.batch.rows * config.batch.row_length
    for name in SETS:
        *parts, last = name.split(".")
        for part in (config, own):
            for step in parts:
                part = getattr(part, step)
            setattr(part, last, None)
    own.seed = config.seed
    assert own == config


def test_a_seed_is_that_of_prompts_and_of_labels():
    assert judged("harmlessness", 20, 3) == judged("harmlessness", 20, 3)
    one, other = ({pair.prompt for pair in judged("harmlessness", 20, seed)} for seed in (0, 1))
    assert one != other


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


def test_the_truth_gains_most_and_its_opposite_loses_as_much(drawn):
    best, worst = gains(drawn, drawn), gains(-drawn, drawn)
    assert np.allclose(best[:, 0], 0)
    assert (np.diff(best, axis=1) > 0).all()
    assert (np.diff(worst, axis=1) < 0).all()
    other = gains(np.random.default_rng(1).standard_normal(drawn.shape), drawn)
    assert ((worst <= other) & (other <= best))[:, 1:].all()
    assert gains(drawn, 3 * drawn + 7) == pytest.approx(best)  # in standard deviations


def test_a_curve_says_where_it_is_highest_and_what_is_lost_from_there():
    found = np.tile([0, 1, 2, 3, 4, 5, 4, 3, 1.0], (6, 1)) + np.arange(6)[:, None]
    said = curve([found, found + np.linspace(0, 0.8, 9)])
    assert said["highest_at"] == 32
    assert said["gain"] == pytest.approx((found + np.linspace(0, 0.4, 9)).mean(axis=0))
    assert said["lost"] == pytest.approx([2.8] * 3)  # the same of every prompt, so nothing is left to chance
    assert said["lost_of_seeds"] == [pytest.approx([3] * 3), pytest.approx([2.6] * 3)]
    assert np.array(said["gain_of_seeds"]).mean(axis=0) == pytest.approx(said["gain"])
    assert N[4] == FROM
    assert all(low < value < high for low, value, high in zip(said["low"], said["gain"], said["high"], strict=True))


def test_the_figure_has_a_line_for_each_score_and_a_dot_for_each_seed():
    rows = [{"score": TRUTH, **line(9.0)}]
    for place, (width, pairs, kind, score) in enumerate(
        itertools.product(WIDTHS, PAIRS, (ALIKE, REPEATING), (MEAN, PESSIMISTIC))
    ):
        rows.append({"width": width, "pairs": pairs, "candidates": kind, "score": score, **line(float(place))})
    names = ["true utility", *(f"width {width}, {score}" for width in WIDTHS for score in (MEAN, PESSIMISTIC))]
    axes = figure(rows).axes
    for panel, (kind, pairs) in zip(
        [*axes[: len(PAIRS)], *axes[len(PAIRS) + 1 : -1]], itertools.product((ALIKE, REPEATING), PAIRS), strict=True
    ):
        assert panel.get_title() == f"{pairs} pairs"
        assert [curve.get_label() for curve in panel.lines] == names
        for row in rows[1:]:
            if (row["candidates"], row["pairs"]) == (kind, pairs):
                (own,) = (one for one in panel.lines if one.get_label() == f"width {row['width']}, {row['score']}")
                assert list(own.get_ydata()) == row["gain"]
                assert own.get_linestyle() == ("-" if row["score"] == MEAN else "--")
    for panel, kind in ((axes[len(PAIRS)], ALIKE), (axes[-1], REPEATING)):
        own = [row for row in rows if row.get("candidates") == kind]
        dots = [one for one in panel.lines if one.get_marker() == "."]
        assert [list(one.get_ydata()) for one in dots] == [[one[0] for one in row["lost_of_seeds"]] for row in own]
        squares = [one for one in panel.lines if one.get_marker() == "s"]
        assert [one.get_ydata()[0] for one in squares] == [row["lost"][0] for row in own]
    assert picture(rows).startswith(b"\x89PNG")


def line(height: float) -> dict:
    """What a curve says, all of whose numbers are told apart by their height."""
    return {
        "gain": [height] * len(N),
        "lost": [height, height - 1, height + 1],
        "gain_of_seeds": [[height + seed] * len(N) for seed in range(SEEDS)],
        "lost_of_seeds": [[height + seed, height - 1, height + 1] for seed in range(SEEDS)],
    }
