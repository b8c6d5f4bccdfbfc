"""Biases and tastes of simulated people: the stated probabilities, and nothing that depends on what stands beside."""

import dataclasses
import math

import numpy as np
import pytest

from rmjax.labeling.labeler import Labeler
from rmjax.labeling.simulated.crowd import SimulatedCrowd, simulated_crowd
from rmjax.labeling.simulated.labeler import SimulatedLabeler
from rmjax.preferences.record import Comparison, Preference, Side, Source

DRAWN = [1, 1, 0, 1, 0, 0, 1, 0, 1, 1, 1, 0, 0, 0, 0, 0, 1, 0, 0, 1, 1, 1, 0, 1]
PLAIN = SimulatedLabeler(dimension="helpfulness", temperature=0.7, error_rate=0.02)


def record(place: int, utilities: tuple[float, ...] = (0.4, 0.0), lengths: tuple[int, ...] = (1, 1)) -> Preference:
    return Preference(
        prompt=f"question {place}",
        responses=tuple(f"{index}" * length for index, length in enumerate(lengths)),
        comparisons=(Comparison(left=0, right=1, weight=0.5), Comparison(left=1, right=0)),
        dimension="helpfulness",
        source=Source.HUMAN,
        utilities=utilities,
        origin="here",
    )


@pytest.mark.parametrize("bias", [-0.8, 0.5, 2.0])
def test_the_position_bias_is_in_logits_for_the_first_shown(bias):
    labeler = dataclasses.replace(PLAIN, position_bias=bias, error_rate=0.0)
    for left, right in [(0.0, 0.0), (1.0, -1.0)]:
        for side, sign in [(Side.LEFT, 1), (Side.RIGHT, -1), (None, 0)]:
            logit = (left - right) / 0.7 + sign * bias
            assert labeler.probability(left, right, side) == pytest.approx(1 / (1 + math.exp(-logit)))
        turned = 1 - labeler.probability(right, left, Side.RIGHT)
        assert labeler.probability(left, right, Side.LEFT) == pytest.approx(turned)


def test_each_side_is_shown_first_half_of_the_time_and_wins_as_often_as_is_said():
    labeler = dataclasses.replace(PLAIN, position_bias=1.0)
    count = 3000
    made = [one for place in range(count) for one in labeler.judge(record(place, (0.0, 0.0))).comparisons]
    first = np.array([one.shown_first is Side.LEFT for one in made])
    won = np.array([one.probability == float(one.shown_first is Side.LEFT) for one in made])
    assert abs(first.mean() - 0.5) < 5 * 0.5 / math.sqrt(2 * count)
    stated = labeler.probability(0.0, 0.0, Side.LEFT)
    assert abs(won.mean() - stated) < 5 * math.sqrt(stated * (1 - stated) / (2 * count))
    assert {one.true_probability for one in made} == {stated, labeler.probability(0.0, 0.0, Side.RIGHT)}


def test_without_a_bias_nobody_is_shown_first_and_a_bias_leaves_the_draws_alone():
    """With the same random numbers, a bias changes only judgments that it is strong enough to change."""
    plain = [PLAIN.judge(record(place)) for place in range(300)]
    assert {one.shown_first for each in plain for one in each.comparisons} == {None}
    slight = dataclasses.replace(PLAIN, position_bias=1e-9)
    biased = [slight.judge(record(place)) for place in range(300)]
    pairs = [(a.probability, b.probability) for x, y in zip(plain, biased, strict=True)
             for a, b in zip(x.comparisons, y.comparisons, strict=True)]  # fmt: skip
    assert all(a == b for a, b in pairs)


def test_the_draws_of_plain_labelers_are_those_that_prepared_data_hold():
    """Data sets are made of these draws: they must never change."""
    drawn = [int(one.probability) for place in range(12) for one in PLAIN.judge(record(place)).comparisons]
    assert drawn == DRAWN


def test_length_is_seen_as_utility():
    labeler = dataclasses.replace(PLAIN, length_bias=0.01)
    assert labeler.seen(record(0, (1.0, 2.0), (100, 30))) == pytest.approx((2.0, 2.3))
    assert PLAIN.seen(record(0, (1.0, 2.0), (100, 30))) == (1.0, 2.0)


