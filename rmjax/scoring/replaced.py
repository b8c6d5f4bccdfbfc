"""What the rows of a command may replace: a file of such rows, and no other that happens to have the name."""

from collections.abc import Mapping
from dataclasses import dataclass

from etils import epath

from rmjax.errors import UserError
from rmjax.files import check_apart
from rmjax.preferences.files import decode_line
from rmjax.preferences.record import FileError, RowError
from rmjax.scoring.rows import STANDARD, read_lines


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """By what the rows that a command has written are known.

    Attributes:
      fields: of which each such row has at least one, be it null.
      by_others: fields of what another command writes, of which it has none.
    """

    fields: tuple[str, ...]
    by_others: tuple[str, ...] = ()

    def holds(self, row: Mapping[str, object]) -> bool:
        return any(name in row for name in self.fields) and not any(name in row for name in self.by_others)


def check_output(source: str, target: str, written: Written) -> None:
    """UserError where ``--output`` names the file that ``--input`` reads, or one that the command hasn't written.

    A file is told by its first row. An empty one may be replaced, and a pipe, a device or stdout isn't.
    """
    check_apart(source, target)
    file = epath.Path(target)
    if target == STANDARD or not file.is_file() or not file.stat().length:
        return
    try:
        origin, line = next(read_lines(target), (target, b""))
        row = decode_line(line, origin)
    except (FileError, RowError) as error:
        raise _not_replaced(target, f"holds no such rows ({error})", written) from None
    if not written.holds(row):
        names = ", ".join(map(repr, row)) or "no fields"
        raise _not_replaced(target, f"{origin} has {names}", written)


def _not_replaced(target: str, found: str, written: Written) -> UserError:
    names = " or ".join(map(repr, written.fields))
    return UserError(
        f"--output: {target} is there already, and {found}; right would be a new file, or one that the same command "
        f"wrote, with {names} in each row"
    )
