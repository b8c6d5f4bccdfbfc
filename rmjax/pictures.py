"""How every picture of a report looks: one style, by matplotlib's object interface, without a window."""

import contextlib
import functools
import io
import re
from collections.abc import Set
from typing import Any

import matplotlib
from matplotlib import font_manager
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

# The colours are Okabe and Ito's, which people with any colour vision can tell apart.
BLUE, ORANGE, GREEN, INK, GREY, PALE = "#0072B2", "#D55E00", "#009E73", "#222222", "#8A8A8A", "#E6E6E6"
SERIES = (BLUE, ORANGE, GREEN, "#CC79A7", "#56B4E9", "#E69F00", "#F0E442", INK)
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "text.color": INK,
    "text.parse_math": False,  # a name may hold dollar signs
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "axes.linewidth": 0.8,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": PALE,
    "grid.linewidth": 0.7,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.w_pad": 0.08,
    "figure.constrained_layout.h_pad": 0.08,
    "savefig.dpi": 150,
}


def drawable(name: str) -> str:
    """The name with what the font has no sign for as its number, ``[U+1F98B]``; an empty box would be the same for all.

    Line breaks are such signs, since a name is one line.
    """

    def numbers(found: re.Match[str]) -> str:
        return f"[{' '.join(f'U+{ord(sign):04X}' for sign in found[0])}]"

    known = _signs()
    unknown = "".join({re.escape(sign) for sign in name if ord(sign) not in known})
    return re.sub(f"[{unknown}]+", numbers, name) if unknown else name


@functools.cache
def _signs() -> Set[int]:
    """The code points that the font of the style has a sign for."""
    font = font_manager.get_font(font_manager.findfont(STYLE["font.family"]))
    return frozenset(font.get_charmap())


def styled() -> contextlib.AbstractContextManager[None]:
    """The house's style, for as long as a picture is drawn."""
    return matplotlib.rc_context(STYLE)


def png(figure: Figure) -> bytes:
    """The figure as the content of a PNG file."""
    FigureCanvasAgg(figure)
    with io.BytesIO() as buffer:
        figure.savefig(buffer, format="png")
        return buffer.getvalue()
