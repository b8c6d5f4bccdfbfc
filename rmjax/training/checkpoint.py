"""Checkpoints: what a run resumes from and what scoring loads. The only module that imports Orbax.

A checkpoint is three items: ``params`` (all that scoring needs), ``state`` (the rest of the train state: optimizer,
step and key) and ``meta`` (the data state, as JSON); one that was validated has ``metrics`` too. It is written under a
temporary name and takes its own when it is whole, so what a crash left half-written is never listed. The latest two are
kept, and the best by a validation metric; of equal ones the earlier is the best.

Buckets (``gs://…``) have no renaming. There Orbax writes a checkpoint under its own name and marks it as whole with a
last file (``commit_success.txt``), without which it isn't listed, and a checkpoint whose turn has come is deleted where
it lies, file by file. A crash meanwhile can leave a part of it that is still listed; it is neither the newest nor the
best, and the next save deletes the rest.
"""

import contextlib
import functools
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from orbax.checkpoint import checkpoint_managers as managers

from rmjax.config import BestBy, ConfigError
from rmjax.errors import ReportedError, UserError
from rmjax.files import absolute, write_text
from rmjax.training.orbax_logs import quiet_orbax
from rmjax.training.parallel import default_placement
from rmjax.training.processes import process_zero_first
from rmjax.training.scoring_record import ScoringRecord
from rmjax.training.state import TrainState

LATEST = 2  # so many of the newest are kept, beside the best
_BETTER = {BestBy.ACCURACY: 1.0, BestBy.NLL: -1.0}  # the sign with which more is better
SLICE_BYTES = 1 << 20
_RECORD = "scoring"  # among the metrics of a step, so that it comes and goes with the step
DISCARDED = ".discarded"  # checkpoints on their way out lie here: a rename is whole, a deletion can be cut short


class CheckpointError(UserError):
    """A checkpoint that isn't there."""


