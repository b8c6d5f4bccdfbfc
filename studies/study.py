"""What is the same for all studies: the command, the file of results and the figure."""

import json
import re
import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from absl import flags, logging
from etils import epath
from ml_collections import config_flags

from rmjax.command import run
from rmjax.config import ExperimentConfig
from rmjax.errors import UserError
from rmjax.files import write_text, written_whole
from rmjax.intervals import Estimate
from rmjax.training.machine import use_machine

RESULTS, FIGURE = "results.jsonl", "figure.png"
Row = dict[str, Any]
_MADE = ("data.train", "data.validation", "logging.tensorboard")  # studies.models sets them for every model
_CONFIG = re.compile(r"--?config(=|$)")
_EXPERIMENTS = Path(__file__).parents[1] / "experiments"


@dataclass(frozen=True, kw_only=True)
class Study:
    """Where a study lies, what it trains, and what it has found so far.

    Attributes:
      config: of the models; a study copies it for each and changes what it compares.
      folder: for its runs, results and figure.
      rows: what was found, one line each of ``results.jsonl``.
    """

    config: ExperimentConfig
    folder: epath.Path
    rows: list[Row] = field(default_factory=list)

    def add(self, **values: Any) -> None:
        """Notes and shows a result."""
        self.rows.append(values)
        logging.info("%s", json.dumps(values))


def numbers(found: Estimate) -> list[float]:
    """The value and its bounds, as rows have them."""
    return [found.value, found.low, found.high]


def run_study(
    name: str,
    measure: Callable[[Study], None],
    picture: Callable[[Sequence[Row]], bytes],
    sets: Collection[str] = (),
) -> None:
    """The command of a study: flags in, then ``measure`` fills its rows and ``picture`` draws them, as PNG.

    UserError for a flag of one of the config's fields that all studies set, as ``data.train``, or this one ``sets``.

    Both lie in the workdir at the end, ``results.jsonl`` and ``figure.png``; it is ``runs/NAME`` unless ``--workdir``
    says otherwise. The same command takes models that were trained before as they are; ``--draw`` draws the results
    again without measuring.
    """
    if not any(_CONFIG.match(argument) for argument in sys.argv[1:]):
        sys.argv.insert(1, f"--config={_EXPERIMENTS / name}.py")  # a default would be read before errors are explained
    config = config_flags.DEFINE_config_file(
        "config", None, f"What the models are; experiments/{name}.py if not given."
    )
    workdir = flags.DEFINE_string(
        "workdir", f"runs/{name}", f"The folder of the study, for its runs, {RESULTS} and {FIGURE}."
    )
    draw = flags.DEFINE_bool("draw", False, f"Draw {FIGURE} again from {RESULTS} in the workdir, without measuring.")
    for flag in (config, workdir, draw):
        flags.FLAGS.register_key_flag_for_module(sys.argv[0], flags.FLAGS[flag.name])  # so that --help shows them

    def main() -> None:
        folder = epath.Path(workdir.value)
        if draw.value:
            rows = _read_results(folder)
        else:
            _check_unset(sets)
            use_machine(config.value)
            study = Study(config=config.value, folder=folder)
            folder.mkdir(parents=True, exist_ok=True)
            measure(study)
            rows = study.rows
            write_text(folder / RESULTS, "".join(json.dumps(row) + "\n" for row in rows))
        with written_whole(folder / FIGURE) as temporary:
            temporary.write_bytes(picture(rows))
        logging.info("figure: %s", folder / FIGURE)

    run(main)


def _read_results(folder: epath.Path) -> list[Row]:
    """The rows of a study that has ended; UserError where none has."""
    file = folder / RESULTS
    if not file.exists():
        raise UserError(f"--draw: there is no {file}; right would be the --workdir of a study that has ended")
    return [json.loads(line) for line in file.read_text().splitlines()]


def _check_unset(sets: Collection[str]) -> None:
    for field_name in (*_MADE, *sets):
        flag = f"config.{field_name}"
        if flag in flags.FLAGS and flags.FLAGS[flag].present:
            raise UserError(f"--{flag} is given; right would be none, since this study sets it for each model")
