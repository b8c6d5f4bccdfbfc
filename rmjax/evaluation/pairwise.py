"""How often a reward model prefers what the labelers preferred.

Everything here is numpy in float64 over the rewards of single responses, so a result can depend neither on how the
responses were batched nor on how many devices computed them. Every comparison counts once: loss weights and margins
belong to training and are not used.
"""

import numpy as np
from jaxtyping import Bool, Float, Float64, Int

from rmjax.intervals import Estimate, bootstrap, wilson_interval
from rmjax.labeling.report.agreement import ratio


def reward_differences(
    rewards: Float[np.ndarray, "responses heads *members"],
    left: Int[np.ndarray, "comparisons"],
    right: Int[np.ndarray, "comparisons"],
    head: Int[np.ndarray, "comparisons"],
) -> Float64[np.ndarray, "comparisons *members"]:
    """``r_left - r_right`` of every comparison on its head, the two rewards taken to float64 first; where rewards are
    given by member, of each member."""
    exact = rewards.astype(np.float64)
    return exact[left, head] - exact[right, head]


def decided(probability: Float[np.ndarray, "comparisons"]) -> Bool[np.ndarray, "comparisons"]:
    """Which comparisons have a right answer: all but the ties, labeled exactly 0.5."""
    return probability != 0.5


def correctness(
    differences: Float[np.ndarray, "comparisons"], probability: Float[np.ndarray, "comparisons"]
) -> Float64[np.ndarray, "comparisons"]:
    """1 where the greater reward is on the labelers' side, 0 where it is on the other, 1/2 for equal rewards.

    The right answer of a soft label is the side with more than half of the probability. Comparisons labeled 0.5 have
    none and come out as 1/2; leave them out with ``decided`` before taking a mean.
    """
    return 0.5 + 0.5 * np.sign(differences) * np.sign(probability - 0.5)


def accuracy(differences: Float[np.ndarray, "comparisons"], probability: Float[np.ndarray, "comparisons"]) -> float:
    """The mean of ``correctness`` over the comparisons that have a right answer; NaN where none has one."""
    return mean(correctness(differences, probability)[decided(probability)])


def negative_log_likelihood(
    differences: Float[np.ndarray, "comparisons"], probability: Float[np.ndarray, "comparisons"]
) -> float:
    """The mean Bradley-Terry cross-entropy in nats: ``-(p log s(d) + (1-p) log s(-d))`` with s the sigmoid.

    Over all comparisons, ties too; without label smoothing, without centering, without margins. A model that knows
    nothing (all rewards equal) gets log 2 = 0.693. (Bradley and Terry, 1952; Ouyang et al., 2022, equation 1.)
    """
    return mean(probability * np.logaddexp(0, -differences) + (1 - probability) * np.logaddexp(0, differences))


def accuracy_by_quartile(
    differences: Float[np.ndarray, "comparisons"],
    probability: Float[np.ndarray, "comparisons"],
    size: Float[np.ndarray, "comparisons"],
) -> list[float]:
    """The accuracy in each quarter of the decided comparisons, ordered by ``size``, the smallest sizes first.

    The bounds are the quartiles of ``size`` among the decided comparisons, and equal sizes are never torn apart, so
    quarters differ in number where sizes are often equal, and one that nothing falls into is NaN.
    """
    kept = decided(probability)
    if not kept.any():
        return [float("nan")] * 4
    correct, size = correctness(differences, probability)[kept], size[kept]
    quarter = np.searchsorted(np.quantile(size, [0.25, 0.5, 0.75]), size, side="left")
    return [mean(correct[quarter == index]) for index in range(4)]


