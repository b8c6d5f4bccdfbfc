"""How far a measured accuracy can be trusted: intervals that know that comparisons of one prompt belong together."""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from jaxtyping import Float, Float64, Int


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """A value and the interval around it."""

    value: float
    low: float
    high: float


def wilson_interval(
    correct: Float[np.ndarray, "comparisons"], prompts: Int[np.ndarray, "comparisons"], *, level: float = 0.95
) -> Estimate:
    """The mean of ``correct`` with the Wilson score interval at the effective number of comparisons.

    Comparisons of one prompt are not independent, so the number that enters Wilson's formula (Wilson, 1927) is not
    their count but ``effective_count``; it is the modified Wilson interval for clustered samples (Franco, Little,
    Louis and Slud, 2019). It stays inside [0, 1] and has a width at 0 and at 1 too. Where every prompt
    has one comparison and every value is 0 or 1 it is exactly the Wilson interval of a binomial proportion.

    Args:
      correct: values in [0, 1]: 1 right, 0 wrong, 1/2 a tie of the rewards.
      prompts: which prompt a comparison belongs to; any integers.
      level: the coverage.

    Returns:
      The estimate; three NaN for no comparisons.
    """
    if not correct.size:
        return Estimate(value=float("nan"), low=float("nan"), high=float("nan"))
    share = float(np.mean(correct, dtype=np.float64))
    count = effective_count(correct, prompts)
    z = NormalDist().inv_cdf(0.5 + level / 2)
    center = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * np.sqrt(share * (1 - share) / count + (z / (2 * count)) ** 2)
    # At a share of 0 or 1 rounding may take the bound past it.
    low, high = max(0.0, float(center - half)), min(1.0, float(center + half))
    return Estimate(value=share, low=min(low, share), high=max(high, share))


def effective_count(correct: Float[np.ndarray, "comparisons"], prompts: Int[np.ndarray, "comparisons"]) -> float:
    """How many independent comparisons would give a mean of the same variance (Kish, 1965).

    The variance of the mean is the cluster-robust one, ``G/(G-1) * sum over prompts of (sum of residuals)**2 / m**2``
    for m comparisons of G prompts (Liang and Zeger, 1986), and it is set against that of m independent ones,
    ``share * (1 - share) / (m - 1)``. Never more than m. Where the residuals of every prompt add up to nothing (all
    right, all wrong) they say nothing of the variance, and the prompts are counted, which is the careful choice.
    """
    _, cluster = np.unique(prompts, return_inverse=True)
    groups, count = int(cluster.max()) + 1, correct.size
    if groups == 1:
        return 1.0
    share = float(np.mean(correct, dtype=np.float64))
    sums = np.bincount(cluster, weights=correct - share)
    variance = groups / (groups - 1) * float(np.sum(sums**2)) / count**2
    independent = share * (1 - share) / (count - 1)
    if variance <= 1e-12 * independent or independent == 0:
        return float(groups)
    return min(count * independent / variance, float(count))


_ALIKE = 0.01  # probabilities that differ by less are taken for the same, as those of saturated logprobs


def clustered_mean(
    values: Float[np.ndarray, "items"], prompts: Int[np.ndarray, "items"], *, level: float = 0.95
) -> Estimate:
    """The mean of values between 0 and 1, as probabilities are, with an interval that counts prompts.

    The interval is that of Student's t with G - 1 degrees of freedom for G prompts, and the cluster-robust variance of
    ``effective_count``, cut off at 0 and 1. Where no prompt's mean is further than 0.01 from that of all, the variance
    is next to nothing, which doesn't mean that other prompts would say the same. Then, as none of G differed, a share
    of up to ``z**2 / (G + z**2)`` may (Wilson's bound for 0 of G), and may say anything from 0 to 1; for values all 0
    or all 1 that is Wilson's interval for G. ``wilson_interval`` itself takes every value for a coin's, as is right of
    0 and 1, but is too wide for what lies between.

    Args:
      values: from 0 to 1.
      prompts: which prompt a value belongs to; any integers.
      level: the coverage.

    Returns:
      The estimate. The bounds are NaN for one prompt, which says nothing of others; all three for no values.
    """
    from scipy.special import stdtrit  # here, because training, which has no use for it, would wait for it

    missing = float("nan")
    if not values.size:
        return Estimate(value=missing, low=missing, high=missing)
    mean = float(np.mean(values, dtype=np.float64))
    _, cluster = np.unique(prompts, return_inverse=True)
    groups = int(cluster.max()) + 1
    if groups == 1:
        return Estimate(value=mean, low=missing, high=missing)
    sums = np.bincount(cluster, weights=values - mean)
    error = np.sqrt(groups / (groups - 1) * float(np.sum(sums**2))) / values.size
    if np.abs(sums / np.bincount(cluster)).max() < _ALIKE:
        z = NormalDist().inv_cdf(0.5 + level / 2)
        unseen = z * z / (groups + z * z)
        return Estimate(value=mean, low=mean * (1 - unseen), high=mean + (1 - mean) * unseen)
    half = float(stdtrit(groups - 1, 0.5 + level / 2) * error)
    return Estimate(value=mean, low=max(0.0, mean - half), high=min(1.0, mean + half))


