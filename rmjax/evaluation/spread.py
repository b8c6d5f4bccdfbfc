"""How far the members of an ensemble are apart: what it says of a reward, and of which of two is the higher.

The responses of one prompt have rewards up to a constant, which each member of an ensemble has of its own. So the
spread of a reward holds how unsure that constant is too; that of a difference between two responses to a prompt
doesn't. ``config.loss.centering`` holds the constants of all members near zero.
"""

import numpy as np
from jaxtyping import Float, Float64, Int


def spread(members: Float[np.ndarray, "*any members"]) -> Float64[np.ndarray, "*any"]:
    """The standard deviation over members, each a draw from all that might have been trained: divided by one less than
    their number (ddof 1). NaN of a single member, which says nothing of it.
    """
    if members.shape[-1] == 1:
        return np.full(members.shape[:-1], np.nan)
    return members.std(axis=-1, ddof=1, dtype=np.float64)


def sureness(differences: Float[np.ndarray, "pairs members"]) -> Float64[np.ndarray, "pairs"]:
    """How sure it is which response of each pair is the better one; 0 where nothing speaks for either.

    Of an ensemble ``|mean| / spread``, the number of standard deviations between the mean difference and none: if the
    members' differences are normal, the probability that another member would prefer the other response is
    ``Phi(-|mean| / spread)``, with Phi the normal distribution function. Infinite where all members say the same. Of a
    single member ``|difference|``: the model of Bradley and Terry gives the other response the probability
    ``1 / (1 + exp(|difference|))``. The two have different scales, and the same order: the least sure pair is first.
    """
    exact = differences.astype(np.float64)
    middle = np.abs(exact.mean(axis=-1))
    if exact.shape[-1] == 1:
        return middle
    apart = spread(exact)
    found = np.divide(middle, apart, out=np.full_like(middle, np.inf), where=apart > 0)
    return np.where(middle == 0, 0.0, found)


def least_sure_first(differences: Float[np.ndarray, "pairs members"]) -> Int[np.ndarray, "pairs"]:
    """The numbers of the pairs, the least sure first, as a labeler would best be asked; equal ones in their order.

    Uncertainty sampling (Lewis and Gale, 1994, "A sequential algorithm for training text classifiers"); with an
    ensemble it asks about what the model doesn't know, and less about responses that it knows to be equally good.
    """
    return np.argsort(sureness(differences), kind="stable")
