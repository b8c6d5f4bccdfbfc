"""The page that a report is: one HTML file that needs nothing beside it, with its tables and pictures inside."""

import base64
import contextlib
import html
from collections.abc import Sequence

from etils import epath

from rmjax.files import written_whole

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 76rem; margin: 2.5rem auto; padding: 0 1.5rem; }}
h1 {{ font-size: 1.6rem; }} h2 {{ font-size: 1.15rem; margin-top: 2.6rem; }}
p {{ max-width: 46rem; color: #555; }} img {{ max-width: 100%; height: auto; }}
.wide {{ overflow-x: auto; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 13px; }}
th, td {{ padding: .4rem .6rem; text-align: right; border-bottom: 1px solid #e6e6e6; vertical-align: top; }}
th {{ border-bottom: 2px solid #8a8a8a; vertical-align: bottom; }}
th.name, td.name {{ text-align: left; }} td.name {{ white-space: nowrap; }}
small {{ color: #777; }} td small {{ display: inline-block; white-space: nowrap; }}
</style></head><body>
<h1>{title}</h1>
{sections}
</body></html>
"""


def page(title: str, sections: Sequence[str]) -> str:
    """The page with these sections, each of them HTML."""
    return PAGE.format(title=html.escape(title), sections="\n".join(sections))


def picture_section(title: str, caption: str, picture: bytes) -> str:
    """A section that shows one PNG, which lies in the page itself."""
    title, caption = html.escape(title), html.escape(caption)
    data = base64.b64encode(picture).decode()
    return f'<h2>{title}</h2>\n<p>{caption}</p>\n<img alt="{title}" src="data:image/png;base64,{data}">'


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, names: int = 1) -> str:
    """A table; the head is text, the cells are HTML, and the first ``names`` columns hold names, not numbers."""
    titles = "".join(f"<th{_kind(place, names)}>{html.escape(entry)}</th>" for place, entry in enumerate(head))
    lines = ("".join(f"<td{_kind(place, names)}>{cell}</td>" for place, cell in enumerate(row)) for row in rows)
    body = "\n".join(f"<tr>{line}</tr>" for line in lines)
    return f"<div class=wide><table><thead><tr>{titles}</tr></thead>\n<tbody>{body}</tbody></table></div>"


def _kind(place: int, names: int) -> str:
    return " class=name" if place < names else ""


def number(value: float | int | None) -> str:
    """A number as cells show it; a dash for none."""
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}"


def write_together(folder: epath.Path, files: dict[str, bytes]) -> None:
    """Writes all files beside their places, then renames them; the last of ``files`` takes its name last."""
    with contextlib.ExitStack() as stack:
        for name, content in reversed(files.items()):  # the stack closes what was opened first last
            stack.enter_context(written_whole(folder / name)).write_bytes(content)
