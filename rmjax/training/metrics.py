"""From sums to means: taken once, at the end, over all devices and all batches."""

import math

import numpy as np

from rmjax.arrays import Array
from rmjax.training.loss import LossSums
from rmjax.training.step import StepResult


def means(sums: LossSums) -> dict[str, float]:
    """The metrics of the batches that were summed up; NaN where there was nothing to take a mean of.

    Keys: loss (weighted mean), accuracy, reward_mean, reward_std, chosen_reward_mean, rejected_reward_mean,
    margin_mean (all in units of reward), packing_fill (share of the rows' places that hold a token). The deviation
    comes from float32 sums of rewards and of their squares: it loses digits where the mean is a hundred times larger.
    """

    def ratio(numerator: Array, denominator: Array) -> float:
        return float(numerator) / float(denominator) if denominator else math.nan

    reward_mean = ratio(sums.reward, sums.rewards)
    # The difference of two nearly equal numbers may fall below 0 by rounding; NaN stays NaN, so that it is seen.
    variance = np.maximum(ratio(sums.reward_squared, sums.rewards) - reward_mean**2, 0.0)
    return {
        "loss": ratio(sums.loss, sums.weight),
        "accuracy": ratio(sums.correct, sums.decided),
        "reward_mean": reward_mean,
        "reward_std": float(np.sqrt(variance)),
        "chosen_reward_mean": ratio(sums.chosen_reward, sums.decided),
        "rejected_reward_mean": ratio(sums.rejected_reward, sums.decided),
        "margin_mean": ratio(sums.margin, sums.decided),
        "packing_fill": ratio(sums.tokens, sums.slots),
    }


def step_metrics(result: StepResult) -> dict[str, float]:
    """The means of one step, its gradient_norm (before clipping) and its learning_rate."""
    return {
        **means(result.sums),
        "gradient_norm": float(result.gradient_norm),
        "learning_rate": float(result.learning_rate),
    }
