"""The study of wrong labels: equal judgments, what is expected of labels, the figure."""

import numpy as np
import pytest

from studies import noise
from studies.noise import ARMS, HARD, MISJUDGED, SMOOTHED, SOFT, TRUE, Case, against, against_truth, cases
from studies.testbed import labeler, unjudged
from studies.truth import with_truth

PNG = b"\x89PNG"
DIMENSION = "harmlessness"


def test_votes_are_as_many_whether_a_pair_has_one_or_several(monkeypatch):
    monkeypatch.setattr(noise, "JUDGMENTS", 50)
    one, several = (noise.judged(Case(arm=arm, error_rate=0.2), DIMENSION) for arm in (HARD, SOFT))
    assert [len(entry.comparisons) for entry in one] == [1] * 50
    assert [len(entry.comparisons) for entry in several] == [5] * 10
    assert all(sum(vote.weight for vote in entry.comparisons) == pytest.approx(1) for entry in several)
    assert all(len({vote.annotator for vote in entry.comparisons}) == 5 for entry in several)


def test_true_probabilities_are_those_that_votes_are_drawn_from(monkeypatch):
    monkeypatch.setattr(noise, "JUDGMENTS", 20)
    drawn, known = (noise.judged(Case(arm=arm, error_rate=0.2), DIMENSION) for arm in (HARD, TRUE))
    for one, other in zip(drawn, known, strict=True):
        assert one.comparisons[0].probability in (0.0, 1.0)
        assert other.comparisons[0].probability == one.comparisons[0].true_probability


def test_an_error_rate_draws_true_probabilities_together():
    pairs = noise.differing(unjudged(DIMENSION, count=30))
    careful, erring = (
        noise.probabilities(with_truth(pairs, labeler(DIMENSION, error_rate=rate))) for rate in (0.0, 0.3)
    )
    np.testing.assert_allclose(erring, 0.7 * careful + 0.3 * (1 - careful), rtol=1e-12)
    assert (careful != 0.5).all()


def test_smoothing_is_by_the_error_rate_or_by_another_one():
    found = list(cases())
    assert len(set(found)) == len(found)
    assert {case.arm for case in found} == set(ARMS)
    assert all(case.smoothing == case.error_rate > 0 for case in found if case.arm == SMOOTHED)
    assert all(case.smoothing > case.error_rate for case in found if case.arm == MISJUDGED)
    assert all(case.smoothing == 0 for case in found if case.arm in (HARD, SOFT, TRUE))


def test_the_truth_itself_is_calibrated_and_as_good_as_can_be():
    probability = np.random.default_rng(0).uniform(0.02, 0.98, 200)
    best = against(np.log(probability / (1 - probability)), probability)
    assert best["agreement"] == pytest.approx(best["bayes"])
    assert best["nll"] == pytest.approx(best["least_nll"])
    assert best["ece"] == pytest.approx(0, abs=1e-12)


def test_rewards_the_wrong_way_round_are_never_right():
    probability = np.array([0.9, 0.2, 0.7])
    worst = against(-np.log(probability / (1 - probability)), probability)
    assert worst["agreement"] == pytest.approx(1 - worst["bayes"])
    assert worst["nll"] > worst["least_nll"]
    assert worst["overconfidence"] > 0
    assert against_truth(-np.log(probability / (1 - probability)), probability)["accuracy"] == 0


def test_the_figure_is_drawn_of_rows():
    numbers = against(np.array([1.0, -2.0]), np.array([0.8, 0.3]))
    rows = [
        {"arm": case.arm, "error_rate": case.error_rate, "accuracy": 0.9, "low": 0.88, "high": 0.92}
        | {f"{name}_{about}": value for about in ("erring", "careful") for name, value in numbers.items()}
        for case in cases()
    ]
    assert noise.picture(rows).startswith(PNG)
