"""How far annotators, and sources, agree: kappas, alphas, correlations.

Each statistic comes in two halves: what every pair adds to a few sums, and the value as a function of the sums.
So its interval over redrawn prompts (``rmjax.intervals.bootstrap``) costs one matrix product, not one call for each
draw. The tests hold every value against scikit-learn, statsmodels or krippendorff. A value that doesn't exist, as a
kappa where all say the same of all pairs, is NaN.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float64, Int64

from rmjax.labeling.report.judgments import VERDICTS, Votes

Sums = Float64[np.ndarray, "pairs sums"]


def ratio(above: Float64[np.ndarray, "*any"], below: Float64[np.ndarray, "*any"]) -> Float64[np.ndarray, "*any"]:
    """The quotient, NaN where the denominator is 0 (or, after sums of shares, only rounding away from it)."""
    zero = np.abs(below) < 1e-12
    return np.where(zero, np.nan, above / np.where(zero, 1.0, below))


def verdict_counts(votes: Votes) -> tuple[Int64[np.ndarray, "pairs 3"], Int64[np.ndarray, "pairs"]]:
    """How many annotators say left, tie and right of each pair, and the prompts of the pairs."""
    pairs, places = np.unique(votes.pair, return_inverse=True)
    counts = np.bincount(places * 3 + votes.verdict, minlength=3 * len(pairs)).reshape(-1, 3)
    prompts = np.zeros(len(pairs), np.int64)
    prompts[places] = votes.prompt
    return counts.astype(np.int64), prompts


def agreeing(counts: Int64[np.ndarray, "pairs verdicts"]) -> Float64[np.ndarray, "pairs"]:
    """The share of the pairs of annotators that say the same, of each pair of responses; NaN below two annotators."""
    several = counts.sum(axis=1).astype(np.float64)
    return ratio((counts * (counts - 1)).sum(axis=1).astype(np.float64), several * (several - 1))


def fleiss_sums(counts: Int64[np.ndarray, "pairs verdicts"]) -> Sums:
    """Agreement where there is any to see, the number of such pairs, and the share of each verdict."""
    share = agreeing(counts)
    there = ~np.isnan(share)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return np.concatenate([np.where(there, share, 0.0)[:, None], there[:, None], shares], axis=1).astype(np.float64)


def percent_agreement(sums: Float64[np.ndarray, "samples sums"]) -> Float64[np.ndarray, "samples"]:
    """Of ``fleiss_sums``: how often two annotators of a pair say the same, the mean over pairs judged by several."""
    return ratio(sums[:, 0], sums[:, 1])


def fleiss_kappa(sums: Float64[np.ndarray, "samples sums"]) -> Float64[np.ndarray, "samples"]:
    """Of ``fleiss_sums``: (P - Pe) / (1 - Pe), with P the percent agreement (Fleiss, 1971).

    Pe is the sum over verdicts of the squared mean share of each. Where not all pairs have as many annotators, P is
    over those with at least two and the shares over all (Gwet, 2014, "Handbook of Inter-Rater Reliability", chapter 3).
    """
    shares = sums[:, 2:]
    expected = np.square(ratio(shares, np.broadcast_to(shares.sum(axis=1, keepdims=True), shares.shape))).sum(axis=1)
    return ratio(percent_agreement(sums) - expected, 1 - expected)


def nominal_sums(counts: Int64[np.ndarray, "pairs verdicts"]) -> Sums:
    """Coincidences of equal verdicts, and how often each verdict is given, in pairs with two annotators or more."""
    several = counts.sum(axis=1, keepdims=True)
    counts = np.where(several > 1, counts, 0)
    equal = (counts * (counts - 1)).sum(axis=1, keepdims=True) / np.maximum(several - 1, 1)
    return np.concatenate([equal, counts], axis=1).astype(np.float64)


def nominal_alpha(sums: Float64[np.ndarray, "samples sums"]) -> Float64[np.ndarray, "samples"]:
    """Of ``nominal_sums``: Krippendorff's alpha, 1 - observed / expected disagreement (Krippendorff, 2011)."""
    counts, total = sums[:, 1:], sums[:, 1:].sum(axis=1)
    observed = 1 - ratio(sums[:, 0], total)
    expected = 1 - ratio((counts * (counts - 1)).sum(axis=1), total * (total - 1))
    return 1 - ratio(observed, expected)


