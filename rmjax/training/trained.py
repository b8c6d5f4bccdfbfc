"""A trained model from its workdir, with all that scoring needs."""

from dataclasses import dataclass, field
from typing import Any

from absl import logging
from etils import epath

from rmjax.batches.contract import TextContract
from rmjax.config import BestBy, ExperimentConfig
from rmjax.model_config import ComputeDtype
from rmjax.models.reward import Params, RewardModel
from rmjax.training.checkpoint import CheckpointError, Checkpoints
from rmjax.training.parallel import make_model_here, make_parallel_here
from rmjax.training.pretrained import embedding_rows
from rmjax.training.scoring_record import ScoringRecord
from rmjax.training.tuning import adapters_of
from rmjax.training.workdir import CHECKPOINTS, read_config, read_contract

_NONE_YET = "{} has no checkpoint yet; the first is saved after config.evaluate_every steps"
_LOOKS = 3  # at a run that may be replacing its best checkpoint just then


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainedModel:
    """A model that has been trained: what it is, and how text reaches it.

    Attributes:
      config: of the run, with the dtype that the model computes in now.
      model, params: ``rmjax.models.reward.rewards(model, params, batch)`` gives rewards.
      contract: makes tokens of text.
      step: the training step that the parameters are of.
      record: of its rewards when it was validated; None where it wasn't.
      validation: the metrics of that; empty where it wasn't.
      recorded_in: the dtype that the rewards of the record were computed in.
      limits: in words, what the limits of its texts are.
      unvalidated: in words, that it has no record.
    """

    config: ExperimentConfig
    model: RewardModel
    params: Params
    contract: TextContract
    step: int
    record: ScoringRecord | None = None
    validation: dict[str, float] = field(default_factory=dict)
    recorded_in: ComputeDtype = ComputeDtype.FLOAT32
    limits: str = "those that its run was trained with"
    unvalidated: str = ""

    def __post_init__(self) -> None:
        if not self.unvalidated:
            object.__setattr__(self, "unvalidated", f"step {self.step} was saved without validation")


def load_trained(
    workdir: epath.PathLike, step: int | None = None, *, compute_dtype: ComputeDtype = ComputeDtype.FLOAT32
) -> TrainedModel:
    """The model of a run: of the best step by ``config.best_by`` (the earlier of equal ones), or of ``step``.

    A run that has saved but not validated yet has no best step; its newest is taken then. A run that goes on may be
    read. A model that was trained with kernels for attention is read with what there is where they don't run, and one
    that was trained in bfloat16 computes in float32 unless ``compute_dtype`` says otherwise: rounded to bfloat16, a
    reward depends on what it is computed beside.

    Raises:
      WorkdirError: if the folder doesn't exist, or lacks its config or tokenizer.
      ConfigError, TokenizerError: if these don't suit each other or this code.
      CheckpointError: if there is no checkpoint yet, or none of ``step`` (the steps there are get listed).
    """
    workdir = epath.Path(workdir)
    config = read_config(workdir)
    recorded_in, config.model.compute_dtype = config.model.compute_dtype, compute_dtype
    contract = read_contract(workdir, config)
    model = make_model_here(config.model, embedding_rows(config.model, contract), adapters_of(config))
    template = make_parallel_here(config).abstract_params(model)
    found = _restored(workdir / CHECKPOINTS, config.best_by, step, template)
    return TrainedModel(config=config, model=model, contract=contract, recorded_in=recorded_in, **found)


def chosen_step(workdir: epath.PathLike, step: int | None = None) -> int:
    """The step whose model ``load_trained`` gives, with its errors, before any parameter is read."""
    config = read_config(workdir)
    with _checkpoints(epath.Path(workdir) / CHECKPOINTS, config.best_by) as checkpoints:
        found = _chosen(checkpoints, step)
        checkpoints.require(found)
        return found


def _checkpoints(folder: epath.Path, best_by: BestBy) -> Checkpoints:
    """Those of a run that may be going on."""
    if not folder.exists():
        raise CheckpointError(_NONE_YET.format(folder.parent))
    return Checkpoints(folder, best_by=best_by, read_only=True)


def _chosen(checkpoints: Checkpoints, step: int | None) -> int:
    found = checkpoints.best_step() or checkpoints.latest_step() if step is None else step
    if found is None:
        raise CheckpointError(_NONE_YET.format(checkpoints.directory))
    return found


def _restored(folder: epath.Path, best_by: BestBy, step: int | None, template: Any) -> dict[str, Any]:
    """The fields of a TrainedModel that are the step's; a best one that was replaced while it was read is looked for
    again."""
    failed: int | None = None
    error: Exception | None = None
    for _ in range(_LOOKS):
        with _checkpoints(folder, best_by) as checkpoints:
            found = _chosen(checkpoints, step)
            if found == failed:
                break
            if failed is not None:
                logging.info(
                    "the checkpoint of step %d was replaced while it was read; now it is step %d", failed, found
                )
            try:
                return {
                    "step": found,
                    "params": checkpoints.restore_params(found, template),
                    "record": checkpoints.record(found),
                    "validation": checkpoints.validation(found) or {},
                }
            except Exception as failure:  # Orbax has many words for a file that was deleted
                failed, error = found, failure
    assert error is not None
    raise error
