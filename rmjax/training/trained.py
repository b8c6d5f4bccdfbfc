"""A trained model from its workdir, with all that scoring needs."""

from dataclasses import dataclass

from etils import epath

from rmjax.batches.contract import TextContract
from rmjax.batches.tokenizer import vocabulary_size_of
from rmjax.config import ExperimentConfig
from rmjax.models.reward import Params, RewardModel
from rmjax.training.checkpoint import CheckpointError, Checkpoints
from rmjax.training.parallel import make_model, make_parallel_here
from rmjax.training.workdir import CHECKPOINTS, read_config, read_contract


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainedModel:
    """A model that has been trained: what it is, and how text reaches it.

    Attributes:
      config: of the run.
      model, params: ``rmjax.models.reward.rewards(model, params, batch)`` gives rewards.
      contract: makes tokens of text.
      step: the training step that the parameters are of.
    """

    config: ExperimentConfig
    model: RewardModel
    params: Params
    contract: TextContract
    step: int


def load_trained(workdir: epath.PathLike, step: int | None = None) -> TrainedModel:
    """The model of a run: of the best step by validation accuracy (the earlier of equal ones), or of ``step``.

    A run that has saved but not validated yet has no best step; its newest is taken then.

    Raises:
      WorkdirError: if the folder doesn't exist, or lacks its config or tokenizer.
      CheckpointError: if there is no checkpoint yet, or none of ``step`` (the steps there are get listed).
    """
    workdir = epath.Path(workdir)
    config = read_config(workdir)
    contract = read_contract(workdir, config)
    folder = workdir / CHECKPOINTS
    if not folder.exists():
        raise CheckpointError(f"{workdir} has no checkpoint yet; the first is saved after config.evaluate_every steps")
    model = make_model(config.model, vocabulary_size_of(contract.tokenizer))
    with Checkpoints(folder, read_only=True) as checkpoints:
        if step is None:
            step = checkpoints.best_step() or checkpoints.latest_step()
        if step is None:
            raise CheckpointError(
                f"{folder} has no checkpoint yet; the first is saved after config.evaluate_every steps"
            )
        params = checkpoints.restore_params(step, make_parallel_here(config).abstract_params(model))
    return TrainedModel(config=config, model=model, params=params, contract=contract, step=step)