def length_controlled_accuracy(
    differences: Float[np.ndarray, "comparisons"],
    probability: Float[np.ndarray, "comparisons"],
    longer: Float[np.ndarray, "comparisons"],
    prompts: Int[np.ndarray, "comparisons"],
) -> Estimate:
    """The mean of two accuracies: where labelers prefer the longer response, and where they prefer the shorter.

    ``(P(right | the longer is preferred) + P(right | the shorter is preferred)) / 2`` over decided pairs of unequal
    length: the balanced accuracy (Brodersen et al., 2010, "The balanced accuracy and its posterior distribution") whose
    classes are the lengths of what is preferred. Whoever goes by length alone, either way, has exactly one half.
    It is not the length-controlled win rate of Dubois et al. (2024, arXiv 2404.04475;
    ``labeling.report.length_control``), a regression that has no fit where a model goes by length alone, which is what
    this has to find. Whoever follows length the more surely the greater the difference keeps a little of it: labelers
    who like length do so too.

    Args:
      differences: of the rewards, left less right.
      probability: that labelers prefer left.
      longer: how much longer left is, in any unit; its sign is used.
      prompts: which prompt a comparison belongs to.

    Returns:
      The value with its bootstrap interval over prompts (``rmjax.intervals.bootstrap``). Where a kind's pairs are all
      right or all wrong, redrawing them says nothing of how far others may differ; then it is the interval of two
      independent proportions, made of their ``rmjax.intervals.wilson_interval`` (Newcombe, 1998, "Interval estimation
      for the difference between independent proportions", method 10, here of half their sum). Three NaN where one of
      the two kinds has no pair: lengths don't differ, or tell alone which response is preferred.
    """
    kept = decided(probability) & (longer != 0)
    probability, prompts = probability[kept], prompts[kept]
    agreed, follows = correctness(differences[kept], probability), correctness(longer[kept], probability)
    kinds = [(agreed[follows == kind], prompts[follows == kind]) for kind in (1.0, 0.0)]
    if any(len(np.unique(right)) < 2 for right, _ in kinds):
        return _half_the_sum(*(wilson_interval(*kind) for kind in kinds))
    sums = np.stack([agreed * follows, follows, agreed * (1 - follows), 1 - follows], axis=1)
    return bootstrap(sums, prompts, _mean_of_both)


def _half_the_sum(one: Estimate, other: Estimate) -> Estimate:
    """Of two independent proportions; NaN where one is."""
    value = (one.value + other.value) / 2
    below = np.hypot(one.value - one.low, other.value - other.low) / 2
    above = np.hypot(one.high - one.value, other.high - other.value) / 2
    return Estimate(value=value, low=float(value - below), high=float(value + above))


def _mean_of_both(sums: Float64[np.ndarray, "samples 4"]) -> Float64[np.ndarray, "samples"]:
    return (ratio(sums[:, 0], sums[:, 1]) + ratio(sums[:, 2], sums[:, 3])) / 2


def bayes_accuracy(
    true_probability: Float[np.ndarray, "comparisons"], probability: Float[np.ndarray, "comparisons"]
) -> float:
    """The accuracy expected of the best predictor there is, who knows how likely a labeler prefers left.

    It is the mean of ``max(q, 1 - q)`` over the decided comparisons; NaN where q isn't known for all of them.
    """
    known = true_probability[decided(probability)]
    return mean(np.maximum(known, 1 - known))


def spearman(
    rewards: Float[np.ndarray, "responses"],
    utilities: Float[np.ndarray, "responses"],
    left: Int[np.ndarray, "comparisons"],
    right: Int[np.ndarray, "comparisons"],
) -> float:
    """The rank correlation of reward differences with differences of true utility, over the compared pairs.

    Differences within a prompt are taken because a reward is known up to a constant for each prompt alone. A
    difference has a sign, and the sign belongs to the order in which a pair was written down: files put the chosen
    response first, which would leave only half of the plane and another correlation. So every pair enters in both
    orders, as d and as -d, and once however often it was compared. (Spearman, 1904, with mean ranks for ties.)
    """
    from scipy import stats  # here, because it takes a second to import, and training would wait for it

    pairs = np.unique(np.sort(np.stack([left, right], axis=1), axis=1), axis=0)
    reward = rewards.astype(np.float64)[pairs[:, 0]] - rewards.astype(np.float64)[pairs[:, 1]]
    utility = utilities.astype(np.float64)[pairs[:, 0]] - utilities.astype(np.float64)[pairs[:, 1]]
    if not np.isfinite(utility).all() or not reward.any() or not utility.any():
        return float("nan")
    ranks = [stats.rankdata(np.concatenate([part, -part])) for part in (reward, utility)]
    return float(np.corrcoef(ranks)[0, 1])


def mean(values: Float[np.ndarray, "any"]) -> float:
    """The mean in float64; NaN of nothing, without a warning."""
    return float(np.mean(values, dtype=np.float64)) if values.size else float("nan")
