"""Agreement equals other libraries' values on random data, and is right where the answer is known."""

import itertools

import krippendorff
import numpy as np
import pytest
import scipy.stats
from label_cases import random_matrix, votes
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats.inter_rater import fleiss_kappa as statsmodels_fleiss

from rmjax.intervals import bootstrap
from rmjax.labeling.report.agreement import (
    agreeing,
    cohen_kappa,
    common_pairs,
    confusion_agreement,
    confusion_sums,
    correlation,
    correlation_sums,
    fleiss_kappa,
    fleiss_sums,
    interval_alpha,
    interval_sums,
    nominal_alpha,
    nominal_sums,
    percent_agreement,
    verdict_counts,
)
from rmjax.labeling.report.judgments import mean_votes, verdicts


def whole(statistic, sums: np.ndarray) -> float:
    return float(statistic(sums.sum(axis=0, keepdims=True))[0])


def counts_of(matrix: np.ndarray) -> np.ndarray:
    return verdict_counts(votes(matrix))[0]


def categories(matrix: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(matrix), np.nan, 1 - np.sign(matrix - 0.5))


@pytest.mark.parametrize("seed", range(8))
def test_cohens_kappa_is_that_of_scikit_learn(seed):
    matrix = random_matrix(seed, annotators=5)
    found = {who: (one, other) for who, one, other, _ in common_pairs(votes(matrix))}
    assert set(found) == set(itertools.combinations(range(5), 2))
    for (a, b), (one, other) in found.items():
        both = ~np.isnan(matrix[a]) & ~np.isnan(matrix[b])
        first, second = categories(matrix)[a, both].astype(int), categories(matrix)[b, both].astype(int)
        sums = confusion_sums(one, other)
        assert whole(cohen_kappa, sums) == pytest.approx(cohen_kappa_score(first, second), abs=1e-12)
        assert whole(confusion_agreement, sums) == pytest.approx(np.mean(first == second), abs=1e-12)


@pytest.mark.parametrize("seed", range(8))
def test_fleiss_kappa_is_that_of_statsmodels(seed):
    counts = counts_of(random_matrix(seed, annotators=3 + seed % 3, missing=0.0))
    assert whole(fleiss_kappa, fleiss_sums(counts)) == pytest.approx(statsmodels_fleiss(counts), abs=1e-12)


def test_fleiss_kappa_with_missing_judgments_is_that_of_its_definition():
    counts = counts_of(random_matrix(3, missing=0.4))
    assert len(set(counts.sum(axis=1))) > 2
    several = [np.repeat([0, 1, 2], row) for row in counts if row.sum() > 1]
    pairs = [np.mean([a == b for a, b in itertools.combinations(said, 2)]) for said in several]
    expected = sum(share**2 for share in np.mean([row / row.sum() for row in counts], axis=0))
    found = whole(fleiss_kappa, fleiss_sums(counts))
    assert found == pytest.approx((np.mean(pairs) - expected) / (1 - expected), abs=1e-12)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("missing", [0.0, 0.3, 0.7])
def test_alphas_are_those_of_krippendorff(seed, missing):
    matrix = random_matrix(seed, missing=missing, soft=True)
    nominal = krippendorff.alpha(reliability_data=categories(matrix), level_of_measurement="nominal")
    interval = krippendorff.alpha(reliability_data=matrix, level_of_measurement="interval")
    assert whole(nominal_alpha, nominal_sums(counts_of(matrix))) == pytest.approx(nominal, abs=1e-10)
    assert whole(interval_alpha, interval_sums(votes(matrix))[0]) == pytest.approx(interval, abs=1e-10)


@pytest.mark.parametrize("seed", range(8))
def test_the_correlation_is_that_of_scipy(seed):
    one, other = random_matrix(seed, annotators=2, missing=0.0, soft=True)
    expected = scipy.stats.pearsonr(one, other).statistic
    assert whole(correlation, correlation_sums(one, other)) == pytest.approx(expected, abs=1e-12)


def test_percent_agreement_is_how_often_two_drawn_annotators_say_the_same():
    matrix = random_matrix(5, missing=0.3)
    shares = []
    for column in categories(matrix).T:
        said = column[~np.isnan(column)]
        if len(said) > 1:
            shares.append(np.mean([a == b for a, b in itertools.combinations(said, 2)]))
    assert whole(percent_agreement, fleiss_sums(counts_of(matrix))) == pytest.approx(np.mean(shares), abs=1e-12)


