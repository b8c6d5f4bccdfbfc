"""The pictures of a report, by matplotlib's object interface alone: no window, no state that outlives a call."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rmjax.evaluation.measure import Evaluation
from rmjax.pictures import BLUE, GREY, INK, ORANGE, PALE, SERIES, png, styled

SMOOTHED_FROM = 100  # steps: a fiftieth of fewer is a single one


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingCurve:
    """What a run logged, by step: the accuracy may be missing in some (nothing but ties), the validation is in few."""

    model: str
    steps: Int[np.ndarray, "steps"]
    loss: Float[np.ndarray, "steps"]
    accuracy_steps: Int[np.ndarray, "accuracies"]
    accuracy: Float[np.ndarray, "accuracies"]
    validation_steps: Int[np.ndarray, "validations"]
    validation_accuracy: Float[np.ndarray, "validations"]


def matrix_picture(evaluations: Sequence[Evaluation], names: dict[str, str]) -> bytes:
    """The cross-dimension matrix as PNG: accuracy of each model (rows) on each data set (columns).

    A model of which heads were chosen has a row for each of them. Under the models stand "the longer response wins" on
    the same pairs and, where it is known, what the best predictor there is would get. Blue is better than a coin, red
    is worse.
    """
    models, data = _in_order(evaluations, "label"), _in_order(evaluations, "data")
    cells = {(entry.label, entry.data): entry for entry in evaluations}
    rows = [_accuracies(cells, model, data) for model in models]
    labels = [names[model] for model in models]
    for key, label in (("length_baseline_accuracy", "the longer response wins"), ("bayes_accuracy", "Bayes-optimal")):
        row = [_baseline(cells, models, spec, key) for spec in data]
        if any(np.isfinite(value) for value, _ in row):
            rows.append(row)
            labels.append(label)
    values = np.array([[value for value, _ in row] for row in rows], np.float64)
    with styled():
        figure = Figure(figsize=(3.4 + 1.9 * len(data), 1.5 + 0.72 * len(rows)))
        _heat_map(figure, figure.add_subplot(), values, rows, len(models))
        axes = figure.axes[0]
        titles = [f"{names[spec]}\n{_dimension(evaluations, spec)}" for spec in data]
        axes.set_xticks(range(len(data)), titles)
        axes.set_yticks(range(len(rows)), labels)
        axes.tick_params(top=True, bottom=False, labeltop=True, labelbottom=False, length=0)
        return png(figure)


def _heat_map(figure: Figure, axes: Axes, values: Float[np.ndarray, "rows columns"], rows: list, models: int) -> None:
    """Coloured cells with their numbers, and a white line between models and baselines."""
    reach = max(0.1, float(np.nanmax(np.abs(values - 0.5)))) if np.isfinite(values).any() else 0.5
    image = axes.imshow(values, cmap="RdBu", vmin=0.5 - reach, vmax=0.5 + reach, aspect="auto")
    for (row, column), value in np.ndenumerate(values):
        if not np.isfinite(value):
            continue
        colour = "white" if abs(value - 0.5) > 0.62 * reach else INK
        interval = rows[row][column][1]
        lift = -0.11 if interval else 0.0
        axes.text(column, row + lift, f"{value:.3f}", ha="center", va="center", color=colour, fontsize=12)
        axes.text(column, row + 0.24, interval, ha="center", va="center", color=colour, fontsize=7.5)
    axes.grid(False)
    for edge in np.arange(values.shape[0] - 1) + 0.5:
        axes.axhline(edge, color="white", linewidth=6 if edge == models - 0.5 else 1.5)
    for edge in np.arange(values.shape[1] - 1) + 0.5:
        axes.axvline(edge, color="white", linewidth=1.5)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=axes, shrink=0.85, pad=0.02)
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue] matplotlib types it as a Spine container
    bar.set_label("accuracy")


def reliability_picture(evaluations: Sequence[Evaluation], names: dict[str, str]) -> bytes:
    """One reliability diagram for each model and data set, as PNG: accuracy against confidence, and how many."""
    with styled():
        figure, panels = _panels(evaluations, names, height=2.5)
        for axes, entry in panels:
            _reliability(axes, entry)
        figure.supxlabel("confidence in the response that the model prefers", fontsize=10)
        figure.supylabel("how often the labelers agree", fontsize=10)
        return png(figure)


def _reliability(axes: Axes, entry: Evaluation) -> None:
    table, numbers = entry.measurement.reliability, entry.measurement.numbers
    edges = np.linspace(0.5, 1.0, len(table.count) + 1)
    share = table.count / max(1, table.count.max())
    axes.bar(edges[:-1], 0.25 * share, width=np.diff(edges), align="edge", color=PALE, edgecolor="white", bottom=0.0)
    axes.plot([0.5, 1], [0.5, 1], color=GREY, linewidth=1, linestyle=(0, (4, 3)))
    full = table.count > 0
    axes.vlines(table.confidence[full], table.confidence[full], table.accuracy[full], color=ORANGE, linewidth=1.4)
    size = 8 + 42 * share[full]
    axes.scatter(table.confidence[full], table.accuracy[full], s=size, color=BLUE, zorder=3, linewidth=0)
    over = numbers["overconfidence"]
    word = "overconfident" if over > 0 else "underconfident"
    text = f"ECE {numbers['ece']:.3f} (calibrated: {numbers['ece_if_calibrated']:.3f})\n{word} by {abs(over):.3f}"
    axes.text(0.03, 0.97, text, transform=axes.transAxes, va="top", fontsize=8)
    axes.set(xlim=(0.49, 1.01), ylim=(0, 1.22), xticks=[0.5, 0.75, 1], yticks=[0, 0.25, 0.5, 0.75, 1])


def rewards_picture(evaluations: Sequence[Evaluation], names: dict[str, str]) -> bytes:
    """The rewards of preferred and other responses for each model and data set, as PNG.

    A reward is known up to a constant for each prompt, so each panel shows the rewards less their mean over the
    compared pair, which is half of the difference with either sign: what is right of 0 in blue is ranked rightly.
    The rewards as they are stand above it, thin.
    """
    with styled():
        figure, panels = _panels(evaluations, names, height=2.6, sharex=False, sharey=False)
        for axes, entry in panels:
            _reward_histograms(axes, entry)
        figure.supxlabel("reward (outlined) and\nreward less its pair's mean (filled)", fontsize=10)
        handles, labels = panels[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper right", ncols=2)
        return png(figure)


def _reward_histograms(axes: Axes, entry: Evaluation) -> None:
    preferred, other = entry.measurement.preferred, entry.measurement.other
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.grid(False)
    if not preferred.size:
        return
    middle = (preferred + other) / 2
    sides = (("preferred", preferred, BLUE), ("other", other, ORANGE))
    low, high = np.quantile(np.concatenate([preferred, other, preferred - middle, other - middle]), [0.002, 0.998])
    bins = np.linspace(low, high, 42) if high > low else np.linspace(low - 0.5, high + 0.5, 42)
    for label, values, colour in sides:
        inside = np.clip(values - middle, bins[0], bins[-1])
        axes.hist(inside, bins, color=colour, alpha=0.45, label=label, linewidth=0, density=True)
        axes.hist(np.clip(values, bins[0], bins[-1]), bins, histtype="step", color=colour, density=True, linewidth=1.1)
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set_xlim(bins[0], bins[-1])


def training_picture(curves: Sequence[TrainingCurve], names: dict[str, str]) -> bytes:
    """Loss, accuracy and validation accuracy by step, as PNG; each run a colour, smoothed over 1/50 of its steps."""
    with styled():
        figure = Figure(figsize=(10.5, 3.5))
        loss, accuracy, validation = figure.subplots(1, 3)
        for index, curve in enumerate(curves):
            colour, label = SERIES[index % len(SERIES)], names[curve.model]
            lines = ((loss, curve.steps, curve.loss), (accuracy, curve.accuracy_steps, curve.accuracy))
            for axes, steps, values in lines:
                axes.plot(steps, values, color=colour, linewidth=0.6, alpha=0.18)
                axes.plot(steps, smoothed(values), color=colour, linewidth=1.6, label=label)
            validation.plot(
                curve.validation_steps, curve.validation_accuracy, "o-", color=colour, markersize=3.5, linewidth=1.4
            )
        for axes, title in (
            (loss, "training loss"),
            (accuracy, "training accuracy"),
            (validation, "validation accuracy"),
        ):
            axes.set(title=title, xlabel="step")
        for axes in (accuracy, validation):
            axes.axhline(0.5, color=GREY, linewidth=0.8, linestyle=(0, (4, 3)))
        handles, labels = loss.get_legend_handles_labels()
        if handles:
            figure.legend(handles, labels, loc="outside lower center", ncols=min(4, len(handles)))
        return png(figure)


def smoothed(values: Float[np.ndarray, "steps"]) -> Float[np.ndarray, "steps"]:
    """A centred moving mean over 1/50 of the steps, over what there is at the ends; of short runs as it is."""
    half = len(values) // SMOOTHED_FROM
    total = np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])
    index = np.arange(len(values))
    low, high = np.maximum(index - half, 0), np.minimum(index + half + 1, len(values))
    return (total[high] - total[low]) / (high - low)


def _panels(evaluations: Sequence[Evaluation], names: dict[str, str], *, height: float, sharex=True, sharey=True):
    """A grid of small pictures, models down and data sets across, each with its evaluation."""
    models, data = _in_order(evaluations, "label"), _in_order(evaluations, "data")
    size = (0.6 + 3.0 * len(data), 0.7 + height * len(models))
    figure = Figure(figsize=size)
    grid = figure.subplots(len(models), len(data), sharex=sharex, sharey=sharey, squeeze=False)
    for axes in grid.flat:
        axes.set_visible(False)
    panels = []
    for entry in evaluations:
        axes = grid[models.index(entry.label), data.index(entry.data)]
        axes.set_visible(True)
        axes.set_title(f"{names[entry.label]} on {names[entry.data]}", fontsize=9)
        panels.append((axes, entry))
    return figure, panels


def _in_order(evaluations: Sequence[Evaluation], field: str) -> list[str]:
    """The distinct values of a field, in order of first appearance."""
    return list(dict.fromkeys(getattr(entry, field) for entry in evaluations))


def _accuracies(cells: dict[tuple[str, str], Evaluation], model: str, data: list[str]) -> list[tuple[float, str]]:
    """The accuracy of a model on each data set, with its interval as text."""
    row = []
    for spec in data:
        entry = cells.get((model, spec))
        numbers = entry.measurement.numbers if entry else {"accuracy": float("nan")}
        interval = f"{numbers['accuracy_low']:.3f} to {numbers['accuracy_high']:.3f}" if entry else ""
        row.append((numbers["accuracy"], interval))
    return row


def _baseline(cells: dict[tuple[str, str], Evaluation], models: list[str], spec: str, key: str) -> tuple[float, str]:
    """A number that belongs to the data set, taken from the first model that was evaluated on it."""
    found = [cells[model, spec] for model in models if (model, spec) in cells]
    return found[0].measurement.numbers.get(key, float("nan")), ""


def _dimension(evaluations: Sequence[Evaluation], spec: str) -> str:
    found = {f"{entry.dimension} ({entry.source})" for entry in evaluations if entry.data == spec}
    return " or ".join(sorted(found))  # several where rows name no dimension and the models' own differ