def interval_sums(votes: Votes) -> tuple[Sums, Int64[np.ndarray, "pairs"]]:
    """Squared differences within each pair of responses, and count, sum and sum of squares; with the prompts.

    Of pairs with two annotators or more. Probabilities are taken less 1/2, which changes no difference.
    """
    pairs, places = np.unique(votes.pair, return_inverse=True)
    moments = [np.bincount(places, weights=(votes.probability - 0.5) ** power) for power in (0, 1, 2)]
    count, total, squares = (np.where(moments[0] > 1, moment, 0.0) for moment in moments)
    within = 2 * (count * squares - np.square(total)) / np.maximum(count - 1, 1)
    prompts = np.zeros(len(pairs), np.int64)
    prompts[places] = votes.prompt
    return np.stack([within, count, total, squares], axis=1), prompts


def interval_alpha(sums: Float64[np.ndarray, "samples sums"]) -> Float64[np.ndarray, "samples"]:
    """Of ``interval_sums``: Krippendorff's alpha with squared differences of the probability that left is preferred."""
    within, count, total, squares = sums.T
    observed = ratio(within, count)
    expected = ratio(2 * (count * squares - np.square(total)), count * (count - 1))
    return 1 - ratio(observed, expected)


def confusion_sums(first: Int64[np.ndarray, "pairs"], second: Int64[np.ndarray, "pairs"]) -> Sums:
    """The place of each pair in the table of the first's verdicts (down) against the second's (across), flattened."""
    size = len(VERDICTS)
    return np.eye(size * size, dtype=np.float64)[first * size + second]


def confusion_agreement(sums: Float64[np.ndarray, "samples sums"]) -> Float64[np.ndarray, "samples"]:
    """Of ``confusion_sums``: the share of pairs of which both say the same."""
    table = sums.reshape(len(sums), len(VERDICTS), len(VERDICTS))
    return ratio(np.trace(table, axis1=1, axis2=2), table.sum(axis=(1, 2)))


def cohen_kappa(sums: Float64[np.ndarray, "samples sums"]) -> Float64[np.ndarray, "samples"]:
    """Of ``confusion_sums``: agreement beyond what both would reach by chance with their own shares (Cohen, 1960)."""
    table = sums.reshape(len(sums), len(VERDICTS), len(VERDICTS))
    total = table.sum(axis=(1, 2))
    expected = ratio((table.sum(axis=1) * table.sum(axis=2)).sum(axis=1), np.square(total))
    return ratio(confusion_agreement(sums) - expected, 1 - expected)


def correlation_sums(first: Float64[np.ndarray, "pairs"], second: Float64[np.ndarray, "pairs"]) -> Sums:
    """The moments of two probabilities, each taken less 1/2."""
    x, y = first - 0.5, second - 0.5
    return np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=1)


def correlation(sums: Float64[np.ndarray, "samples sums"]) -> Float64[np.ndarray, "samples"]:
    """Of ``correlation_sums``: Pearson's correlation."""
    count, x, y, xx, yy, xy = sums.T
    spread = np.maximum(xx - ratio(x * x, count), 0) * np.maximum(yy - ratio(y * y, count), 0)
    return ratio(xy - ratio(x * y, count), np.sqrt(spread))


def common_pairs(
    votes: Votes,
) -> Iterator[
    tuple[tuple[int, int], Int64[np.ndarray, "pairs"], Int64[np.ndarray, "pairs"], Int64[np.ndarray, "pairs"]]
]:
    """For every two named annotators with a pair in common: who they are; both verdicts and the prompt of each pair."""
    by_pair: dict[int, list[int]] = {}
    for place in np.flatnonzero(votes.annotator >= 0).tolist():
        by_pair.setdefault(int(votes.pair[place]), []).append(place)
    common: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for places in by_pair.values():
        places.sort(key=lambda place: int(votes.annotator[place]))
        for index, one in enumerate(places):
            for other in places[index + 1 :]:
                who = int(votes.annotator[one]), int(votes.annotator[other])
                common.setdefault(who, []).append((one, other))
    for who in sorted(common):
        one, other = np.array(common[who], np.int64).T
        yield who, votes.verdict[one], votes.verdict[other], votes.prompt[one]