def all_statistics(matrix: np.ndarray) -> dict[str, float]:
    counts = counts_of(matrix)
    first, second = verdicts(matrix[0]), verdicts(matrix[1])
    return {
        "percent": whole(percent_agreement, fleiss_sums(counts)),
        "cohen": whole(cohen_kappa, confusion_sums(first, second)),
        "fleiss": whole(fleiss_kappa, fleiss_sums(counts)),
        "nominal": whole(nominal_alpha, nominal_sums(counts)),
        "interval": whole(interval_alpha, interval_sums(votes(matrix))[0]),
        "correlation": whole(correlation, correlation_sums(matrix[0], matrix[1])),
    }


def test_perfect_agreement_is_one():
    one = np.array([1, 0, 0.5, 0, 1, 1, 0, 0.5])
    assert all_statistics(np.stack([one, one])) == pytest.approx(dict.fromkeys(all_statistics(np.stack([one, one])), 1))


def test_reversed_judgments_agree_never():
    one = np.array([1.0, 0.0] * 500)
    found = all_statistics(np.stack([one, 1 - one]))
    # Two annotators who contradict each other always: alpha's expected disagreement is that of drawing without
    # replacement, so it is -1 + 1/N of N = 2000 judgments.
    assert found.pop("percent") == 0
    assert found.pop("nominal") == pytest.approx(-1 + 1 / 1000, abs=1e-12)
    assert found.pop("interval") == pytest.approx(-1 + 1 / 1000, abs=1e-12)
    assert found == pytest.approx(dict.fromkeys(found, -1))


def test_coins_agree_by_chance():
    one, other = (
        np.random.default_rng(seed).choice([0.0, 0.5, 1.0], size=60_000, p=[0.4, 0.2, 0.4]) for seed in (1, 2)
    )
    found = all_statistics(np.stack([one, other]))
    assert found.pop("percent") == pytest.approx(0.4**2 + 0.2**2 + 0.4**2, abs=0.01)
    assert found == pytest.approx(dict.fromkeys(found, 0), abs=0.02)


def test_what_does_not_exist_is_nan():
    same, alone = np.ones((2, 5)), np.array([[1.0, 0.0, np.nan], [np.nan, np.nan, 1.0]])
    found = all_statistics(same)
    assert found.pop("percent") == 1
    assert np.isnan(list(found.values())).all()
    counts = counts_of(alone)
    assert np.isnan(agreeing(counts)).all()
    assert np.isnan(whole(nominal_alpha, nominal_sums(counts)))
    assert np.isnan(whole(interval_alpha, interval_sums(votes(alone))[0]))


def test_a_mean_vote_is_the_mean_of_a_pairs_votes():
    matrix = random_matrix(2, missing=0.4, soft=True)
    means = mean_votes(votes(matrix))
    judged = ~np.isnan(matrix).all(axis=0)
    assert means.pair.tolist() == np.flatnonzero(judged).tolist()
    assert means.probability == pytest.approx(np.nanmean(matrix[:, judged], axis=0), abs=1e-15)


def test_the_interval_is_that_of_redrawn_prompts():
    """Against the plain way: the statistic computed anew, of the items of the prompts drawn."""
    matrix = random_matrix(4, annotators=3, missing=0.0)
    prompts = np.arange(60) // 3
    counts = counts_of(matrix)
    found = bootstrap(nominal_sums(counts), prompts, nominal_alpha, samples=4000)
    rng = np.random.default_rng(5)
    draws = []
    for _ in range(1500):
        items = np.concatenate([np.flatnonzero(prompts == prompt) for prompt in rng.integers(0, 20, size=20)])
        draws.append(whole(nominal_alpha, nominal_sums(counts[items])))
    assert (found.low, found.high) == pytest.approx(np.quantile(draws, [0.025, 0.975]), abs=0.02)
    assert found.low < found.value < found.high
    one = bootstrap(nominal_sums(counts), np.zeros(60, np.int64), nominal_alpha)
    assert one.value == found.value
    assert np.isnan([one.low, one.high]).all()