class CheckpointWriteError(ReportedError):
    """A checkpoint that can't be written, as to a full disk; the message names its step and the newest whole one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Restored:
    """What a checkpoint holds.

    Attributes:
      step: the training step after which it was saved.
      state: the train state, of the template's shapes, dtypes and placement.
      data: the data state that was handed to ``save``.
      validation: the validation metrics of the step, None where the step was saved without validation (at SIGTERM).
    """

    step: int
    state: TrainState
    data: dict[str, int]
    validation: dict[str, float] | None


class Checkpoints:
    """The checkpoints of one folder.

    Every process of a run makes one and calls ``save`` and ``restore`` at the same steps. Saving is asynchronous: the
    arrays are copied before ``save`` returns, and written while training goes on.
    """

    def __init__(self, directory: epath.PathLike, *, best_by: BestBy = BestBy.ACCURACY, read_only: bool = False):
        _set_up_orbax()
        self.directory = absolute(directory)  # Orbax refuses relative paths
        self._read_only = read_only
        self._best_by = best_by
        self._manager = ocp.CheckpointManager(self.directory, options=_options(best_by, read_only))
        found = {step: self._manager.metrics(step) for step in self._manager.all_steps()}
        self._validations: dict[int, dict[str, Any] | None] = found
        self._writing: int | None = None  # the step that was saved last
        self._discard()

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def steps(self) -> list[int]:
        """The steps that have a checkpoint, in ascending order."""
        return sorted(self._manager.all_steps())

    def latest_step(self) -> int | None:
        """The newest step, None when there is no checkpoint."""
        return max(self.steps(), default=None)

    def best_step(self) -> int | None:
        """The step of the best validation, the earlier of equal ones; None when none has been validated."""
        validated = [step for step in self.steps() if self._validations.get(step) is not None]
        return max(validated, key=lambda step: _rank(self._best_by, self._validations[step]), default=None)

    def require(self, step: int) -> None:
        """CheckpointError, with the steps that there are, where there is no checkpoint of that one."""
        if step not in (steps := self.steps()):
            there = f"the steps there are: {', '.join(map(str, steps))}" if steps else "there is none yet"
            raise CheckpointError(f"no checkpoint of step {step} in {self.directory}; {there}")

    def validation(self, step: int) -> dict[str, float] | None:
        """The validation metrics of a step; None where it was saved without validation."""
        self.require(step)
        found = self._validations.get(step)
        return None if found is None else {name: found[name] for name in found if name not in ("step", _RECORD)}

    def record(self, step: int) -> ScoringRecord | None:
        """What a step that was validated says of its rewards; None where it was saved without validation."""
        self.require(step)
        found = (self._validations.get(step) or {}).get(_RECORD)
        return None if found is None else ScoringRecord.from_json(found)

    def save(
        self,
        step: int,
        state: TrainState,
        *,
        data: Mapping[str, int],
        validation: Mapping[str, float] | None,
        record: ScoringRecord | None = None,
    ) -> None:
        """Saves the state after ``step``; where it was validated, with metrics (that of ``best_by`` too) and record.

        The caller has made sure that the state is finite (``all_finite``), before it validated the step.

        Raises:
          CheckpointWriteError: if this checkpoint, or the one before it, can't be written.
          ConfigError: if the validation lacks the metric of ``best_by``.
        """
        metrics = None if validation is None else self._judged(step, validation, record)
        self.wait()
        self._writing = step
        with self._explained():
            self._manager.save(
                step,
                args=ocp.args.Composite(
                    params=ocp.args.StandardSave(state.params),
                    state=ocp.args.StandardSave(_rest(state)),
                    meta=ocp.args.JsonSave({"step": step, "data": dict(data)}),
                ),
                metrics=metrics,
            )
        self._validations[step] = metrics
        self._discard()

    def add_validation(self, step: int, validation: Mapping[str, float], record: ScoringRecord | None = None) -> None:
        """Gives a step that was saved without validation its metrics, as if it had been saved with them."""
        self.require(step)
        metrics = self._judged(step, validation, record)
        with process_zero_first(f"validation of step {step}"):
            if jax.process_index() == 0:  # where Orbax has metrics, and whole or not at all
                write_text(self.directory / str(step) / "metrics" / "metrics", json.dumps(metrics))
            self._manager.reload()
        self._validations[step] = metrics
        for old in set(self.steps()[:-LATEST]) - {self.best_step()}:  # which it would have displaced
            self._manager.delete(old)
        self._discard()

    def restore(self, step: int, template: TrainState) -> Restored:
        """The checkpoint of ``step``.

        Args:
          step: one of ``steps()``; another is a CheckpointError that lists them.
          template: a state of arrays or ``jax.ShapeDtypeStruct``, whose shapes, dtypes and placement the result has.
        """
        self.require(step)
        items = self._manager.restore(
            step,
            args=ocp.args.Composite(
                params=ocp.args.StandardRestore(_abstract(template.params)),
                state=ocp.args.StandardRestore(_abstract(_rest(template))),
                meta=ocp.args.JsonRestore(),
            ),
        )
        state = template.replace(params=items["params"], **items["state"])
        return Restored(step=step, state=state, data=items["meta"]["data"], validation=self.validation(step))

    def restore_params(self, step: int, template: Any) -> Any:
        """The parameters alone; the template is a tree of arrays or of ``jax.ShapeDtypeStruct``."""
        self.require(step)
        args = ocp.args.Composite(params=ocp.args.StandardRestore(_abstract(template)))
        return self._manager.restore(step, args=args)["params"]

    def wait(self) -> None:
        """Returns when every save has been written; CheckpointWriteError where one in the background failed."""
        with self._explained():
            self._manager.wait_until_finished()
        self._discard()

    def last_good(self) -> str:
        """What there is to go back to, in words."""
        last = self.latest_step()
        if last is None:
            return "there is no checkpoint yet"
        return f"the last good checkpoint is that of step {last} in {self.directory}"

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Makes one error of what a write can meet: the system's errors, which TensorStore passes on as ValueErrors."""
        try:
            yield
        except (OSError, ValueError) as error:
            if self._writing is not None:
                self._validations.pop(self._writing, None)
            self._manager.reload()  # it counts a step as there when its save begins
            raise CheckpointWriteError(
                f"the checkpoint of step {self._writing} can't be written to {self.directory}: {error}; "
                f"{self.last_good()}"
            ) from error

    def close(self) -> None:
        self.wait()
        self._manager.close()

    def _judged(self, step: int, validation: Mapping[str, float], record: ScoringRecord | None) -> dict[str, Any]:
        """The metrics as they are stored, by which the step can be ranked."""
        if self._best_by.value not in validation:
            raise ConfigError(
                f"config.best_by is {self._best_by.name}, but validation gave {', '.join(validation) or 'nothing'}; "
                f"it must give {self._best_by.value}, or config.best_by must be one of these"
            )
        return {**validation, "step": step} | ({} if record is None else {_RECORD: record.to_json()})

    def _discard(self) -> None:
        """Deletes what earlier saves, or an earlier process, laid aside."""
        if not self._read_only and jax.process_index() == 0:
            for old in (self.directory / DISCARDED).glob("*"):
                old.rmtree(missing_ok=True)


