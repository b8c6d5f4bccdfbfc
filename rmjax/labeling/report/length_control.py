"""Who would win how often if answers were equally long, after Dubois et al. (2024, arXiv 2404.04475)."""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from jaxtyping import Float64, Int
from scipy.special import expit

from rmjax.intervals import Estimate

_MOST_STEPS = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class LengthControl:
    """What the judge's preferences say of length and of each rival.

    Attributes:
      slope: of the logit for a unit of length.
      at_equal_length: of each rival, how often it is preferred to the other where length makes no difference.
    """

    slope: Estimate
    at_equal_length: tuple[Estimate, ...]


def length_control(
    probability: Float64[np.ndarray, "judgments"],
    length: Float64[np.ndarray, "judgments"],
    rival: Int[np.ndarray, "judgments"],
    prompt: Int[np.ndarray, "judgments"],
    *,
    level: float = 0.95,
) -> LengthControl:
    """Maximum likelihood of logit P(the rival is preferred) = a of the rival + slope * length; the rate is sigmoid(a).

    It is the length-controlled win rate of Dubois et al. (2024, arXiv 2404.04475) with one slope for all rivals and
    without a term for how hard a prompt is. The intervals are normal in the logit, with the cluster-robust variance
    over prompts (Liang and Zeger, 1986).

    Args:
      probability: that the rival is preferred; may be soft.
      length: how much longer the rival's answer is, as ``log_length_ratio`` has it, say; 0 where both are as long.
      rival: numbers 0 to R - 1, each with at least one judgment.
      prompt: which prompt a judgment belongs to; at least two.
      level: of the intervals.

    ValueError where no maximum exists: lengths that don't differ within any rival's judgments, a rival that wins all
    or none, preferences that length alone decides.
    """
    rivals = int(rival.max()) + 1
    features = np.concatenate([np.eye(rivals)[rival], length[:, None]], axis=1)
    fitted = _fit(features, probability)
    if fitted is None:
        raise ValueError(
            "the preferences have no best fit by rival and length; right would be rivals that win some and lose some, "
            "at lengths that differ and don't decide alone"
        )
    errors = np.sqrt(np.diag(_covariance(features, probability, prompt, fitted)))
    half = NormalDist().inv_cdf(0.5 + level / 2) * errors
    bounds = np.stack([fitted, fitted - half, fitted + half], axis=1)
    slope, rates = bounds[-1], expit(bounds[:-1])
    return LengthControl(slope=_estimate(slope), at_equal_length=tuple(map(_estimate, rates)))


def _estimate(found: Float64[np.ndarray, "3"]) -> Estimate:
    value, low, high = found.tolist()
    return Estimate(value=value, low=low, high=high)


def _fit(
    x: Float64[np.ndarray, "judgments features"], y: Float64[np.ndarray, "judgments"]
) -> Float64[np.ndarray, "features"] | None:
    """By Newton's method, each step halved until the likelihood doesn't fall; None where it doesn't settle."""
    found = np.zeros(x.shape[1])
    for _ in range(_MOST_STEPS):
        expected = expit(x @ found)
        gradient = x.T @ (y - expected)
        hessian = x.T @ (x * (expected * (1 - expected))[:, None])
        if not np.linalg.cond(hessian) < 1e12:
            return None
        step = np.linalg.solve(hessian, gradient)
        while _likelihood(x @ (found + step), y) < _likelihood(x @ found, y) and np.abs(step).max() > 1e-12:
            step = step / 2
        found = found + step
        if np.abs(step).max() < 1e-10 * (1 + np.abs(found).max()):
            return found
    return None


def _likelihood(logits: Float64[np.ndarray, "judgments"], y: Float64[np.ndarray, "judgments"]) -> float:
    return math.fsum(y * logits - np.logaddexp(0, logits))


def _covariance(
    x: Float64[np.ndarray, "judgments features"],
    y: Float64[np.ndarray, "judgments"],
    prompt: Int[np.ndarray, "judgments"],
    found: Float64[np.ndarray, "features"],
) -> Float64[np.ndarray, "features features"]:
    """The sandwich over prompts, with the correction for few of them: G/(G-1) * (N-1)/(N-K)."""
    expected = expit(x @ found)
    bread = np.linalg.inv(x.T @ (x * (expected * (1 - expected))[:, None]))
    _, cluster = np.unique(prompt, return_inverse=True)
    groups, (count, features) = int(cluster.max()) + 1, x.shape
    scores = np.stack([np.bincount(cluster, weights=column) for column in (x * (y - expected)[:, None]).T], axis=1)
    correction = groups / (groups - 1) * (count - 1) / (count - features)
    return correction * bread @ (scores.T @ scores) @ bread