def test_a_taste_is_ones_own_and_stays():
    labeler = dataclasses.replace(PLAIN, taste=0.5)
    other = dataclasses.replace(labeler, seed=1)
    offsets = np.array([labeler.seen(record(place, (0.0, 0.0))) for place in range(2000)])
    assert abs(offsets.mean()) < 5 * 0.5 / math.sqrt(offsets.size)
    assert offsets.std() == pytest.approx(0.5, rel=0.05)
    others = np.array([other.seen(record(place, (0.0, 0.0))) for place in range(2000)])
    assert abs(np.corrcoef(offsets.ravel(), others.ravel())[0, 1]) < 5 / math.sqrt(offsets.size)
    # nothing but the prompt and the response itself matters
    more = dataclasses.replace(record(3), responses=("1", "something else"), utilities=(7.0, 0.0))
    assert labeler.seen(more)[0] - 7.0 == pytest.approx(offsets[3][1])


def test_a_crowd_gives_each_pair_to_as_many_and_keeps_its_weight():
    crowd = simulated_crowd(PLAIN, count=5, per_pair=3, temperature_spread=0.5, position_spread=1.0, seed=2)
    labeler: Labeler = crowd
    assert (labeler.dimension, labeler.source) == ("helpfulness", Source.SIMULATED)
    counts: dict[str | None, int] = {}
    for place in range(400):
        made = crowd.judge(record(place)).comparisons
        assert [(one.left, one.right) for one in made] == [(0, 1)] * 3 + [(1, 0)] * 3
        assert sum(one.weight for one in made[:3]) == pytest.approx(0.5)
        for three in (made[:3], made[3:]):
            assert len({one.annotator for one in three}) == 3
            for one in three:
                counts[one.annotator] = counts.get(one.annotator, 0) + 1
    assert set(counts) == {f"annotator_{number}" for number in range(5)}
    assert all(abs(count - 480) < 5 * math.sqrt(800 * 0.6 * 0.4) for count in counts.values())


def test_a_member_of_a_crowd_judges_as_alone():
    crowd = simulated_crowd(dataclasses.replace(PLAIN, taste=0.3), count=3, per_pair=2, position_spread=0.5)
    alone = {one.annotator: one for one in crowd.labelers}
    for place in range(30):
        before = record(place)
        for position, one in enumerate(crowd.judge(before).comparisons):
            own = alone[one.annotator].judge(before).comparisons[position // 2]
            assert dataclasses.replace(own, weight=one.weight) == one


def test_people_are_drawn_once_around_what_they_have_in_common():
    base = dataclasses.replace(PLAIN, position_bias=0.2, length_bias=0.01)
    crowd = simulated_crowd(base, count=400, temperature_spread=0.5, position_spread=0.3, length_spread=0.02, seed=4)
    assert crowd == simulated_crowd(
        base, count=400, temperature_spread=0.5, position_spread=0.3, length_spread=0.02, seed=4
    )
    logs = np.log([one.temperature for one in crowd.labelers])
    positions, lengths = (np.array([getattr(one, name) for one in crowd.labelers])
                          for name in ("position_bias", "length_bias"))  # fmt: skip
    for values, mean, spread in [(logs, math.log(0.7), 0.5), (positions, 0.2, 0.3), (lengths, 0.01, 0.02)]:
        assert abs(values.mean() - mean) < 5 * spread / 20
        assert values.std() == pytest.approx(spread, rel=0.2)
    assert len({one.seed for one in crowd.labelers}) == 400
    same = simulated_crowd(base, count=3)
    assert {(one.temperature, one.position_bias, one.length_bias) for one in same.labelers} == {(0.7, 0.2, 0.01)}


@pytest.mark.parametrize(("make", "message"), [
    (lambda: dataclasses.replace(PLAIN, position_bias=math.inf), "position_bias is inf"),
    (lambda: dataclasses.replace(PLAIN, length_bias=math.nan), "length_bias is nan"),
    (lambda: dataclasses.replace(PLAIN, taste=-1.0), r"taste is -1\.0"),
    (lambda: SimulatedCrowd(labelers=()), "each must have an annotator's name"),
    (lambda: SimulatedCrowd(labelers=(PLAIN,)), "each must have an annotator's name"),
    (lambda: SimulatedCrowd(labelers=(dataclasses.replace(PLAIN, annotator="a"),) * 2), "a name of its own|own"),
    (lambda: SimulatedCrowd(labelers=(dataclasses.replace(PLAIN, annotator="a"),), per_pair=2), "from 1 to 1"),
    (lambda: SimulatedCrowd(labelers=(dataclasses.replace(PLAIN, annotator="a"), dataclasses.replace(
        PLAIN, annotator="b", dimension="wit"))), "judge helpfulness, wit; all must judge one dimension"),
    (lambda: simulated_crowd(PLAIN, count=2, position_spread=-1.0), "spreads are"),
])  # fmt: skip
def test_impossible_people_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
