"""Whether a model that says 80 % is right 80 times in 100."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float64, Int

BINS = 15


@dataclass(frozen=True, kw_only=True, slots=True)
class Reliability:
    """Confidence against correctness, by bins of equal width over [0.5, 1].

    Attributes:
      count: comparisons in the bin.
      confidence, accuracy: their means in the bin; NaN in an empty one.
    """

    count: Int[np.ndarray, "bins"]
    confidence: Float64[np.ndarray, "bins"]
    accuracy: Float64[np.ndarray, "bins"]

    @property
    def ece(self) -> float:
        """The expected calibration error, ``sum of n_b / n * |accuracy_b - confidence_b|``; NaN of nothing."""
        return self._mean(np.abs(self.accuracy - self.confidence))

    @property
    def overconfidence(self) -> float:
        """Mean confidence less mean correctness: above 0 the model claims more than it keeps, below 0 less."""
        return self._mean(self.confidence - self.accuracy)

    def _mean(self, gaps: Float64[np.ndarray, "bins"]) -> float:
        total = int(self.count.sum())
        return float(np.nansum(gaps * self.count) / total) if total else float("nan")


def confidence(differences: Float[np.ndarray, "comparisons"]) -> Float64[np.ndarray, "comparisons"]:
    """The probability that the model gives to the response it prefers: ``max(s, 1 - s)`` of s = sigmoid(d)."""
    return 1 / (1 + np.exp(-np.abs(differences.astype(np.float64))))


def credit(
    differences: Float[np.ndarray, "comparisons"], probability: Float[np.ndarray, "comparisons"]
) -> Float64[np.ndarray, "comparisons"]:
    """The label's probability of the response that the model prefers; 1/2 for equal rewards."""
    return 0.5 + np.sign(differences) * (probability.astype(np.float64) - 0.5)


def reliability(
    differences: Float[np.ndarray, "comparisons"], probability: Float[np.ndarray, "comparisons"], *, bins: int = BINS
) -> Reliability:
    """Bins the comparisons by the model's confidence in the response that it prefers itself.

    Binned by the probability of *left* instead, the result would hang on how the data was written down: most files
    put the chosen response left, every label is then 1, and a perfect model shows an error of its own in every bin
    below 1. Seen from the model's own choice, swapping the two responses changes nothing. The bins have equal width
    over [0.5, 1], the range of that confidence, and hold all comparisons, soft labels and ties with the label's
    probability as their correctness. (Naeini et al., 2015; Guo et al., 2017, equation 3.)
    """
    sure, right = confidence(differences), credit(differences, probability)
    index = _bin(sure, bins)
    count = np.bincount(index, minlength=bins)
    return Reliability(
        count=count,
        confidence=_mean_by_bin(sure, index, count),
        accuracy=_mean_by_bin(right, index, count),
    )


def ece_if_calibrated(
    differences: Float[np.ndarray, "comparisons"],
    probability: Float[np.ndarray, "comparisons"],
    *,
    bins: int = BINS,
    draws: int = 200,
    seed: int = 0,
) -> float:
    """The ECE that a perfectly calibrated model with these confidences would show on as many comparisons.

    ECE is never 0 on hard labels: they scatter around even the right confidence, and the absolute value lets nothing
    cancel. This is its mean over ``draws`` sets of labels that are drawn, independently of each other, with exactly the
    stated confidences, under a fixed seed. (Compare Vaicenavicius et al., 2019.)

    Only a comparison with a hard label is drawn. A soft label, a tie among them, is a probability, not one outcome of
    it, so the calibrated model's confidence is the label itself, and nothing scatters. (Judges whose soft labels
    scatter too would raise the value; by how much, the labels don't tell, so with them this is a lower bound.)
    """
    if not differences.size:
        return float("nan")
    sure = confidence(differences)[(probability == 0) | (probability == 1)]
    index = _bin(sure, bins)
    expected = np.bincount(index, weights=sure, minlength=bins)
    rng = np.random.default_rng(seed)
    errors = []
    for _ in range(draws):
        right = np.bincount(index[rng.random(sure.size) < sure], minlength=bins)
        errors.append(float(np.abs(right - expected).sum()) / differences.size)
    return float(np.mean(errors))


def _bin(sure: Float64[np.ndarray, "comparisons"], bins: int) -> Int[np.ndarray, "comparisons"]:
    """Which bin of [0.5, 1] a confidence falls into; 1 itself is in the last."""
    return np.minimum(((sure - 0.5) * (2 * bins)).astype(np.int64), bins - 1)


def _mean_by_bin(
    values: Float64[np.ndarray, "comparisons"], index: Int[np.ndarray, "comparisons"], count: Int[np.ndarray, "bins"]
) -> Float64[np.ndarray, "bins"]:
    """The mean of the values in each bin; NaN where there are none."""
    sums = np.bincount(index, weights=values, minlength=len(count)).astype(np.float64)  # of nothing it is int64
    return np.divide(sums, count, out=np.full(len(count), np.nan), where=count > 0)
