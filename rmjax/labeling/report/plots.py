"""The pictures of the report on labels, as PNG."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.special import expit

from rmjax.intervals import wilson_interval
from rmjax.labeling.report.biases import log_length_ratio
from rmjax.labeling.report.statistics import Group
from rmjax.pictures import BLUE, GREY, INK, ORANGE, PALE, drawable, png, styled

MOST_ANNOTATORS = 30  # in a picture: those with the most judgments
NAMES = ("annotators.png", "sources.png", "biases.png", "length.png", "seconds.png")
_DASHED = (0, (4, 3))

Pictures = dict[str, tuple[bytes, str, str]]  # by file name: the picture, its title and what it shows


def pictures(groups: Sequence[Group], between: Sequence[dict[str, Any]]) -> Pictures:
    """Those of ``NAMES`` that there is something to show in."""
    found: Pictures = {}
    several = [group for group in groups if group.numbers["annotator_pairs"]]
    many = any(len(group.numbers["annotators"]) > MOST_ANNOTATORS for group in groups)
    most = f" Only the {MOST_ANNOTATORS} annotators with the most judgments are shown." if many else ""
    if several:
        caption = "Agreement beyond chance of every two annotators: 1 always, 0 as coins, below 0 less than that."
        found["annotators.png"] = (_kappas(several), "Cohen's kappa between annotators", caption + most)
    if between:
        caption = "What the one source says (down) of the pairs of which the other says (across): how many, and by row."
        found["sources.png"] = (_confusions(between), "Sources on the same pairs", caption)
    rows = [*_rows(groups)]
    if rows:
        caption = "How often the judgments go that way, with 95 % intervals; the dashed line is no bias."
        found["biases.png"] = (_dots(rows), "First shown, longer", caption + most)
    sloped = [group for group in groups if group.numbers["longer_preferred"]["count"] > 0]
    if sloped:
        caption = (
            "How often the longer response is preferred, by how much longer it is; a dot is a sixth of the judgments, "
            "the line the logistic regression."
        )
        found["length.png"] = (_lengths(sloped), "Length", caption)
    timed = [(name, entry) for name, entry in rows if entry["seconds"]["count"]]
    if timed:
        caption = "Median, the middle half (thick) and 10 % to 90 % (thin) of the seconds that a judgment took."
        found["seconds.png"] = (_seconds(timed), "Time for each judgment", caption + most)
    return found


def _name(group: Group) -> str:
    return drawable(f"{group.dimension} ({group.source})")


def _rows(groups: Sequence[Group]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each group, followed by its annotators where there are several."""
    for group in groups:
        if not len(group.judgments):
            continue
        yield _name(group), group.numbers
        annotators = sorted(group.numbers["annotators"], key=lambda entry: -entry["judgments"])
        if len(annotators) > 1:
            yield from ((f"  {drawable(entry['name'])}", entry) for entry in annotators[:MOST_ANNOTATORS])


def _kappas(groups: Sequence[Group]) -> bytes:
    with styled():
        matrices = [_kappa_matrix(group) for group in groups]
        sizes = [0.55 * len(names) for names, _ in matrices]
        labels = [0.3 + 0.075 * max(map(len, names)) for names, _ in matrices]  # inches that the names take
        width = sum(sizes) + sum(labels) + 0.5 * len(sizes)
        figure = Figure(figsize=(max(2.4, width), max(sizes) + max(labels) + 0.4))
        grid = figure.subplots(1, len(groups), squeeze=False, width_ratios=sizes)[0]
        for axes, group, (names, values) in zip(grid, groups, matrices, strict=True):
            axes.imshow(values, cmap="RdBu", vmin=-1, vmax=1)
            for (row, column), value in np.ndenumerate(values):
                if np.isfinite(value):
                    colour = "white" if abs(value) > 0.62 else INK
                    axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=7.5, color=colour)
            axes.set_xticks(range(len(names)), names, rotation=90)
            axes.set_yticks(range(len(names)), names)
            _bare(axes, _name(group))
        return png(figure)


def _kappa_matrix(group: Group) -> tuple[list[str], np.ndarray]:
    annotators = sorted(group.numbers["annotators"], key=lambda entry: -entry["judgments"])[:MOST_ANNOTATORS]
    names = [entry["name"] for entry in annotators]
    values = np.full((len(names), len(names)), np.nan)
    for pair in group.numbers["annotator_pairs"]:
        kappa = pair["cohen_kappa"]["value"]
        if pair["first"] in names and pair["second"] in names and kappa is not None:
            one, other = names.index(pair["first"]), names.index(pair["second"])
            values[one, other] = values[other, one] = kappa
    return [drawable(name) for name in names], values


