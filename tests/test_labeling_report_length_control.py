"""Win rates at equal length are those of statsmodels' regression, and undo a planted preference for length."""

import numpy as np
import pytest
import statsmodels.api
from scipy.special import expit

from rmjax.labeling.report.length_control import length_control


def drawn(seed: int, *, count: int = 2000, soft: bool = False):
    """Three rivals of equal worth against the same other, the last of which writes at length; the judge likes that."""
    rng = np.random.default_rng(seed)
    rival, prompt = rng.integers(3, size=count), rng.integers(200, size=count)
    length = rng.normal(0.5 * (rival == 2), 0.7)
    probability = expit(-0.4 + 1.5 * length)
    if soft:
        return np.clip(probability + rng.normal(0, 0.1, count), 0, 1), length, rival, prompt
    return (rng.random(count) < probability).astype(float), length, rival, prompt


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("soft", [False, True])
def test_rates_and_slope_are_those_of_statsmodels(seed, soft):
    probability, length, rival, prompt = drawn(seed, soft=soft)
    found = length_control(probability, length, rival, prompt)
    features = np.concatenate([np.eye(3)[rival], length[:, None]], axis=1)
    model = statsmodels.api.GLM(probability, features, family=statsmodels.api.families.Binomial())
    fit = model.fit(cov_type="cluster", cov_kwds={"groups": prompt}, tol=1e-14)
    wanted = np.concatenate([fit.params[:, None], fit.conf_int()], axis=1)
    for estimate, row in zip(found.at_equal_length, expit(wanted[:3]), strict=True):
        assert (estimate.value, estimate.low, estimate.high) == pytest.approx(row, rel=1e-7)
    slope = found.slope
    assert (slope.value, slope.low, slope.high) == pytest.approx(wanted[3], rel=1e-7)


def test_what_length_alone_gains_is_gone_at_equal_length():
    probability, length, rival, prompt = drawn(0, count=40_000)
    raw = [probability[rival == number].mean() for number in range(3)]
    assert raw[2] - raw[0] > 0.12
    found = length_control(probability, length, rival, prompt)
    for estimate in found.at_equal_length:
        assert estimate.low < expit(-0.4) < estimate.high
    assert found.slope.low < 1.5 < found.slope.high


def test_exchanging_the_sides_turns_the_rates_round_and_keeps_the_slope():
    probability, length, rival, prompt = drawn(1)
    one, other = (length_control(p, x, rival, prompt) for p, x in ((probability, length), (1 - probability, -length)))
    assert one.slope.value == pytest.approx(other.slope.value)
    for here, there in zip(one.at_equal_length, other.at_equal_length, strict=True):
        assert (here.value, here.low, here.high) == pytest.approx((1 - there.value, 1 - there.high, 1 - there.low))


@pytest.mark.parametrize("case", ["equal lengths", "wins all", "length decides"])
def test_what_has_no_best_fit_is_said(case):
    probability, length, rival, prompt = drawn(2)
    if case == "equal lengths":
        length = np.zeros_like(length)
        length[:] = rival
    elif case == "wins all":
        probability = np.where(rival == 1, 1.0, probability)
    else:
        probability = (length > 0).astype(float)
    with pytest.raises(ValueError, match="no best fit"):
        length_control(probability, length, rival, prompt)
