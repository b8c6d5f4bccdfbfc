"""Laws of the calibration error."""

import math

import numpy as np
import pytest

from rmjax.evaluation.calibration import BINS, confidence, ece_if_calibrated, reliability


def calibrated(seed: int, count: int, scale: float = 1.5):
    """Differences whose labels are drawn with exactly the probability that the model states."""
    rng = np.random.default_rng(seed)
    differences = scale * rng.normal(size=count)
    return differences, (rng.random(count) < 1 / (1 + np.exp(-differences))).astype(float)


def test_by_hand():
    differences = np.log(np.array([0.9 / 0.1, 0.9 / 0.1, 0.6 / 0.4, 0.3 / 0.7]))
    table = reliability(differences, np.array([1.0, 0.0, 1.0, 0.0]))
    full = table.count > 0
    assert table.count[full].tolist() == [1, 1, 2]
    assert table.confidence[full] == pytest.approx([0.6, 0.7, 0.9])
    assert table.accuracy[full] == pytest.approx([1.0, 1.0, 0.5])
    assert table.ece == pytest.approx((0.4 + 0.3 + 2 * 0.4) / 4)
    assert table.overconfidence == pytest.approx((-0.4 - 0.3 + 2 * 0.4) / 4)


@pytest.mark.parametrize("seed", range(4))
def test_which_response_is_left_does_not_matter(seed):
    differences, probability = calibrated(seed, 500)
    chosen_first = np.where(probability == 1, differences, -differences)  # as files are: every label is 1
    assert reliability(chosen_first, np.ones(500)).ece == pytest.approx(reliability(differences, probability).ece)
    assert ece_if_calibrated(chosen_first, np.ones(500)) == ece_if_calibrated(differences, probability)


@pytest.mark.parametrize("count", [200, 2000, 20000])
def test_a_calibrated_model_gets_what_is_expected_of_one(count):
    found = [reliability(*calibrated(seed, count)).ece for seed in range(60)]
    expected = ece_if_calibrated(*calibrated(99, count))
    assert np.mean(found) == pytest.approx(expected, rel=0.12)
    assert expected > 0


@pytest.mark.parametrize("share", [0.2, 0.8])
def test_a_calibrated_model_gets_what_is_expected_of_one_where_some_labels_are_soft(share):
    """The soft ones are the model's own probability: they have no scatter, and they thin out that of the others."""

    def draw(seed: int):
        differences, hard = calibrated(seed, 2000)
        soft = np.random.default_rng(1000 + seed).random(2000) < share
        return differences, np.where(soft, 1 / (1 + np.exp(-differences)), hard)

    found = [reliability(*draw(seed)).ece for seed in range(60)]
    assert np.mean(found) == pytest.approx(ece_if_calibrated(*draw(99)), rel=0.12)


def test_more_comparisons_bring_it_nearer_to_nothing():
    few, many = (ece_if_calibrated(*calibrated(0, count)) for count in (300, 30000))
    assert few == pytest.approx(10 * many, rel=0.25)  # as the root of the count


@pytest.mark.parametrize(("scale", "sign"), [(3.0, 1), (1 / 3, -1)])
def test_too_loud_is_overconfident_and_too_meek_is_underconfident(scale, sign):
    differences, probability = calibrated(1, 5000)
    table = reliability(scale * differences, probability)
    assert sign * table.overconfidence > 0.05
    assert table.ece > 3 * ece_if_calibrated(scale * differences, probability)


def test_soft_labels_equal_to_the_models_probability_are_perfect():
    differences = np.linspace(-5, 5, 101)
    labels = 1 / (1 + np.exp(-differences))
    assert reliability(differences, labels).ece == pytest.approx(0, abs=1e-12)
    assert ece_if_calibrated(differences, labels) == 0


def test_the_ends_of_the_range_fall_into_the_first_and_the_last_bin():
    table = reliability(np.array([0.0, 1000.0, -1000.0]), np.array([1.0, 1.0, 1.0]))
    assert table.count[0] == 1
    assert table.count[-1] == 2
    assert table.count.sum() == 3
    assert len(table.count) == BINS
    assert confidence(np.array([-1000.0, 0.0])).tolist() == [1.0, 0.5]


def test_nothing_is_not_a_number():
    assert math.isnan(reliability(np.zeros(0), np.zeros(0)).ece)
    assert math.isnan(ece_if_calibrated(np.zeros(0), np.zeros(0)))
