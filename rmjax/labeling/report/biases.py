"""What judgments follow besides the better response: the place on the page, the length; and where they contradict."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from jaxtyping import Bool, Float64, Int64
from scipy.optimize import brentq
from scipy.special import expit
from scipy.stats import binomtest

from rmjax.intervals import Estimate, clustered_mean, wilson_interval
from rmjax.labeling.report.judgments import Judgments, Votes, verdicts

CYCLIC_BY_CHANCE = 0.25  # 2 of the 8 ways in which three pairs can be judged are a cycle (Kendall and Smith, 1940)
NOTHING = Estimate(value=math.nan, low=math.nan, high=math.nan)


@dataclass(frozen=True, kw_only=True, slots=True)
class Share:
    """A share, of how many."""

    estimate: Estimate
    count: int


def first_preferred(judgments: Judgments) -> Share:
    """How often the response shown first is preferred, of the judgments that prefer one and say what was shown first.

    Without a bias it is a half where the order was drawn at random; the interval is Wilson's over prompts.
    """
    kept = (judgments.first != 0) & (judgments.probability != 0.5)
    return _share((judgments.probability > 0.5) == (judgments.first > 0), kept, judgments.prompt)


def first_probability(judgments: Judgments) -> Share:
    """The mean probability given to the response shown first: soft labels and ties as they are.

    The interval is that of ``clustered_mean`` over prompts.
    """
    kept = judgments.where(judgments.first != 0)
    given = np.where(kept.first > 0, kept.probability, 1 - kept.probability)
    return Share(estimate=clustered_mean(given, kept.prompt), count=len(kept))


def length_bias(judgments: Judgments) -> Share:
    """How often the response with more characters is preferred, of the judgments that prefer one of unequal lengths."""
    left, right = judgments.characters.T
    kept = (left != right) & (judgments.probability != 0.5)
    return _share((judgments.probability > 0.5) == (left > right), kept, judgments.prompt)


def _share(
    values: Bool[np.ndarray, "judgments"], kept: Bool[np.ndarray, "judgments"], prompts: Int64[np.ndarray, "judgments"]
) -> Share:
    return Share(estimate=wilson_interval(values[kept].astype(np.float64), prompts[kept]), count=int(kept.sum()))


def log_length_ratio(judgments: Judgments) -> Float64[np.ndarray, "judgments"]:
    """log((1 + characters of left) / (1 + characters of right)); the 1 is for responses that are empty."""
    return log_ratio(*judgments.characters.T)


def log_ratio(
    left: Float64[np.ndarray, "judgments"], right: Float64[np.ndarray, "judgments"]
) -> Float64[np.ndarray, "judgments"]:
    """The same of the numbers of characters."""
    return np.log1p(left) - np.log1p(right)


def length_slope(judgments: Judgments, *, level: float = 0.95) -> Estimate:
    """The b of logit P(left is preferred) = b * log_length_ratio, by maximum likelihood; probabilities may be soft.

    A response twice as long has 2**b times the odds. There is no intercept, for which response is left here is chance.
    The interval is the normal one with the cluster-robust variance over prompts (Liang and Zeger, 1986). Its bounds are
    NaN where the prompts can't say how far others may differ: of one prompt, and where b is the best for each of them
    alone. All three are NaN where no b is the best: all lengths are equal, or the longer is preferred always, or never.
    """
    x, y = log_length_ratio(judgments), judgments.probability
    rising, falling = np.maximum(x, 0).sum(), np.minimum(x, 0).sum()
    least = 1e-9 * (rising - falling)  # above rounding
    if not falling + least < x @ y < rising - least:
        return NOTHING
    reach = 1.0
    while _score(reach, x, y) >= 0 or _score(-reach, x, y) <= 0:
        reach *= 2
    root = brentq(_score, -reach, reach, args=(x, y), xtol=1e-12, rtol=np.float64(1e-14))
    slope = float(root)  # pyright: ignore[reportArgumentType] a pair only with full_output, which isn't asked for
    _, cluster = np.unique(judgments.prompt, return_inverse=True)
    groups = int(cluster.max()) + 1
    expected = expit(slope * x)
    scores = np.bincount(cluster, weights=x * (y - expected))
    if groups < 2 or np.abs(scores).max() < 1e-9 * np.abs(x).max():  # 0 but for rounding
        return Estimate(value=slope, low=math.nan, high=math.nan)
    error = math.sqrt(groups / (groups - 1) * float(scores @ scores)) / float((x * x) @ (expected * (1 - expected)))
    half = NormalDist().inv_cdf(0.5 + level / 2) * error
    return Estimate(value=slope, low=slope - half, high=slope + half)


def _score(slope: float, x: Float64[np.ndarray, "judgments"], y: Float64[np.ndarray, "judgments"]) -> float:
    return float(x @ (y - expit(slope * x)))


def cycles(votes: Votes, judgments: Judgments) -> Share:
    """The share of cyclic triples (a above b, b above c, c above a), of all three responses whose pairs are decided.

    A triple is of one prompt and one annotator; of votes of nobody (``mean_votes``) it is of the prompt alone.

    Args:
      votes: a row for an annotator and a pair.
      judgments: those that the votes are of; they say which responses a pair compares.

    Returns:
      The share with Wilson's interval over prompts; ``CYCLIC_BY_CHANCE`` is what coins would give.
    """
    responses = dict(
        zip(judgments.pair.tolist(), zip(judgments.left.tolist(), judgments.right.tolist(), strict=True), strict=True)
    )
    values, prompts = [], []
    for prompt, edges in _tournaments(votes, responses):
        triples, cyclic = count_triples(edges)
        values += [1.0] * cyclic + [0.0] * (triples - cyclic)
        prompts += [prompt] * triples
    estimate = wilson_interval(np.array(values, np.float64), np.array(prompts, np.int64))
    return Share(estimate=estimate, count=len(values))


def _tournaments(votes: Votes, responses: dict[int, tuple[int, int]]) -> Iterator[tuple[int, list[tuple[int, int]]]]:
    """The prompt and the (preferred, other) responses of each annotator and prompt, ties left out."""
    found: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for place in np.flatnonzero(votes.probability != 0.5).tolist():
        left, right = responses[int(votes.pair[place])]
        edge = (left, right) if votes.probability[place] > 0.5 else (right, left)
        found.setdefault((int(votes.prompt[place]), int(votes.annotator[place])), []).append(edge)
    for (prompt, _), edges in found.items():
        yield prompt, edges


def count_triples(edges: list[tuple[int, int]]) -> tuple[int, int]:
    """How many triples have all three pairs decided, and how many of these are cycles.

    With A the matrix of who is above whom, these are trace((A + A')**3) / 6 and trace(A**3) / 3.
    """
    names = {name: place for place, name in enumerate(dict.fromkeys(name for edge in edges for name in edge))}
    above = np.zeros((len(names), len(names)), np.int64)
    for better, worse in edges:
        above[names[better], names[worse]] = 1
    either = above + above.T
    return int(np.trace(either @ either @ either)) // 6, int(np.trace(above @ above @ above)) // 3


def gold_accuracy(judgments: Judgments) -> Share:
    """How often judgments of pairs with a known answer give it; the interval is the exact binomial one.

    A tie is right where the answer is one, and nowhere else.
    """
    known = judgments.gold >= 0
    count = int(known.sum())
    if not count:
        return Share(estimate=NOTHING, count=0)
    right = int((verdicts(judgments.probability) == judgments.gold)[known].sum())
    interval = binomtest(right, count).proportion_ci(0.95, "exact")
    estimate = Estimate(value=right / count, low=float(interval.low), high=float(interval.high))
    return Share(estimate=estimate, count=count)


def quantiles(seconds: Float64[np.ndarray, "judgments"]) -> dict[str, int | float]:
    """Count, median and quantiles of the seconds that are known."""
    known = seconds[~np.isnan(seconds)]
    levels = {"p10": 0.1, "p25": 0.25, "median": 0.5, "p75": 0.75, "p90": 0.9}
    found = np.quantile(known, list(levels.values())) if known.size else np.full(len(levels), np.nan)
    return {"count": int(known.size)} | dict(zip(levels, found.tolist(), strict=True))
