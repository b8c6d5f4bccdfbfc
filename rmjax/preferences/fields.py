"""The fields of a row: every value checked for its type and range, every fault a RowError that names the field."""

import reprlib
from collections.abc import Mapping
from dataclasses import dataclass

from rmjax.preferences.record import RowError

LARGEST = 3.4028235e38  # of float32, in which the numbers are used: what is larger would become infinite there
_ABBREVIATED = reprlib.Repr()
_ABBREVIATED.maxlevel, _ABBREVIATED.maxlist, _ABBREVIATED.maxdict = 3, 4, 4
_ABBREVIATED.maxstring = _ABBREVIATED.maxother = 60
_JSON_NAMES = {None: "null", True: "true", False: "false"}


def shown(value: object) -> str:
    """The value as messages show it, in at most about 60 characters."""
    if value is None or isinstance(value, bool):
        return _JSON_NAMES[value]
    text = _ABBREVIATED.repr(value)
    return text if len(text) <= 64 else f"{text[:57]} ... {text[-2:]}"


@dataclass(frozen=True, slots=True)
class Fields:
    """The fields of one row, or of one object inside it. A field that is null counts as absent.

    Attributes:
      values: the fields.
      origin: the row's place, as messages show it.
      path: what goes before a field's name in messages, as in ``comparisons[2].``.
    """

    values: Mapping[str, object]
    origin: str
    path: str = ""

    def error(self, name: str, kind: str, *, found: str, right: str) -> RowError:
        """The error for the field of that name; an empty name stands for the row as a whole."""
        return RowError(origin=self.origin, field=self.path + name if name else "", kind=kind, found=found, right=right)

    def has(self, name: str) -> bool:
        """Whether the field is there, and not null."""
        return self.values.get(name) is not None

    def names(self) -> str:
        """The names of the fields that are there, quoted, for messages."""
        return ", ".join(repr(name) for name in list(self.values)[:12]) or "(none)"

    def required(self, name: str, *, right: str) -> object:
        """The value of a field that must be there."""
        value = self.values.get(name)
        if value is None:
            found = "null" if name in self.values else f"the fields {self.names()}"
            raise self.error(name, "missing field", found=found, right=right)
        return value

    def string(self, name: str, *, right: str = "text") -> str:
        """The value of a field that must be there and be a string; it may be empty."""
        return self.checked_string(name, self.required(name, right=right), right=right)

    def checked_string(self, name: str, value: object, *, right: str = "text") -> str:
        """The value, which must be a string that UTF-8 can hold."""
        if not isinstance(value, str):
            raise self.error(name, "wrong type", found=shown(value), right=right)
        if not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError as error:
                found = f"{shown(value[error.start])} at character {error.start + 1}"
                right = "text without halves of surrogate pairs, which UTF-8 can't hold"
                raise self.error(name, "lone surrogate", found=found, right=right) from None
        return value

    def sequence(self, name: str, *, right: str) -> list[object]:
        """The value of a field that must be there and be a list; it may be empty."""
        value = self.required(name, right=right)
        if not isinstance(value, list):
            raise self.error(name, "wrong type", found=shown(value), right=right)
        return value

    def number(
        self, name: str, *, low: float = -LARGEST, high: float = LARGEST, right: str = "a finite number"
    ) -> float:
        """The value of a field that must be there and be a number from low to high, as a float."""
        return self.checked_number(name, self.required(name, right=right), low=low, high=high, right=right)

    def checked_number(
        self, name: str, value: object, *, low: float = -LARGEST, high: float = LARGEST, right: str = "a finite number"
    ) -> float:
        """The value, which must be a number from low to high, as a float."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.error(name, "wrong type", found=shown(value), right=right)
        if not -LARGEST <= value <= LARGEST:  # NaN is on neither side
            raise self.error(name, "not finite", found=shown(value), right=right)
        if not low <= value <= high:
            raise self.error(name, "out of range", found=shown(value), right=right)
        return float(value)

    def numbers(self, name: str, count: int) -> tuple[float, ...]:
        """The values of a field that must be there and be a list of so many numbers, one for each response."""
        right = f"{count} finite numbers, one for each response"
        values = self.sequence(name, right=right)
        if len(values) != count:
            raise self.error(name, "wrong length", found=f"{len(values)} values", right=right)
        return tuple(self.checked_number(f"{name}[{place}]", value) for place, value in enumerate(values))

    def integer(self, name: str, *, low: int, high: int, right: str) -> int:
        """The value of a field that must be there and be a whole number from low to high."""
        return self.checked_integer(name, self.required(name, right=right), low=low, high=high, right=right)

    def checked_integer(self, name: str, value: object, *, low: int, high: int, right: str) -> int:
        """The value, which must be a whole number from low to high."""
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.error(name, "wrong type", found=shown(value), right=right)
        if not low <= value <= high:
            raise self.error(name, "out of range", found=shown(value), right=right)
        return value

    def flag(self, name: str) -> bool:
        """The value of an optional field that must be true or false; false where it is absent."""
        value = self.values.get(name)
        if value is None:
            return False
        if not isinstance(value, bool):
            raise self.error(name, "wrong type", found=shown(value), right="true or false")
        return value
