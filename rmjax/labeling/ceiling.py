"""How accurate a model can be on these labels, as far as their disagreement tells."""

import numpy as np
from jaxtyping import Float64, Int64

from rmjax.labeling.agreement import Sums, agreeing, ratio
from rmjax.labeling.judgments import Votes


def decided_sums(counts: Int64[np.ndarray, "pairs 3"]) -> Sums:
    """Agreement of those who prefer one of the two, and the number of pairs that have two such annotators.

    Ties are left out, as they are of accuracy.
    """
    share = agreeing(counts[:, ::2])
    there = ~np.isnan(share)
    return np.stack([np.where(there, share, 0.0), there.astype(np.float64)], axis=1)


def repeat_agreement(sums: Float64[np.ndarray, "samples 2"]) -> Float64[np.ndarray, "samples"]:
    """Of ``decided_sums``: q, the probability that two annotators of a pair prefer the same response."""
    return ratio(sums[:, 0], sums[:, 1])


def ceiling_at_most(sums: Float64[np.ndarray, "samples 2"]) -> Float64[np.ndarray, "samples"]:
    """Of ``decided_sums``: (1 + sqrt(2 q - 1)) / 2, above which no model agrees with one annotator's label.

    Assumed: each annotator of a pair prefers left with one probability p, the same for all of them and independently.
    Then q is the mean of p**2 + (1 - p)**2 = (1 + (2p - 1)**2) / 2, and a model that knows every p agrees in the mean
    of max(p, 1 - p) = (1 + |2p - 1|) / 2. By Jensen's inequality that mean is at most the value here, reached where all
    pairs are equally hard, and as |2p - 1| >= (2p - 1)**2 it is at least q, reached where each pair is either certain
    or a coin's. Below q = 1/2, which is chance, the value is 1/2.
    """
    return (1 + np.sqrt(np.maximum(2 * repeat_agreement(sums) - 1, 0))) / 2


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
