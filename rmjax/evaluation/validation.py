"""The evaluator that the training loop is given."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Float64

from rmjax.batches.tokenized import TokenizedPreferences
from rmjax.config import ExperimentConfig
from rmjax.evaluation import calibration, pairwise
from rmjax.evaluation.rewards import RewardComputer
from rmjax.models.reward import Params, RewardModel
from rmjax.training.scoring_record import Validation


def make_evaluator(
    model: RewardModel, tokenized: TokenizedPreferences, config: ExperimentConfig
) -> Callable[[Params], Validation]:
    """A function of the parameters to ``accuracy``, ``nll``, ``ece`` and ``comparisons`` on the tokenized preferences,
    and the rewards of all their responses. Of a model with several reward heads ``accuracy/NAME`` and so on say the
    same of each that has comparisons.

    Dropout is off. A statistic of nothing (the accuracy where all labels are ties) is NaN. Rewards that are not finite
    are a NonFiniteRewardsError.
    """
    compute = RewardComputer(model, config)

    def evaluate(params: Params) -> Validation:
        rewards = compute(params, tokenized)
        differences = pairwise.reward_differences(rewards, tokenized.left, tokenized.right, tokenized.head)
        metrics = _metrics(differences, tokenized.probability)
        heads = config.model.reward_heads
        for number, head in enumerate(heads if len(heads) > 1 else ()):
            own = tokenized.head == number
            if own.any():
                found = _metrics(differences[own], tokenized.probability[own])
                metrics |= {f"{name}/{head}": value for name, value in found.items()}
        return Validation(metrics, rewards)

    return evaluate


def _metrics(
    differences: Float64[np.ndarray, "comparisons"], probability: Float[np.ndarray, "comparisons"]
) -> dict[str, float]:
    return {
        "accuracy": pairwise.accuracy(differences, probability),
        "nll": pairwise.negative_log_likelihood(differences, probability),
        "ece": calibration.reliability(differences, probability).ece,
        "comparisons": float(len(probability)),
    }
