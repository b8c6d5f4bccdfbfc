"""The static shape of a row."""

from dataclasses import dataclass

from rmjax.errors import UserError


class RowTooShortError(UserError):
    """A row can't hold what must lie in one row: the message says what is needed."""


@dataclass(frozen=True, kw_only=True)
class RowShape:
    """The static shape of a row: tokens, and slots for responses and comparisons."""

    length: int
    responses: int
    comparisons: int
