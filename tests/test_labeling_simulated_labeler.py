"""Simulated labelers follow Bradley-Terry with a share of errors, exactly and reproducibly."""

import dataclasses
import math

import numpy as np
import pytest

from rmjax.labeling.simulated.labeler import SimulatedLabeler
from rmjax.preferences.record import Comparison, Preference, Source


def record(utilities=(1.0, 0.0), prompt="q", dimension="helpfulness") -> Preference:
    return Preference(
        prompt=prompt,
        responses=tuple(f"answer {index}" for index in range(len(utilities))),
        comparisons=(Comparison(left=0, right=1, weight=0.5, margin=3.0), Comparison(left=1, right=0)),
        dimension=dimension,
        source=Source.HUMAN,
        utilities=utilities,
        origin="here, line 2",
    )


@pytest.mark.parametrize("temperature", [0.1, 1.0, 7.0])
@pytest.mark.parametrize("error_rate", [0.0, 0.02, 0.3])
def test_the_probability_is_bradley_terry_with_errors(temperature, error_rate):
    labeler = SimulatedLabeler(dimension="helpfulness", temperature=temperature, error_rate=error_rate)
    for left, right in [(0.0, 0.0), (1.5, -0.5), (-2.0, 3.0), (0.25, 0.0)]:
        agreed = 1 / (1 + math.exp(-(left - right) / temperature))
        wanted = (1 - error_rate) * agreed + error_rate * (1 - agreed)
        assert labeler.probability(left, right) == pytest.approx(wanted, abs=1e-12)
        assert labeler.probability(left, right) + labeler.probability(right, left) == pytest.approx(1, abs=1e-12)
    assert labeler.probability(1e6, -1e6) == pytest.approx(1 - error_rate)
    assert labeler.probability(-1e6, 1e6) == pytest.approx(error_rate)


@pytest.mark.parametrize("seed", range(3))
def test_draws_have_the_stated_frequency(seed):
    labeler = SimulatedLabeler(dimension="helpfulness", temperature=1.0, error_rate=0.1, seed=seed)
    count = 4000
    judged = [labeler.judge(record(prompt=f"question {index}")) for index in range(count)]
    drawn = np.array([one.comparisons[0].probability for one in judged])
    assert set(drawn) == {0.0, 1.0}
    probability = labeler.probability(1.0, 0.0)
    # five standard deviations of a mean of independent draws
    assert abs(drawn.mean() - probability) < 5 * math.sqrt(probability * (1 - probability) / count)


def test_the_judgment_depends_on_the_seed_and_the_texts_alone():
    prompts = [f"question {index}" for index in range(200)]
    labelers = [
        SimulatedLabeler(dimension="helpfulness", temperature=2.0, error_rate=0.0, seed=seed) for seed in (0, 1)
    ]
    drawn = [[one.judge(record(prompt=prompt)).comparisons for prompt in prompts] for one in labelers]
    again = [labelers[0].judge(record(prompt=prompt)).comparisons for prompt in reversed(prompts)]
    assert drawn[0] == again[::-1]
    assert drawn[0] != drawn[1]


def test_what_is_judged_stays_and_the_truth_is_told():
    labeler = SimulatedLabeler(dimension="helpfulness", temperature=1.0, error_rate=0.02)
    before = record()
    after = labeler.judge(before)
    assert after.source is Source.SIMULATED
    assert dataclasses.replace(after, comparisons=before.comparisons, source=before.source) == before
    assert [(one.left, one.right, one.weight, one.margin) for one in after.comparisons] == [
        (0, 1, 0.5, 0),
        (1, 0, 1.0, 0),
    ]
    assert after.comparisons[0].true_probability == labeler.probability(1.0, 0.0)
    assert after.comparisons[1].true_probability == labeler.probability(0.0, 1.0)


def test_without_utilities_of_its_dimension_it_refuses():
    labeler = SimulatedLabeler(dimension="helpfulness", temperature=1.0, error_rate=0.02)
    with pytest.raises(ValueError, match=r"here, line 2: .*true utilities.*found none"):
        labeler.judge(dataclasses.replace(record(), utilities=None))
    with pytest.raises(ValueError, match=r"found those of brevity"):
        labeler.judge(record(dimension="brevity"))


@pytest.mark.parametrize(("temperature", "error_rate", "field"), [
    (0.0, 0.0, "temperature"), (math.inf, 0.0, "temperature"), (math.nan, 0.0, "temperature"),
    (1.0, 0.5, "error_rate"), (1.0, -0.1, "error_rate"), (1.0, math.nan, "error_rate"),
])  # fmt: skip
def test_impossible_settings_are_named(temperature, error_rate, field):
    with pytest.raises(ValueError, match=field):
        SimulatedLabeler(dimension="helpfulness", temperature=temperature, error_rate=error_rate)
