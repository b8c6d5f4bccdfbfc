"""The flags of a command: parsed, explained by ``--help``, and found where they are misspelt."""

import difflib
import enum
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from absl import flags

from rmjax import config_json
from rmjax.config import ExperimentConfig
from rmjax.errors import ReportedError, UserError

_CONFIG = "config"  # the flag of the experiment, in all commands that have one
_FIELD = re.compile(rf"--?(?:no)?{_CONFIG}\.([\w.]+)")
_HELP = re.compile(r"--?(help|helpshort|\?)(=.*)?")
_ENDING = re.compile(r"--?(help|helpshort|\?|helpfull|helpxml|only_check_args)(=.*)?")  # flags that end absl's parsing


def parse(arguments: list[str]) -> list[str]:
    """Sets the flags; UserError for what can't be one. ``--help`` ends the process with code 0."""
    _find_siblings(arguments)
    try:
        rest = flags.FLAGS(arguments)
    except flags.UnrecognizedFlagError as error:
        raise UserError(_unknown_flag(error)) from error
    except flags.Error as error:
        raise _first_reported(error) or UserError(f"{error} ({_hint(error)})") from error
    except (KeyError, TypeError) as error:
        if not (wrong := _unknown_field(arguments)):
            raise
        raise UserError(wrong) from error
    except SystemExit:
        if not any(map(_ENDING.fullmatch, arguments)):
            raise  # of the experiment
        # absl has written the help; the code with which it ends is that of a failure.
        if _CONFIG in flags.FLAGS and any(map(_HELP.fullmatch, arguments)):
            print("\n" + "\n".join(explained_fields()))
        sys.exit(0)
    if len(rest) > 1:
        raise UserError(f"unexpected arguments: {' '.join(rest[1:])}; every option begins with --")
    return rest


def _find_siblings(arguments: list[str]) -> None:
    """Lets an experiment import those beside it (``from experiments import base``) wherever the command is run."""
    for place, argument in enumerate(arguments):
        if not (found := re.fullmatch(rf"--?{_CONFIG}(?:=(.*))?", argument, re.DOTALL)):
            continue
        value = found[1] if found[1] is not None else "".join(arguments[place + 1 : place + 2])
        file = Path(value.split(":")[0]).absolute()
        package = file.parent
        while (package / "__init__.py").exists():
            package = package.parent
        if package != file.parent and str(package) not in sys.path:
            sys.path.insert(0, str(package))


def _hint(error: flags.Error) -> str:
    """What helps against a value that a flag can't take."""
    if re.search(r"flag --\S+=none: ", str(error), re.IGNORECASE):
        return "no flag can say None; leave it out, and have None in the experiment's file"
    return "--help shows the flags"


def _first_reported(error: BaseException | None) -> ReportedError | None:
    """What an experiment's get_config() raised, which ml_collections hides in the text of other errors."""
    while error is not None:
        if isinstance(error, ReportedError) and not str(error).startswith("Error whilst parsing config file"):
            return error
        error = error.__cause__ or error.__context__
    return None


def _unknown_flag(error: flags.UnrecognizedFlagError) -> str:
    """What to say of a flag that there isn't, which may be a field of the config without its prefix."""
    if _CONFIG in flags.FLAGS and (meant := _meant(error.flagname)):
        return f"Unknown command line flag '{error.flagname}'. Did you mean: {meant}? (--help shows the flags)"
    return f"{error} (--help shows the flags)"


def _unknown_field(arguments: list[str]) -> str:
    """What to say of the first flag of a field that the config doesn't have; empty where there is none."""
    known = _known()
    for argument in arguments:
        field = _FIELD.match(argument)
        if field and field[1] not in known:
            meant = _meant(field[1])
            suggestion = f"did you mean {meant}? " if meant else ""
            return f"{argument}: the config has no such field; {suggestion}--help lists those it has"
    return ""


def _meant(name: str) -> str:
    """The flags of the fields that are closest to the name; empty where none is close."""
    return " or ".join(f"--{_CONFIG}.{field}" for field in closest(name, _known()))


def _known() -> list[str]:
    """The fields of the config."""
    return [place.removeprefix(f"{_CONFIG}.") for place, _ in _defaults()]


def closest(name: str, known: list[str]) -> list[str]:
    """The dotted names, at most two, whose last part is spelt like that of ``name``, the most alike first."""
    part, _, last = name.rpartition(".")
    if part in known:
        return [part]
    near = [entry for entry in known if difflib.SequenceMatcher(None, entry.rpartition(".")[2], last).ratio() >= 0.75]
    return difflib.get_close_matches(name, near, n=2, cutoff=0.0)


def explained_fields() -> Iterator[str]:
    """Lines for ``--help``: every field of the config as the flag that sets it, with its default."""
    yield "Every field of the config is a flag. These are the defaults; the experiment's file may have others."
    yield "A field that may be None is made so in that file; no flag can say it."
    for place, value in _defaults():
        yield f"  --{place}" + ("  # None unless it is given" if value is None else f"={_shown(value)}")


def _defaults() -> Iterator[tuple[str, Any]]:
    return config_json.flat(ExperimentConfig(), _CONFIG)


def _shown(value: Any) -> str:
    """A default as a shell takes it, an enum with its choices."""
    if isinstance(value, enum.Enum):
        return f"{value.value}  # one of {', '.join(choice.value for choice in type(value))}"
    if isinstance(value, bool):
        return str(value).lower()
    return shlex.quote(value[0] if isinstance(value, tuple) and len(value) == 1 else str(value))
