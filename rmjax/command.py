"""What the commands share: flags in, readable lines on stderr, and errors without a traceback where none helps."""

import contextlib
import errno
import logging as standard_logging
import os
import re
import select
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol, runtime_checkable

from absl import app, flags, logging

from rmjax.command_flags import parse
from rmjax.errors import ReportedError, UserError

_PACKAGE = str(Path(__file__).parent)
_LIBRARIES = re.compile(r"[/\\](site|dist)-packages[/\\]")
_STDOUT = 1
_WRONG_PATHS = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, FileExistsError)
_WRONG_NAMES = (errno.ENAMETOOLONG, errno.ELOOP, errno.EROFS)
_NO_CONFIG = "Configuration is not available"  # what ml_collections says of an experiment file that isn't there


def run(main: Callable[[], None], arguments: list[str] | None = None) -> None:
    """Parses the flags, runs ``main`` and ends the process.

    Wrong input ends it with one message on stderr and exit code 2, a run that failed (on a full disk, say) with 1; any
    other exception is a mistake in the program and keeps its traceback. ``--verbosity=1`` shows every traceback and
    every log line. Where the reader of stdout has gone, as in ``… | head -1``, it ends quietly with code 141, at Ctrl-C
    with 130.
    """

    def prepared(_: list[str]) -> None:
        if not flags.FLAGS["verbosity"].present:
            logging.set_verbosity(logging.INFO)
        make_logs_readable(logging.get_absl_handler())
        main()
        sys.stdout.flush()  # here, where it can be told what went wrong

    try:
        app.run(prepared, argv=arguments, flags_parser=parse)
    except (ReportedError, OSError) as error:  # OSError: a file that isn't there, or can't be read; a full disk
        if isinstance(error, BrokenPipeError) and _nobody_reads():
            os.dup2(os.open(os.devnull, os.O_WRONLY), _STDOUT)  # for what Python writes when it ends
            sys.exit(128 + signal.SIGPIPE)
        if flags.FLAGS.is_parsed() and logging.level_debug():
            raise
        print(f"error: {_in_one_line(error)}", file=sys.stderr)
        sys.exit(_exit_code(error))
    except KeyboardInterrupt:
        if flags.FLAGS.is_parsed() and logging.level_debug():
            raise
        print("interrupted", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)


@runtime_checkable
class Result(Protocol):
    """What a command finds, as a line of JSON."""

    def to_json(self) -> str: ...


@contextlib.contextmanager
def results_alone() -> Iterator[Callable[[Result], None]]:
    """Keeps stdout for results, whatever a library prints meanwhile; yields what writes one there."""
    lines = sys.stdout

    def write(result: Result) -> None:
        print(result.to_json(), file=lines, flush=True)

    with contextlib.redirect_stdout(sys.stderr):
        yield write


def _exit_code(error: ReportedError | OSError) -> int:
    """An OSError is wrong input where a path is to blame for it; all else is what happened to a good run."""
    if isinstance(error, ReportedError):
        return error.exit_code
    wrong = isinstance(error, _WRONG_PATHS) or error.errno in _WRONG_NAMES or _NO_CONFIG in str(error)
    return UserError.exit_code if wrong else ReportedError.exit_code


def _nobody_reads() -> bool:
    """Whether stdout is a pipe or socket whose other end has been closed."""
    poll = select.poll()
    poll.register(_STDOUT, 0)  # errors are reported always
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def _in_one_line(error: Exception) -> str:
    """The message; of ml_collections' report on an experiment file that isn't there, the line that says so."""
    text = str(error)
    if _NO_CONFIG in text:
        return f"the config can't be loaded: {text.splitlines()[-1].strip()}"
    return text


def make_logs_readable(handler: standard_logging.Handler) -> None:
    """Bare messages (warnings and worse with their level), and of other libraries only warnings and worse."""
    handler.setFormatter(_Formatter())
    if not any(isinstance(entry, _OwnInformation) for entry in handler.filters):
        handler.addFilter(_OwnInformation())


class _Formatter(standard_logging.Formatter):
    def format(self, record: standard_logging.LogRecord) -> str:
        text = super().format(record)
        return text if record.levelno < standard_logging.WARNING else f"{record.levelname.lower()}: {text}"


class _OwnInformation(standard_logging.Filter):
    """Drops what installed libraries log below warnings, unless debugging is asked for."""

    def filter(self, record: standard_logging.LogRecord) -> bool:
        own = record.pathname.startswith(_PACKAGE) or not _LIBRARIES.search(record.pathname)
        return own or record.levelno >= standard_logging.WARNING or logging.level_debug()
