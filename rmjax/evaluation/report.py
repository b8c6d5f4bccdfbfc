"""The report: one HTML page that needs nothing beside it, the pictures as PNG, and the results as JSON lines."""

import html
import json
import math
from collections.abc import Iterable, Sequence

import numpy as np
from etils import epath

from rmjax.evaluation import plots
from rmjax.evaluation.measure import RESULTS, Evaluation
from rmjax.evaluation.plots import SMOOTHED_FROM, TrainingCurve
from rmjax.hub import HUB
from rmjax.report_page import number, page, picture_section, table, write_together
from rmjax.training.metrics_writer import METRICS

PICTURES = {
    "matrix.png": (
        "Accuracy of each model on each data set",
        "The large number is the share of pairs whose greater reward is on the labelers' side, the small "
        "ones its 95 % Wilson interval, which counts comparisons of one prompt as belonging together.",
    ),
    "reliability.png": (
        "Calibration",
        "Dots show how often the labelers agree with the model, by the model's confidence in the response that it "
        "prefers; below the dashed line it claims more than it keeps. Grey bars show how many pairs there are.",
    ),
    "rewards.png": (
        "Rewards of preferred and other responses",
        "A reward is known up to a constant for each prompt; the filled histograms are rewards less the mean of their "
        "pair, the outlines rewards as they are.",
    ),
    "training_curves.png": ("Training", "Smoothed over a fiftieth of the steps; the raw values lie behind, pale."),
}
CONTROLLED = "length_controlled_accuracy"
COLUMNS = {
    "model": "model",
    "data": "data",
    "dimension": "dimension",
    "source": "source",
    "step": "step",
    "comparisons": "comparisons",
    "skipped": "skipped",
    "accuracy": "accuracy (95 %)",
    CONTROLLED: "length-controlled accuracy (95 %)",
    "nll": "nll",
    "ece": "ECE",
    "ece_if_calibrated": "ECE if calibrated",
    "length_baseline_accuracy": "longer wins",
    "accuracy_by_length_quartile": "accuracy by length difference, least to most",
    "mean_spread": "mean spread of a reward",
    "mean_difference_spread": "of a difference",
    "accuracy_by_spread_quartile": "accuracy by spread of the difference, least to most",
    "bayes_accuracy": "Bayes-optimal",
    "spearman": "Spearman",
}


def write_report(
    folder: epath.PathLike, evaluations: Sequence[Evaluation], curves: Sequence[TrainingCurve]
) -> epath.Path:
    """Writes the report, whole or not at all, and returns the path of its ``report.html``.

    All files are made beside their places first and take their names at the end, ``report.html`` last, so a reader
    never meets a half-written page, and an error leaves an earlier report as it was.
    """
    folder = epath.Path(folder)
    names = short_names([entry.label for entry in evaluations]) | short_names([entry.data for entry in evaluations])
    names |= short_names([curve.model for curve in curves])
    pictures = {
        "matrix.png": plots.matrix_picture(evaluations, names),
        "reliability.png": plots.reliability_picture(evaluations, names),
        "rewards.png": plots.rewards_picture(evaluations, names),
    }
    if curves:
        pictures["training_curves.png"] = plots.training_picture(curves, names)
    lines = "".join(entry.to_json() + "\n" for entry in evaluations)
    captions = {name: caption for name, (_, caption) in PICTURES.items()}
    if not any(len(curve.steps) >= SMOOTHED_FROM for curve in curves):
        captions["training_curves.png"] = "The values of every step."
    html_page = _page(evaluations, pictures, captions)
    write_together(folder, {**pictures, RESULTS: lines.encode(), "report.html": html_page.encode()})
    return folder / "report.html"


def short_names(paths: Iterable[str]) -> dict[str, str]:
    """The shortest ends of the paths (whole parts of them) that tell them apart."""
    distinct = list(dict.fromkeys(paths))
    parts = {path: path.rstrip("/").split("/") for path in distinct}
    for depth in range(1, max((len(entry) for entry in parts.values()), default=0) + 1):
        names = {path: "/".join(entry[-depth:]) for path, entry in parts.items()}
        if len(set(names.values())) == len(distinct):
            return names
    return {path: path for path in distinct}


def read_curve(workdir: str) -> TrainingCurve | None:
    """The training curve of a run from its ``metrics.jsonl``; None where there is none."""
    if workdir.startswith(HUB) or not (epath.Path(workdir) / METRICS).exists():
        return None
    path = epath.Path(workdir) / METRICS
    points: dict[str, list[tuple[int, float]]] = {"loss": [], "accuracy": [], "validation": []}
    for text in path.read_text().splitlines(keepends=True):
        if not text.endswith("\n"):
            break  # a run that is still writing, or that was cut off
        line = json.loads(text)
        values = {**line, "validation": line.get("validation", {}).get("accuracy")}
        for name, found in points.items():
            if values.get(name) is not None:
                found.append((line["step"], values[name]))
    arrays = {name: np.array(found, np.float64).reshape(-1, 2) for name, found in points.items()}
    loss, accuracy, validation = arrays.values()
    return TrainingCurve(
        model=workdir,
        steps=loss[:, 0].astype(np.int64),
        loss=loss[:, 1],
        accuracy_steps=accuracy[:, 0].astype(np.int64),
        accuracy=accuracy[:, 1],
        validation_steps=validation[:, 0].astype(np.int64),
        validation_accuracy=validation[:, 1],
    )


def _page(evaluations: Sequence[Evaluation], pictures: dict[str, bytes], captions: dict[str, str]) -> str:
    sections = [f"<h2>Results</h2>\n{_table(evaluations)}\n<p>{html.escape(_of_length(evaluations))}</p>"]
    sections += [picture_section(PICTURES[name][0], captions[name], pictures[name]) for name in pictures]
    return page("Reward models: evaluation", sections)


def _of_length(evaluations: Sequence[Evaluation]) -> str:
    """What the length-controlled accuracy is, and where there is none."""
    said = (
        "The length-controlled accuracy is the mean of that on pairs of which the labelers prefer the longer response "
        "and that on pairs of which they prefer the shorter: going by length alone gives one half."
    )
    without = [one for one in evaluations if math.isnan(one.measurement.numbers[CONTROLLED])]
    if not without:
        return said
    where = "; ".join(f"{one.label} on {one.data}" for one in without)
    return f"{said} There is none where one of the two kinds has no pair: {where}."


def _table(evaluations: Sequence[Evaluation]) -> str:
    """All results; columns that no line has a value in are left out."""
    rows = [json.loads(entry.to_json()) | {"model": entry.label} for entry in evaluations]
    columns = [key for key in COLUMNS if any(row.get(key) is not None for row in rows)]
    return table([COLUMNS[key] for key in columns], [[_cell(row, key) for key in columns] for row in rows], names=4)


def _cell(row: dict, key: str) -> str:
    value = row.get(key)
    if key in ("accuracy", CONTROLLED) and value is not None:
        return f"{value:.3f} <small>{number(row[f'{key}_low'])} to {number(row[f'{key}_high'])}</small>"
    if isinstance(value, list):
        return " · ".join(number(entry) for entry in value)
    return html.escape(value) if isinstance(value, str) else number(value)
