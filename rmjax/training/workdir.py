"""The folder of a run: which config and data it belongs to, and the text contract that its model reads through."""

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import jax
from absl import logging
from etils import epath
from tokenizers import Tokenizer

from rmjax import config_json
from rmjax.batches.contract import TextContract, text_from_json, text_to_json
from rmjax.batches.template import Template
from rmjax.batches.tokenizer import OWN_TOKENS, SpecialTokens, load_tokenizer, save_tokenizer
from rmjax.config import ConfigError, ExperimentConfig, difference, from_json, to_json
from rmjax.errors import UserError
from rmjax.files import check_bucket, in_bucket, write_text
from rmjax.training.environment import ENVIRONMENT
from rmjax.training.metrics_writer import EVENTS, METRICS, WANDB_ID
from rmjax.training.processes import process_zero_first

CONFIG = "config.json"
TOKENIZER = "tokenizer.json"
TEMPLATE = "template.json"
DATA = "data.json"
CHECKPOINTS = "checkpoints"
_ABOUT = "data sets"
_STEPS = "The steps of a run can't be changed, for the schedule of its learning rate may be made for them. "


class WorkdirError(UserError):
    """A folder that is not, or not yet, what is asked of it: the message names it and says what to do."""


def open_workdir(path: epath.PathLike, config: ExperimentConfig) -> epath.Path:
    """The workdir of a run of ``config``: made where there is none, resumed where the config is the same.

    ``config.parallel`` and the model's ``attention``, ``remat`` and ``unroll`` may differ, since a run may go on on
    other machines. A folder without a checkpoint is nobody's: what a start that died before its first one has left in
    it is deleted.

    Raises:
      WorkdirError: if it belongs to another config (each field that differs is shown), if it holds checkpoints but no
        config, or if other processes don't see what process 0 wrote there.
    """
    check_bucket(path)
    if "://" in os.fspath(path) and not in_bucket(path):
        raise WorkdirError(f"workdir {path} is in a bucket that Orbax can't write to; it must be a folder or gs://…")
    with process_zero_first("workdir"):
        return _open_workdir(epath.Path(path), config)


def _open_workdir(workdir: epath.Path, config: ExperimentConfig) -> epath.Path:
    if workdir.exists() and not workdir.is_dir():
        raise WorkdirError(f"workdir {workdir} is a file; it must be a folder, or not exist yet")
    stored = read_config(workdir) if (workdir / CONFIG).exists() else None  # of another program it is an error
    if jax.process_index() == 0 and not has_checkpoint(workdir):
        if stored is not None:
            _clear(workdir)
        write_text(workdir / CONFIG, to_json(config))
    elif stored is None and has_checkpoint(workdir):
        raise WorkdirError(
            f"workdir {workdir} holds checkpoints but no {CONFIG}, so they can't be told to be of this run"
        )
    elif stored is None:
        raise WorkdirError(
            f"process {jax.process_index()} finds no {CONFIG} in workdir {workdir}, where process 0 has written it; "
            "it must be one folder that all processes see, such as one in a bucket"
        )
    elif shown := _differences(stored, config):
        raise WorkdirError(
            f"workdir {workdir} belongs to a run of another config (stored -> given):{shown}\n"
            f"{'' if stored.steps == config.steps else _STEPS}Give another --workdir, or the stored config."
        )
    else:
        for line in config_json.difference(stored.parallel, config.parallel, "config.parallel"):
            logging.info("laid over devices in another way than when the run began: %s", line)
    return workdir


def _differences(stored: ExperimentConfig, config: ExperimentConfig) -> str:
    """What makes them configs of different runs, each on a line; where and how a run is computed doesn't."""
    given = config.model
    model = dataclasses.replace(stored.model, attention=given.attention, remat=given.remat, unroll=given.unroll)
    lines = difference(dataclasses.replace(stored, parallel=config.parallel, model=model), config)
    return "".join(f"\n  {line}" for line in lines)


def check_still_ours(workdir: epath.Path, config: ExperimentConfig) -> None:
    """To be asked before a checkpoint is saved: WorkdirError if a start of another config has taken the folder.

    Until a run has a checkpoint, its folder may be given to another, for it can't be told from one that died.
    """
    if shown := _differences(read_config(workdir), config):
        raise WorkdirError(
            f"workdir {workdir} was taken by a run of another config before this one saved its first checkpoint "
            f"(theirs -> this run's):{shown}\nGive another --workdir."
        )


def has_checkpoint(workdir: epath.PathLike) -> bool:
    """Whether a run has got as far as its first checkpoint; one that is being written has another name until then.

    (In a bucket it hasn't: what a start left that died while it wrote its first counts as one there.)
    """
    folder = epath.Path(workdir) / CHECKPOINTS
    return folder.exists() and any(path.name.isdecimal() for path in folder.iterdir())


