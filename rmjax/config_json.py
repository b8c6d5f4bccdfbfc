"""Nested dataclasses of plain values as JSON and back, and where two of them differ."""

import dataclasses
import enum
import json
import types
import typing
from collections.abc import Iterator
from typing import Any, TypeVar

from rmjax.errors import ConfigError

Config = TypeVar("Config")


def to_json(config: Any) -> str:
    """The dataclass as JSON text: nested objects, enums by value, tuples as lists."""
    return json.dumps(dataclasses.asdict(config), indent=2, default=lambda value: value.value) + "\n"


def from_json(kind: type[Config], text: str, name: str) -> Config:
    """The dataclass of that kind that ``to_json`` wrote; ``name`` stands for it in the message of a ConfigError."""
    try:
        values = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ConfigError(f"the {name} is not JSON: {error}") from error
    return _build(kind, values, name)


def check_types(config: Any, name: str) -> None:
    """ConfigError for the first field, of a dataclass and of those inside it, whose value isn't of its annotated type.

    A whole number is a float too; nothing else is taken for what it isn't.
    """
    for part in dataclasses.fields(config):
        value, place = getattr(config, part.name), f"{name}.{part.name}"
        if right := _right_type(part.type, value):
            raise ConfigError(f"{place} is {value!r}; it must be {right}")
        if dataclasses.is_dataclass(value):
            check_types(value, place)


def _right_type(kind: Any, value: Any) -> str:
    """What would be right, in words; empty where the value is."""
    if isinstance(kind, types.UnionType):
        right = "" if value is None else _right_type(next(x for x in kind.__args__ if x is not type(None)), value)
        return f"{right}, or None" if right else ""
    if typing.get_origin(kind) is tuple:
        entry = kind.__args__[0]
        if isinstance(value, tuple) and all(type(x) is entry for x in value):
            return ""
        meant = tuple(value) if isinstance(value, list | tuple) else (value,)
        example = f", as {meant!r}" if all(type(x) is entry for x in meant) else ""
        return f"a tuple of {_ENTRIES[entry]}{example}"
    if isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
        return ""
    if kind is float and type(value) is int:
        return ""
    if issubclass(kind, enum.Enum):
        return f"one of {', '.join(str(choice) for choice in kind)}"
    return _TYPES.get(kind) or f"of type {kind.__name__}"


_ENTRIES = {str: "strings", int: "whole numbers"}
_TYPES = {str: "a string", int: "a whole number", float: "a number", bool: "True or False"}


def difference(old: Any, new: Any, name: str) -> list[str]:
    """One line for each field that differs, as ``name.seed: 0 -> 1``, of two dataclasses of one kind."""
    after = dict(flat(new, name))
    return [
        f"{place}: {_shown(before)} -> {_shown(after[place])}"
        for place, before in flat(old, name)
        if before != after[place]
    ]


def flat(config: Any, name: str) -> Iterator[tuple[str, Any]]:
    """(``name.part.field``, value) of every field of a dataclass and of those inside it, in order."""
    for part in dataclasses.fields(config):
        value, place = getattr(config, part.name), f"{name}.{part.name}"
        if dataclasses.is_dataclass(value):
            yield from flat(value, place)
        else:
            yield place, value


def _shown(value: Any) -> str:
    return value.value if isinstance(value, enum.Enum) else repr(value)


def _build(kind: Any, value: Any, name: str) -> Any:
    """A value of the annotated kind from its JSON form."""
    if dataclasses.is_dataclass(kind):
        return _build_dataclass(kind, value, name)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        try:
            return kind(value)
        except ValueError:
            right = ", ".join(repr(choice.value) for choice in kind)
            raise ConfigError(f"{name} is {value!r}; it must be one of {right}") from None
    if isinstance(kind, types.UnionType):
        if value is None:
            return None
        return _build(next(part for part in kind.__args__ if part is not type(None)), value, name)
    if typing.get_origin(kind) is tuple:
        entry_kind = kind.__args__[0]
        if not isinstance(value, list) or not all(type(entry) is entry_kind for entry in value):
            raise ConfigError(f"{name} is {value!r}; it must be a list of {_ENTRIES[entry_kind]}")
        return tuple(value)
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise ConfigError(f"{name} is {value!r}; it must be of type {kind.__name__}")
    return value


def _build_dataclass(kind: Any, value: Any, name: str) -> Any:
    if not isinstance(value, dict):
        raise ConfigError(f"{name} is {value!r}; it must be an object")
    fields = {part.name: part.type for part in dataclasses.fields(kind)}
    unknown = sorted(set(value) - set(fields))
    if unknown:
        raise ConfigError(f"{name} has no field {unknown[0]!r}; its fields are {', '.join(sorted(fields))}")
    return kind(**{key: _build(fields[key], entry, f"{name}.{key}") for key, entry in value.items()})
