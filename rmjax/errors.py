"""Errors whose message says all that their reader needs: the commands print it alone, without a traceback."""

import contextlib
from collections.abc import Callable, Iterator
from typing import TypeVar


class ReportedError(Exception):
    """A failure that the command's user can act on.

    Attributes:
      exit_code: the code that the command ends with.
      remedy: what the user of this command can do; ``remedied`` adds it where the command's options are known.
    """

    exit_code = 1
    remedy = ""

    def __str__(self) -> str:
        return super().__str__() + (f"; {self.remedy}" if self.remedy else "")


class UserError(ReportedError, ValueError):
    """Wrong input (a flag, a config, a file, a row, a folder): the message says what was found and what is right."""

    exit_code = 2


class ConfigError(UserError):
    """A config that can't be run: the message names the field, the value found and what would be right."""


Error = TypeVar("Error", bound=ReportedError)


@contextlib.contextmanager
def remedied(kind: type[Error], remedy: Callable[[Error], str]) -> Iterator[None]:
    """Adds to the message of an error of that kind what helps against it in the command that is running.

    An error that has a remedy already keeps it: whoever knew of it first, knew more.
    """
    try:
        yield
    except kind as error:
        error.remedy = error.remedy or remedy(error)
        raise
