"""The evaluator that the training loop is given."""

from collections.abc import Callable

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
    and the rewards of all their responses.

    Dropout is off. A statistic of nothing (the accuracy where all labels are ties) is NaN. Rewards that are not finite
    are a NonFiniteRewardsError.
    """
    compute = RewardComputer(model, config)

    def evaluate(params: Params) -> Validation:
        rewards = compute(params, tokenized)
        differences = pairwise.reward_differences(rewards, tokenized.left, tokenized.right, tokenized.head)
        metrics = {
            "accuracy": pairwise.accuracy(differences, tokenized.probability),
            "nll": pairwise.negative_log_likelihood(differences, tokenized.probability),
            "ece": calibration.reliability(differences, tokenized.probability).ece,
            "comparisons": float(tokenized.comparisons),
        }
        return Validation(metrics, rewards)

    return evaluate
