"""Ratings are whole numbers from 1 to 7, on the rater's own scale."""

import math

import numpy as np
import pytest

from rmjax.labeling.simulated.rating import SimulatedRater, simulated_raters
from rmjax.preferences.record import Comparison, Preference, Source


def record(utilities: tuple[float, ...], prompt: str = "q", dimension: str = "helpfulness") -> Preference:
    return Preference(
        prompt=prompt,
        responses=tuple(f"response {index}" for index in range(len(utilities))),
        comparisons=(Comparison(left=0, right=1),),
        dimension=dimension,
        source=Source.HUMAN,
        utilities=utilities,
        origin="here",
    )


def test_without_noise_a_rating_is_the_rounded_line():
    rater = SimulatedRater(dimension="helpfulness", scale=2.0, offset=0.5, center=1.0)
    assert rater.rate(record((1.0, 1.25, 2.0, 0.0, 0.1))) == (5, 5, 7, 3, 3)
    assert rater.rate(record((100.0, -100.0, 1e9))) == (7, 1, 7)
    assert SimulatedRater(dimension="helpfulness", scale=1.0).rate(record((0.0, 0.0))) == (4, 4)


def test_a_better_response_is_never_rated_lower_without_noise():
    rater = SimulatedRater(dimension="helpfulness", scale=1.3, offset=-0.4)
    ratings = rater.rate(record(tuple(np.linspace(-4, 4, 41).tolist())))
    assert list(ratings) == sorted(ratings)
    assert set(ratings) == set(range(1, 8))


def test_noise_has_the_stated_spread_and_depends_on_the_text_alone():
    rater = SimulatedRater(dimension="helpfulness", scale=1.0, noise=0.8)
    ratings = np.array([rater.rate(record((0.0, 0.0), prompt=f"q{place}")) for place in range(3000)])
    assert abs(ratings.mean() - 4) < 5 * 0.85 / math.sqrt(ratings.size)
    assert ratings.std() == pytest.approx(math.sqrt(0.8**2 + 1 / 12), rel=0.05)  # Sheppard's correction for rounding
    assert rater.rate(record((0.0, 0.0, 5.0)))[:2] == rater.rate(record((0.0, 0.0)))
    other = SimulatedRater(dimension="helpfulness", scale=1.0, noise=0.8, seed=1)
    assert any(other.rate(record((0.0, 0.0), prompt=f"q{i}")) != tuple(ratings[i]) for i in range(20))


def test_raters_differ_in_scale_and_offset_as_was_said():
    common = {"dimension": "helpfulness", "count": 400, "seed": 3}
    made = common | {"scale": 1.5, "scale_spread": 0.4, "offset_spread": 0.9}
    raters = simulated_raters(**made)
    assert raters == simulated_raters(**made)
    logs, offsets = np.log([one.scale for one in raters]), np.array([one.offset for one in raters])
    assert abs(logs.mean() - math.log(1.5)) < 5 * 0.4 / 20
    assert logs.std() == pytest.approx(0.4, rel=0.2)
    assert abs(offsets.mean()) < 5 * 0.9 / 20
    assert offsets.std() == pytest.approx(0.9, rel=0.2)
    assert len({one.annotator for one in raters}) == len({one.seed for one in raters}) == 400


def test_it_needs_the_utilities_of_its_dimension():
    rater = SimulatedRater(dimension="helpfulness", scale=1.0)
    with pytest.raises(ValueError, match=r"here: .*true utilities.*found those of wit"):
        rater.rate(record((0.0, 1.0), dimension="wit"))


@pytest.mark.parametrize(("changes", "message"), [
    ({"scale": 0.0}, "scale is 0.0"), ({"noise": -1.0}, r"noise is -1\.0"), ({"offset": math.nan}, "offset is nan"),
    ({"center": math.inf}, "center is inf"),
])  # fmt: skip
def test_impossible_raters_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        SimulatedRater(**({"dimension": "d", "scale": 1.0} | changes))
    with pytest.raises(ValueError, match="spreads are"):
        simulated_raters(dimension="d", count=1, scale=1.0, offset_spread=-1.0)