def _bare(axes: Axes, title: str) -> None:
    axes.set_title(title, fontsize=9)
    axes.grid(False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _confusions(between: Sequence[dict[str, Any]]) -> bytes:
    with styled():
        figure = Figure(figsize=(0.6 + 3.3 * len(between), 3.2))
        for axes, entry in zip(figure.subplots(1, len(between), squeeze=False)[0], between, strict=True):
            counts = np.array(entry["confusion"], np.float64)
            shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
            axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
            for (row, column), share in np.ndenumerate(shares):
                colour = "white" if share > 0.6 else INK
                text = f"{int(counts[row, column]):,}\n{share:.0%}"
                axes.text(column, row, text, ha="center", va="center", fontsize=8.5, color=colour)
            axes.set_xticks(range(3), entry["verdicts"])
            axes.set_yticks(range(3), entry["verdicts"])
            axes.set(xlabel=entry["second"], ylabel=entry["first"])
            _bare(axes, f"{drawable(entry['dimension'])}: kappa {_short(entry['cohen_kappa']['value'])}")
        return png(figure)


def _short(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _dots(rows: Sequence[tuple[str, dict[str, Any]]]) -> bytes:
    """Position, length and, where it is known, attention: a dot with its interval for each row."""
    panels = {"shown_first_preferred": "the first shown is preferred", "longer_preferred": "the longer is preferred"}
    if any(entry["gold"]["count"] for _, entry in rows):
        panels["gold"] = "right on gold pairs"
    with styled():
        figure = Figure(figsize=(2.2 + 3.1 * len(panels), 1.1 + 0.27 * len(rows)))
        grid = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axes, (key, title) in zip(grid, panels.items(), strict=True):
            for place, (name, entry) in enumerate(rows):
                share = entry[key]
                if share["value"] is not None:
                    colour = BLUE if name.startswith("  ") else ORANGE
                    axes.hlines(place, share["low"], share["high"], color=colour, linewidth=1.6)
                    axes.plot(share["value"], place, "o", color=colour, markersize=4.5)
            if key != "gold":
                axes.axvline(0.5, color=GREY, linewidth=1, linestyle=_DASHED)
            axes.set(xlim=(-0.02, 1.02), title=title)
        _name_rows(grid[0], [name for name, _ in rows])
        return png(figure)


def _name_rows(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)


def _lengths(groups: Sequence[Group]) -> bytes:
    with styled():
        figure = Figure(figsize=(0.6 + 3.6 * len(groups), 3.1))
        for axes, group in zip(figure.subplots(1, len(groups), sharey=True, squeeze=False)[0], groups, strict=True):
            _length(axes, group)
        figure.supxlabel("how many times as long", fontsize=10)
        figure.supylabel("the longer is preferred", fontsize=10)
        return png(figure)


def _length(axes: Axes, group: Group) -> None:
    judgments, ratios = group.judgments, log_length_ratio(group.judgments)
    kept = (ratios != 0) & (judgments.probability != 0.5)
    longer = ((judgments.probability > 0.5) == (ratios > 0))[kept].astype(np.float64)
    size, prompts = np.abs(ratios[kept]), judgments.prompt[kept]
    for part in np.array_split(np.argsort(size, kind="stable"), min(6, len(size))):
        share, at = wilson_interval(longer[part], prompts[part]), float(np.exp(np.mean(size[part])))
        axes.vlines(at, share.low, share.high, color=BLUE, linewidth=1.4)
        axes.plot(at, share.value, "o", color=BLUE, markersize=4.5)
    slope = group.numbers["length_slope"]["value"]
    if slope is not None:
        reach = np.linspace(0, float(np.quantile(size, 0.99)), 100)
        axes.plot(np.exp(reach), expit(slope * reach), color=ORANGE, linewidth=1.4)
    axes.axhline(0.5, color=GREY, linewidth=1, linestyle=_DASHED)
    axes.set_title(_name(group), fontsize=9)
    axes.set(ylim=(-0.02, 1.02))
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:g}")  # the default writes mathematics, which no name is read as here


def _seconds(rows: Sequence[tuple[str, dict[str, Any]]]) -> bytes:
    with styled():
        figure = Figure(figsize=(7.2, 1.1 + 0.27 * len(rows)))
        axes = figure.add_subplot()
        for place, (name, entry) in enumerate(rows):
            seconds = entry["seconds"]
            colour = BLUE if name.startswith("  ") else ORANGE
            axes.hlines(place, seconds["p10"], seconds["p90"], color=colour, linewidth=1.2)
            axes.hlines(place, seconds["p25"], seconds["p75"], color=colour, linewidth=4.5)
            axes.plot(seconds["median"], place, "o", color="white", markeredgecolor=INK, markersize=5)
        axes.set(xlabel="seconds", xlim=(0, None))
        axes.set_facecolor("white")
        axes.grid(axis="y", color=PALE)
        _name_rows(axes, [name for name, _ in rows])
        return png(figure)
