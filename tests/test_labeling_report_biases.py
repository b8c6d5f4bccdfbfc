"""Biases, cycles and the ceiling equal other libraries' values, and are right where the answer is known."""

import dataclasses
import itertools

import numpy as np
import pytest
import scipy.stats
import statsmodels.api
from label_cases import judgments, random_matrix, record, votes
from statsmodels.stats.proportion import proportion_confint

from rmjax.intervals import Estimate
from rmjax.labeling.report.agreement import verdict_counts
from rmjax.labeling.report.biases import (
    CYCLIC_BY_CHANCE,
    count_triples,
    cycles,
    first_preferred,
    first_probability,
    gold_accuracy,
    length_bias,
    length_slope,
    log_length_ratio,
    quantiles,
)
from rmjax.labeling.report.ceiling import (
    ceiling_at_most,
    decided_agreement,
    least_nll,
    soft_ceiling,
    soft_sums,
)
from rmjax.labeling.report.judgments import mean_votes, tabulate, votes_of


def whole(statistic, sums: np.ndarray) -> float:
    return float(statistic(sums.sum(axis=0, keepdims=True))[0])


@pytest.mark.parametrize("seed", range(5))
def test_shares_of_independent_judgments_have_wilsons_interval(seed):
    found = judgments(seed)
    found = dataclasses.replace(found, prompt=np.arange(len(found)))
    decided = found.probability != 0.5
    for share, wanted, kept in (
        (first_preferred(found), (found.probability > 0.5) == (found.first > 0), decided & (found.first != 0)),
        (
            length_bias(found),
            (found.probability > 0.5) == (found.characters[:, 0] > found.characters[:, 1]),
            decided & (found.characters[:, 0] != found.characters[:, 1]),
        ),
    ):
        count, right = int(kept.sum()), int(wanted[kept].sum())
        low, high = proportion_confint(right, count, method="wilson")
        assert share.count == count
        estimate = share.estimate
        assert (estimate.value, estimate.low, estimate.high) == pytest.approx((right / count, low, high), abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("soft", [False, True])
def test_the_slope_is_that_of_statsmodels(seed, soft):
    found = judgments(seed, soft=soft)
    slope = length_slope(found)
    model = statsmodels.api.GLM(
        found.probability, log_length_ratio(found)[:, None], family=statsmodels.api.families.Binomial()
    )
    fit = model.fit(cov_type="cluster", cov_kwds={"groups": found.prompt}, tol=1e-14)
    low, high = fit.conf_int()[0]
    assert (slope.value, slope.low, slope.high) == pytest.approx((fit.params[0], low, high), rel=1e-7)


def test_prompts_that_are_all_alike_bound_no_slope():
    """Of each the shorter is preferred twice as often: of another prompt that says nothing."""
    said = (("a", "bb", 1.0, "x"), ("a", "bb", 1.0, "y"), ("a", "bb", 0.0, "z"))
    table = tabulate([record(f"p{place}", *said) for place in range(7)])["helpfulness"]
    slope = length_slope(table)
    assert slope.value == pytest.approx(np.log(2) / np.log(2 / 3))
    assert np.isnan([slope.low, slope.high]).all()


@pytest.mark.parametrize(("to", "share"), [(1, 1.0), (-1, 0.0)])
def test_a_labeler_of_positions_is_found_out(to, share):
    found = judgments(0)
    followed = dataclasses.replace(found, probability=np.where(found.first == to, 1.0, 0.0))
    assert first_preferred(followed).estimate.value == share


@pytest.mark.parametrize("seed", range(3))
def test_the_mean_probability_of_the_first_is_that_of_statsmodels(seed):
    found = judgments(seed, soft=True)
    known = found.first != 0
    given = np.where(found.first > 0, found.probability, 1 - found.probability)[known]
    robust = {"cov_type": "cluster", "cov_kwds": {"groups": found.prompt[known]}, "use_t": True}
    fit = statsmodels.api.OLS(given, np.ones(len(given))).fit(**robust)
    low, high = fit.conf_int()[0]
    share = first_probability(found)
    assert share.count == len(given)
    estimate = share.estimate
    assert (estimate.value, estimate.low, estimate.high) == pytest.approx((np.mean(given), low, high), abs=1e-12)


def test_a_labeler_of_lengths_has_no_finite_slope_and_one_of_coins_none_at_all():
    found = judgments(0, count=20_000, prompts=20_000)
    longer = (found.characters[:, 0] > found.characters[:, 1]).astype(float)
    assert length_bias(dataclasses.replace(found, probability=longer)).estimate.value == 1
    assert length_bias(dataclasses.replace(found, probability=1 - longer)).estimate.value == 0
    for always in (longer, 1 - longer):
        assert np.isnan(length_slope(dataclasses.replace(found, probability=always)).value)
    coins = (np.random.default_rng(3).random(len(found)) < 0.5).astype(float)
    tossed = dataclasses.replace(found, probability=coins)
    for estimate, chance in (
        (length_slope(tossed), 0),
        (length_bias(tossed).estimate, 0.5),
        (first_preferred(tossed).estimate, 0.5),
    ):
        assert estimate.low < chance < estimate.high


@pytest.mark.parametrize("seed", range(5))
def test_swapping_all_pairs_changes_no_bias(seed):
    found = judgments(seed)
    swapped = dataclasses.replace(
        found,
        probability=1 - found.probability,
        first=-found.first,
        characters=found.characters[:, ::-1],
        left=found.right,
        right=found.left,
    )
    assert first_preferred(swapped) == first_preferred(found)
    assert length_bias(swapped) == length_bias(found)
    one, other = length_slope(found), length_slope(swapped)
    assert (one.value, one.low, one.high) == pytest.approx((other.value, other.low, other.high), rel=1e-9)


@pytest.mark.parametrize("seed", range(10))
def test_triples_are_those_that_counting_finds(seed):
    rng = np.random.default_rng(seed)
    pairs = [pair for pair in itertools.combinations(range(7), 2) if rng.random() < 0.8]
    edges = [pair if rng.random() < 0.5 else pair[::-1] for pair in pairs]
    triples = cyclic = 0
    for three in itertools.combinations(range(7), 3):
        inside = [edge for edge in edges if set(edge) <= set(three)]
        triples += len(inside) == 3
        cyclic += len(inside) == 3 and len({better for better, _ in inside}) == 3
    assert count_triples(edges) == (triples, cyclic)


def test_cycles_are_of_one_annotator_or_of_all_together():
    """Each annotator is consistent; their majority is not: Condorcet's paradox."""
    orders = {"ann": "abc", "ben": "bca", "cem": "cab"}
    judged = [
        (one, other, float(order.index(one) < order.index(other)), name)
        for name, order in orders.items()
        for one, other in itertools.combinations("abc", 2)
    ]
    table = tabulate([record("p", *judged)])["helpfulness"]
    own = votes_of(table)
    within, together = cycles(own, table), cycles(mean_votes(own), table)
    assert (within.estimate.value, within.count) == (0, 3)
    assert (together.estimate.value, together.count) == (1, 1)


def test_coins_make_a_cycle_of_every_fourth_triple():
    rng = np.random.default_rng(0)
    records = [
        record(str(prompt), *((a, b, float(rng.random() < 0.5), "ann") for a, b in itertools.combinations("abcd", 2)))
        for prompt in range(600)
    ]
    table = tabulate(records)["helpfulness"]
    found = cycles(votes_of(table), table)
    assert found.count == 600 * 4
    assert found.estimate.low < CYCLIC_BY_CHANCE < found.estimate.high


def test_a_tie_is_in_no_triple():
    table = tabulate([record("p", ("a", "b", 1.0, "x"), ("b", "c", 0.5, "x"), ("c", "a", 1.0, "x"))])["helpfulness"]
    assert cycles(votes_of(table), table).count == 0


@pytest.mark.parametrize("right", [0, 7, 10])
def test_gold_accuracy_has_the_exact_interval(right):
    table = judgments(0, count=10)
    said = dataclasses.replace(table, probability=np.where(np.arange(10) < right, 1.0, 0.0))
    known = dataclasses.replace(said, gold=np.zeros(10, np.int64))
    share = gold_accuracy(known)
    low, high = proportion_confint(right, 10, method="beta")
    expected = (right / 10, 0.0 if right == 0 else low, 1.0 if right == 10 else high)
    assert (share.estimate.value, share.estimate.low, share.estimate.high) == pytest.approx(expected, abs=1e-12)
    assert gold_accuracy(said).count == 0
    assert gold_accuracy(dataclasses.replace(known, probability=np.full(10, 0.5))).estimate.value == 0


def test_quantiles_are_those_of_scipy():
    seconds = judgments(0).seconds
    found = quantiles(seconds)
    known = seconds[~np.isnan(seconds)]
    levels = [0.1, 0.25, 0.5, 0.75, 0.9]
    assert list(found.values())[1:] == pytest.approx(scipy.stats.mstats.mquantiles(known, levels, 1, 1))
    assert found["count"] == len(known)


def ceiling(probability: np.ndarray, annotators: int = 3, seed: int = 0) -> tuple[float, float]:
    """(q, the ceiling from q) of annotators drawn independently, with these probabilities of left."""
    said = (np.random.default_rng(seed).random((annotators, len(probability))) < probability).astype(float)
    q = float(np.nanmean(decided_agreement(verdict_counts(votes(said))[0])))
    return q, at_most(q)


def at_most(q: float) -> float:
    return ceiling_at_most(Estimate(value=q, low=q, high=q)).value


@pytest.mark.parametrize("p", [0.6, 0.8, 0.95])
def test_the_ceiling_is_reached_where_all_pairs_are_equally_hard(p):
    q, most = ceiling(np.full(40_000, p))
    assert q == pytest.approx(p**2 + (1 - p) ** 2, abs=0.01)
    assert most == pytest.approx(p, abs=0.02)


def test_the_ceiling_bounds_what_who_knows_all_reaches():
    rng = np.random.default_rng(1)
    for probability in (rng.random(40_000), rng.beta(0.3, 0.3, size=40_000), rng.choice([0.0, 0.5, 1.0], size=40_000)):
        q, most = ceiling(probability)
        best = np.mean(np.maximum(probability, 1 - probability))
        assert q - 0.01 <= best <= most + 0.01
    assert q == pytest.approx(best, abs=0.01)  # of pairs that are certain or a coin's


def test_the_ceiling_of_perfect_chance_and_reversed_labels():
    assert ceiling(np.ones(10)) == (1, 1)
    q, most = ceiling(np.full(100_000, 0.5))
    assert q == pytest.approx(0.5, abs=0.01)
    assert most < 0.56
    reversed_ = np.array([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    (q,) = set(decided_agreement(verdict_counts(votes(reversed_))[0]))
    assert at_most(q) == 0.5


def test_the_ceilings_bounds_are_those_of_the_agreement():
    found = ceiling_at_most(Estimate(value=0.68, low=0.45, high=0.82))
    assert (found.value, found.low, found.high) == pytest.approx((0.8, 0.5, 0.9))
    unknown = ceiling_at_most(Estimate(value=1.0, low=float("nan"), high=float("nan")))
    assert unknown.value == 1
    assert np.isnan([unknown.low, unknown.high]).all()


def test_soft_labels_have_the_ceiling_of_their_probabilities():
    matrix = random_matrix(0, soft=True)
    means = mean_votes(votes(matrix))
    p = np.nanmean(matrix[:, ~np.isnan(matrix).all(axis=0)], axis=0)
    sums = soft_sums(means)
    assert whole(soft_ceiling, sums) == pytest.approx(np.maximum(p, 1 - p).mean())
    assert whole(least_nll, sums) == pytest.approx(scipy.stats.entropy(np.stack([p, 1 - p])).mean())
    certain = dataclasses.replace(means, probability=np.round(means.probability))
    assert whole(least_nll, soft_sums(certain)) == 0
    assert whole(soft_ceiling, soft_sums(certain)) == 1
