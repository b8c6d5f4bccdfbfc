"""The flags of a command: parsed, explained by ``--help``, and found where they are misspelt.

A field of several texts takes them with commas between (``--config.data.train=a.jsonl,b.jsonl``), one at a time
(the flag again for each), or as a Python tuple of strings, in which an entry may have commas itself.
"""

import ast
import dataclasses
import difflib
import enum
import re
import shlex
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import config_flags
from ml_collections.config_flags.tuple_parser import TupleParser

from rmjax import config_json
from rmjax.config import ExperimentConfig
from rmjax.errors import ConfigError, ReportedError, UserError

_CONFIG = "config"  # the flag of the experiment, in all commands that have one
_FIELD = re.compile(rf"--?(?:no)?{_CONFIG}\.([\w.]+)")
_HELP = re.compile(r"--?(help|helpshort|\?)(=.*)?")
_ENDING = re.compile(r"--?(help|helpshort|\?|helpfull|helpxml|only_check_args)(=.*)?")  # flags that end absl's parsing
_MISSING = re.compile(r"flag --(\S+)=None: Flag --\1 must have a value other than None")
_NO_FIELD = re.compile(  # what Python says of a field that a dataclass hasn't got, when it is set and when it is made
    r"'(?P<kind>\w+)' object has no attribute '(?P<name>\w+)'"
    r"|(?P<made>\w+)\.__init__\(\) got an unexpected keyword argument '(?P<given>\w+)'"
)


class _TextsParser(TupleParser):
    """The value of a field of several texts."""

    def parse(self, argument: Any) -> tuple[str, ...]:
        return _texts(argument) if isinstance(argument, str) else super().parse(argument)


config_flags.register_flag_parser_for_type(tuple[str, ...], _TextsParser())


def _texts(argument: str) -> tuple[str, ...]:
    """The texts of a Python literal of strings, or else those between the commas."""
    try:
        value = ast.literal_eval(argument)
    except (ValueError, SyntaxError):
        value = None
    if isinstance(value, str):
        return (value,)
    if isinstance(value, tuple | list) and all(isinstance(entry, str) for entry in value):
        return tuple(value)
    texts = tuple(text.strip() for text in argument.split(",")) if argument else ()
    if "" in texts:
        raise ValueError(f"one of the texts between the commas of {argument!r} is empty")
    return texts


def parse(arguments: list[str]) -> list[str]:
    """Sets the flags; UserError for what can't be one. ``--help`` ends the process with code 0."""
    _find_siblings(arguments)
    try:
        rest = flags.FLAGS(arguments)
    except flags.UnrecognizedFlagError as error:
        raise UserError(_unknown_flag(error)) from error
    except flags.Error as error:
        raise _first_reported(error) or UserError(_missing(error) or f"{error} ({_hint(error)})") from error
    except (AttributeError, KeyError, TypeError) as error:
        if reported := _first_reported(error):
            raise reported from error
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
    if _CONFIG in flags.FLAGS:
        _check_config(flags.FLAGS[_CONFIG].value)
    return rest


def _check_config(config: Any) -> None:
    """ConfigError where the experiment's file gave another thing than a config, or one with values of other types."""
    if not (hasattr(config, "steps") and isinstance(config, ExperimentConfig)):  # a file that isn't there raises here
        raise ConfigError(f"get_config() of the experiment gave {config!r}; it must return an ExperimentConfig")
    config_json.check_types(config, _CONFIG)


def _missing(error: flags.Error) -> str:
    """What to say of required flags that weren't given; empty where they were."""
    names = _MISSING.findall(str(error))
    helps = {name: (flags.FLAGS[name].help or "").splitlines()[0].rstrip(";") for name in names}  # without absl's own
    return " ".join(f"--{name} is missing: {text}" for name, text in helps.items())


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
        if isinstance(error, AttributeError | TypeError) and (found := _misspelt(error)):
            return found
        error = error.__cause__ or error.__context__
    return None


def _misspelt(error: AttributeError | TypeError) -> ConfigError | None:
    """The error of an experiment's file that has a field of the config which there isn't; None for another."""
    match = _NO_FIELD.match(str(error))
    sections = {type(section).__name__: place for place, section in _sections(ExperimentConfig(), _CONFIG)}
    section = sections.get(match["kind"] or match["made"]) if match else None
    if match is None or section is None:
        return None
    name = match["name"] or match["given"]
    line = traceback.extract_tb(error.__traceback__)[-1]
    parts = [place.removeprefix(f"{_CONFIG}.") for place in sections.values()] if section == _CONFIG else []
    near = closest(f"{section}.{name}".removeprefix(f"{_CONFIG}."), [*_known(), *parts])
    meant = " or ".join(f"{_CONFIG}.{field}" for field in near)
    return ConfigError(
        f"{line.filename}, line {line.lineno}: {section} has no field {name!r}; "
        + (f"did you mean {meant}? " if meant else "")
        + f"it has {_fields_of(section)}"
    )


def _sections(config: Any, place: str) -> Iterator[tuple[str, Any]]:
    """The config and the dataclasses in it, each after its place."""
    yield place, config
    for part in dataclasses.fields(config):
        if dataclasses.is_dataclass(value := getattr(config, part.name)):
            yield from _sections(value, f"{place}.{part.name}")


def _fields_of(place: str) -> str:
    """The names of the fields of the config, or of a part of it, that stands there; empty where none does."""
    section = dict(_sections(ExperimentConfig(), _CONFIG)).get(place)
    return "" if section is None else ", ".join(part.name for part in dataclasses.fields(section))


def _unknown_flag(error: flags.UnrecognizedFlagError) -> str:
    """What to say of a flag that there isn't, which may be a field of the config without its prefix."""
    if _CONFIG in flags.FLAGS and error.flagname.removeprefix(f"{_CONFIG}.") in _known():
        return f"--{_CONFIG} is missing: {flags.FLAGS[_CONFIG].help}"
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
            section = f"{_CONFIG}.{field[1]}".rpartition(".")[0]
            fields = _fields_of(section) if section != _CONFIG else ""
            there = f"{section} has {fields}; " if fields else ""
            return f"{argument}: the config has no such field; {suggestion}{there}--help lists those it has"
    return ""


def _meant(name: str) -> str:
    """The flags of the fields that are closest to the name; empty where none is close."""
    return " or ".join(f"--{_CONFIG}.{field}" for field in closest(name, _known()))


def _known() -> list[str]:
    """The fields of the config."""
    return [place.removeprefix(f"{_CONFIG}.") for place, _ in _defaults()]


def closest(name: str, known: list[str]) -> list[str]:
    """The dotted names, at most two, whose last part is spelt like that of ``name``, or by its words' first letters
    (``lr`` for ``learning_rate``), the most alike first; of the same part of the config where there are such."""
    part, _, last = name.rpartition(".")
    if part in known:
        return [part]
    near = [entry for entry in known if _is_alike(last, entry.rpartition(".")[2])]
    beside = [entry for entry in near if entry.rpartition(".")[0] == part]
    return difflib.get_close_matches(name, beside or near, n=2, cutoff=0.0)


def _is_alike(given: str, field: str) -> bool:
    words = field.split("_")
    letters = "".join(word[0] for word in words) if len(words) > 1 else field
    return given == letters or difflib.SequenceMatcher(None, field, given).ratio() >= 0.75


def explained_fields() -> Iterator[str]:
    """Lines for ``--help``: every field of the config as the flag that sets it, with its default."""
    yield "Every field of the config is a flag. These are the defaults; the experiment's file may have others."
    yield "One of several texts takes a,b, or the flag again for each; a text with a comma in it needs ('a,b',)."
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
