"""What an AI judge judges by: a text for each dimension, in ``constitutions/``, to be edited or replaced."""

import os
from pathlib import Path

from rmjax.errors import UserError

FOLDER = Path(__file__).parent / "constitutions"


def read_constitution(dimension: str, path: str | os.PathLike[str] | None = None) -> str:
    """The constitution in the file, or else the one that rmjax brings for the dimension, without space at its ends.

    UserError where there is none for the dimension, and for a file that is no text or an empty one.
    """
    file = Path(path) if path is not None else FOLDER / f"{dimension}.md"
    if path is None and file not in FOLDER.glob("*.md"):
        known = ", ".join(sorted(found.stem for found in FOLDER.glob("*.md")))
        raise UserError(
            f"there is no constitution for the dimension {dimension!r}; there are those of {known}, and "
            "--constitution=FILE takes one of your own"
        )
    try:
        text = file.read_text(encoding="utf-8").strip()
    except UnicodeDecodeError as error:
        raise UserError(f"{file}: found what is no UTF-8 ({error}); right would be a text") from None
    if not text:
        raise UserError(f"{file}: found an empty constitution; right would be a text that says what is better")
    return text
