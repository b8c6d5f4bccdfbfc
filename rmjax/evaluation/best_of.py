"""What best-of-n would pick: the expected value of the response with the highest reward among n.

With the true utility as the value it shows where the reward stops being a guide to it. (Gao, Schulman and Hilton, 2022,
"Scaling laws for reward model overoptimization", arXiv 2210.10760.)
"""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float64


def best_of(
    rewards: Float[np.ndarray, "candidates"], values: Float[np.ndarray, "candidates"], sizes: Sequence[int]
) -> Float64[np.ndarray, "sizes"]:
    """For each n in ``sizes`` the mean, over all subsets of n candidates, of the value of the best-rewarded one.

    So all candidates speak for every n: the unbiased estimator of Nakano et al. (2021, "WebGPT", arXiv 2112.09332,
    appendix I). The candidate that has i others below it is the best of ``C(i, n - 1)`` subsets out of ``C(N, n)``. Of
    equal rewards each is picked as often as the others. ValueError for a size that isn't in 1..N.
    """
    count = len(rewards)
    for size in sizes:
        if not 1 <= size <= count:
            raise ValueError(f"sizes has {size}; of {count} candidates right would be 1..{count}")
    _, equal = np.unique(rewards, return_inverse=True)
    shared = np.bincount(equal, weights=values) / np.bincount(equal)
    ordered = np.sort(equal)
    return np.array([shared[ordered] @ _chances(count, size) for size in sizes], np.float64)


def best_of_divergence(n: int) -> float:
    """The KL divergence of best-of-n from what the candidates are drawn from, ``log n - (n - 1) / n`` nats.

    It is exact where no two rewards are equal (Stiennon et al., 2020, arXiv 2009.01325, appendix G.3), and else an
    upper bound.
    """
    return math.log(n) - (n - 1) / n


def _chances(count: int, size: int) -> Float64[np.ndarray, "count"]:
    """That each is the best of a random subset, the lowest reward first."""
    subsets = math.comb(count, size)
    return np.array([math.comb(below, size - 1) / subsets for below in range(count)])
