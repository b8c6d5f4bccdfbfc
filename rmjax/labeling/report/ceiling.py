"""How accurate a model can be on these labels, as far as their disagreement tells."""

import numpy as np
from jaxtyping import Float64, Int64

from rmjax.intervals import Estimate
from rmjax.labeling.report.agreement import Sums, agreeing, ratio
from rmjax.labeling.report.judgments import Votes


def decided_agreement(counts: Int64[np.ndarray, "pairs 3"]) -> Float64[np.ndarray, "pairs"]:
    """Of each pair, how often two of those who prefer one response prefer the same; NaN where there are no two.

    Ties are left out, as they are of accuracy. The mean is q, the probability that two annotators agree.
    """
    return agreeing(counts[:, ::2])


def ceiling_at_most(agreed: Estimate) -> Estimate:
    """Of q, how often two annotators agree: (1 + sqrt(2 q - 1)) / 2, above which no model agrees with one's label.

    Assumed: each annotator of a pair prefers left with one probability p, the same for all of them and independently.
    Then q is the mean of p**2 + (1 - p)**2 = (1 + (2p - 1)**2) / 2, and a model that knows every p agrees in the mean
    of max(p, 1 - p) = (1 + |2p - 1|) / 2. By Jensen's inequality that mean is at most the value here, reached where all
    pairs are equally hard, and as |2p - 1| >= (2p - 1)**2 it is at least q, reached where each pair is either certain
    or a coin's. Below q = 1/2, which is chance, the value is 1/2. It never falls
    as q grows, so the bounds of q give its own.
    """

    def at_most(agreement: float) -> float:
        return float(1 + np.sqrt(np.maximum(2 * agreement - 1, 0))) / 2

    return Estimate(value=at_most(agreed.value), low=at_most(agreed.low), high=at_most(agreed.high))


def soft_sums(means: Votes) -> Sums:
    """Of each pair's mean probability p (``mean_votes``): max(p, 1 - p), the entropy in nats, and 1 for the pair."""
    p = means.probability
    inside = np.clip(p, 1e-300, 1.0)
    outside = np.clip(1 - p, 1e-300, 1.0)
    entropy = -(p * np.log(inside) + (1 - p) * np.log(outside))
    return np.stack([np.maximum(p, 1 - p), entropy, np.ones_like(p)], axis=1)


def soft_ceiling(sums: Float64[np.ndarray, "samples 3"]) -> Float64[np.ndarray, "samples"]:
    """Of ``soft_sums``: the mean of max(p, 1 - p), the best accuracy on labels drawn with the probabilities p.

    Assumed: the probabilities are calibrated. The mean of few annotators is further from 1/2 than the probability that
    it estimates, so of these the value is too high.
    """
    return ratio(sums[:, 0], sums[:, 2])


def least_nll(sums: Float64[np.ndarray, "samples 3"]) -> Float64[np.ndarray, "samples"]:
    """Of ``soft_sums``: the mean entropy, the least negative log-likelihood (nats) on the soft labels themselves."""
    return ratio(sums[:, 1], sums[:, 2])