def paired_bootstrap(
    correct: Float[np.ndarray, "models comparisons"],
    prompts: Int[np.ndarray, "comparisons"],
    *,
    level: float = 0.95,
    samples: int = 10_000,
    seed: int = 0,
) -> Estimate:
    """The mean accuracy of several models, as over seeds, with its percentile interval over redrawn prompts.

    Whole prompts are drawn with replacement (a cluster bootstrap: Efron and Tibshirani, 1993, chapter 8), the same ones
    for every model. The interval speaks of the test prompts, given these trained models; how much the models would
    differ under more seeds it can't know.

    Args:
      correct: correctness of each model on the same comparisons, in the same order.
      prompts: which prompt a comparison belongs to.
      level: the coverage.
      samples: how often the prompts are redrawn.
      seed: of the draws; equal seeds give equal intervals.

    Returns:
      The mean on all comparisons, and the bounds; three NaN for no comparisons. Where no prompt differs from
      another, as where all comparisons are right, the interval has no width, and says nothing of other prompts.
    """
    if not correct.size:
        return Estimate(value=float("nan"), low=float("nan"), high=float("nan"))
    _, cluster = np.unique(prompts, return_inverse=True)
    # The mean is linear in the models, so one column of sums and one of counts for each prompt say it all.
    sums = np.bincount(cluster, weights=correct.mean(axis=0, dtype=np.float64))
    counts = np.bincount(cluster).astype(np.float64)
    draws = _redrawn(np.stack([sums, counts], axis=1), samples, seed)
    low, high = np.quantile(draws[:, 0] / draws[:, 1], [0.5 - level / 2, 0.5 + level / 2])
    return Estimate(value=float(sums.sum() / counts.sum()), low=float(low), high=float(high))


def bootstrap(
    sums: Float64[np.ndarray, "items sums"],
    prompts: Int[np.ndarray, "items"],
    statistic: Callable[[Float64[np.ndarray, "samples sums"]], Float64[np.ndarray, "samples"]],
    *,
    level: float = 0.95,
    samples: int = 2000,
    seed: int = 0,
) -> Estimate:
    """A statistic that is a function of sums over items, with its percentile interval over redrawn prompts.

    Args:
      sums: what each item adds to each of the sums.
      prompts: which prompt an item belongs to; whole prompts are drawn, as in ``paired_bootstrap``.
      statistic: from rows of sums to one value a row, NaN where it doesn't exist.
      level: the coverage.
      samples: how often the prompts are redrawn.
      seed: of the draws.

    Returns:
      The statistic of all items and the bounds. Draws in which it doesn't exist are left out. The bounds are NaN where
      the draws can't say how far other prompts may differ: of one prompt, and where all draws come to one value, as the
      kappa of annotators who always agreed; and where the statistic is NaN itself.
    """
    missing = float("nan")
    value = float(statistic(sums.sum(axis=0, keepdims=True))[0])
    kept, cluster = np.unique(prompts, return_inverse=True)
    if len(kept) < 2 or np.isnan(value):
        return Estimate(value=value, low=missing, high=missing)
    totals = np.stack([np.bincount(cluster, weights=column) for column in sums.T], axis=1)
    draws = statistic(_redrawn(totals, samples, seed))
    draws = draws[~np.isnan(draws)]
    if np.ptp(draws) < 1e-12:  # they differ by rounding alone
        return Estimate(value=value, low=missing, high=missing)
    low, high = np.quantile(draws, [0.5 - level / 2, 0.5 + level / 2])
    return Estimate(value=value, low=float(low), high=float(high))


def _redrawn(
    totals: Float64[np.ndarray, "prompts sums"], samples: int, seed: int
) -> Float64[np.ndarray, "samples sums"]:
    """The totals over as many prompts drawn with replacement, ``samples`` times, a block at a time."""
    rng = np.random.default_rng(seed)
    prompts = len(totals)
    block = max(1, 4_000_000 // prompts)
    parts = []
    for start in range(0, samples, block):
        rows = min(block, samples - start)
        drawn = rng.integers(0, prompts, size=(rows, prompts)) + prompts * np.arange(rows)[:, None]
        times = np.bincount(drawn.ravel(), minlength=rows * prompts).reshape(rows, prompts)
        parts.append(times.astype(np.float64) @ totals)
    return np.concatenate(parts)