def _rank(best_by: BestBy, metrics: Any) -> tuple[float, int]:
    """Higher is better: the metric first, then the earlier step. NaN (nothing to judge by) ranks last."""
    value = metrics[best_by.value]
    return (-math.inf if math.isnan(value) else _BETTER[best_by] * value), -metrics["step"]


def _options(best_by: BestBy, read_only: bool) -> managers.CheckpointManagerOptions:
    if read_only:
        # lightweight: evaluation and scoring may look while the run is still writing.
        return managers.CheckpointManagerOptions(read_only=True, create=False, save_interval_steps=0)
    # Orbax writes the metrics of a step only where best_fn is set; which steps stay is the policy's to say, because
    # best_fn alone (with max_to_keep) deletes the newest step when it is not among the best.
    rank = functools.partial(_rank, best_by)
    return managers.CheckpointManagerOptions(
        best_fn=lambda metrics: rank(metrics)[0],
        preservation_policy=managers.AnyPreservationPolicy(
            [
                managers.LatestN(LATEST),
                managers.BestN(
                    get_metric_fn=rank,  # pyright: ignore[reportArgumentType] a tuple sorts as well as a float
                    n=1,
                    keep_checkpoints_without_metrics=False,
                ),
            ]
        ),
        save_decision_policy=managers.FixedIntervalPolicy(1),  # the loop decides when
        todelete_subdir=DISCARDED,
        cleanup_tmp_directories=True,
        enable_async_checkpointing=True,
    )


@functools.cache
def _set_up_orbax() -> None:
    """Quieter logs; and arrays of which every device has a copy are cut into a slice for each device to write only
    where a slice is worth the program that XLA compiles to cut it."""
    quiet_orbax()
    former: Any = ocp.type_handlers.get_type_handler(jax.Array)
    handler = ocp.type_handlers.ArrayHandler(
        min_slice_bytes_for_replica_parallel=SLICE_BYTES,
        array_metadata_store=former._array_metadata_store,  # as it was: nothing public names it
    )
    ocp.type_handlers.register_type_handler(jax.Array, handler, override=True)


def _rest(state: TrainState) -> dict[str, Any]:
    """All but the parameters, by field name; the key is raw key data already."""
    return {"step": state.step, "opt_state": state.opt_state, "key": state.key}


def _abstract(tree: Any) -> Any:
    """Shapes, dtypes and placements, without the arrays."""
    here = default_placement()

    def abstract(leaf: Any) -> jax.ShapeDtypeStruct:
        placement = None if isinstance(leaf, np.ndarray) else leaf.sharding
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=placement or here)

    return jax.tree.map(abstract, tree)