def _clear(workdir: epath.Path) -> None:
    """Deletes what an earlier start wrote, but for the config, which says that it was one until there is another."""
    logging.info("workdir %s holds a start that left no checkpoint; the run begins anew", workdir)
    for pattern in (TOKENIZER, TEMPLATE, DATA, ENVIRONMENT, METRICS, WANDB_ID, EVENTS):
        for path in workdir.glob(pattern):
            path.unlink()


def read_config(workdir: epath.PathLike) -> ExperimentConfig:
    """The config that a run wrote into its workdir.

    Raises:
      WorkdirError: if there is no such folder, it has no ``config.json``, or that file is not a config.
    """
    check_bucket(workdir)
    path = epath.Path(workdir) / CONFIG
    if not path.parent.exists():
        raise WorkdirError(f"there is no workdir {path.parent}; it must be the folder that a training run was given")
    if not path.exists():
        raise WorkdirError(f"{path.parent} has no {CONFIG}; it must be the folder that a training run was given")
    try:
        return from_json(path.read_text())
    except (ConfigError, UnicodeDecodeError) as error:
        raise WorkdirError(f"{path} can't be read as a config: {error}") from error


def has_contract(workdir: epath.PathLike) -> bool:
    """Whether the run has stored its tokenizer and template: at an earlier start, or process 0 at this one."""
    return (epath.Path(workdir) / TOKENIZER).exists()


def write_contract(
    workdir: epath.PathLike, tokenizer: Tokenizer, template: Template, special: SpecialTokens = OWN_TOKENS
) -> None:
    """Stores the run's tokenizer and how its model sees messages as text, by one process alone."""
    if jax.process_index() == 0:
        write_text(epath.Path(workdir) / TEMPLATE, text_to_json(template, special) + "\n")
        save_tokenizer(tokenizer, epath.Path(workdir) / TOKENIZER)  # last: where there is a tokenizer, the rest is too


def read_contract(workdir: epath.PathLike, config: ExperimentConfig) -> TextContract:
    """The text contract of a run: its tokenizer and template, and the limits of its config.

    Raises:
      WorkdirError, TokenizerError: if one of the two files is missing or can't be read.
    """
    template, tokenizer = epath.Path(workdir) / TEMPLATE, epath.Path(workdir) / TOKENIZER
    for path in (tokenizer, template):
        if not path.exists():
            raise WorkdirError(f"{path} is missing: without the {path.stem} of the run its model can't read text")
    try:
        found, special = text_from_json(template.read_text())
    except (ValueError, TypeError, KeyError) as error:
        raise WorkdirError(f"{template} can't be read as a template: {error!r}") from error
    return TextContract.from_config(config.text, load_tokenizer(tokenizer, special), found, special)


def read_about_data(workdir: epath.PathLike) -> list[dict[str, Any]]:
    """What was noted of the run's data at its first start: of each spec its license, and how many prompts were trained
    on, held out or skipped, by who judged them on what."""
    path = epath.Path(workdir) / DATA
    return json.loads(path.read_text()).get(_ABOUT, []) if path.exists() else []


def run_digest(workdir: epath.PathLike) -> str:
    """Which run a workdir is of: a digest of its config, its data and when it first started.

    A run that has been given the folder of another differs, one that has moved or goes on doesn't.
    """
    folder = epath.Path(workdir)
    first = json.loads(found.read_text())["starts"][:1] if (found := folder / ENVIRONMENT).exists() else []
    noted = [path.read_text() for name in (CONFIG, DATA) if (path := folder / name).exists()]
    return digest_of(*noted, *(start["time"] for start in first))


def digest_of(*texts: str) -> str:
    """Sixteen hexadecimal digits, others for other texts."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]


def check_data(workdir: epath.PathLike, digests: Mapping[str, str], about: Sequence[Mapping[str, Any]] = ()) -> None:
    """Notes at a run's first start what its data are, and refuses other data later.

    All processes must come here: those after the first compare theirs with what process 0 noted.

    Args:
      workdir: the run's folder.
      digests: of the tokenized preferences, by name.
      about: what there is to say of the data, noted too.

    Raises:
      WorkdirError: if they are not those of the run's first start.
    """
    with process_zero_first("data digests"):
        path = epath.Path(workdir) / DATA
        if not path.exists():
            if has_checkpoint(workdir):
                raise WorkdirError(f"{workdir} holds checkpoints but no {DATA}, so nobody can tell what data they saw")
            if jax.process_index() == 0:
                write_text(path, json.dumps({**digests, _ABOUT: list(about)}, indent=2) + "\n")
            return
        noted = json.loads(path.read_text())
    if changed := [name for name, digest in digests.items() if noted.get(name) != digest]:
        raise WorkdirError(
            f"the {' and '.join(changed)} data are not those that the run in {workdir} began with, though its config "
            "is the same: a file or data set that config.data names has changed since. Bring the old data back to "
            "resume, or train on the new data in another --workdir."
        )
