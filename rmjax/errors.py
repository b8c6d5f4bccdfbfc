"""Errors whose message says all that their reader needs: the commands print it alone, without a traceback."""


class ReportedError(Exception):
    """A failure that the command's user can act on; ``exit_code`` is the code that the command ends with."""

    exit_code = 1


class UserError(ReportedError, ValueError):
    """Wrong input (a flag, a config, a file, a row, a folder): the message says what was found and what is right."""

    exit_code = 2
