"""Rankings of K responses: what they teach for as many comparisons and for as much labeling time, and what they cost.

A labeler ranks the responses by the model of Plackett and Luce; a ranking of two is a pair. All K(K-1)/2 pairs of a
ranking are learned from, each with weight 1/(K(K-1)/2). See experiments/kwise.py.
"""

import copy
import json
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from etils import epath
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rmjax.datasets.synthetic import TEMPERATURE
from rmjax.labeling.simulated.ranking import SimulatedRanker
from rmjax.pictures import BLUE, GREY, INK, ORANGE, png, styled
from rmjax.preferences.record import Preference
from rmjax.training.metrics_writer import METRICS
from studies.labeling_time import ranking_seconds
from studies.models import trained_on
from studies.study import Row, Study, run_study
from studies.testbed import judged_truly, unjudged

RANKED = (2, 4, 8)
PAIRS = 2800  # what the budgets are counted from: so many pairs, and the time that they take
SEEDS = (1, 2)  # of prompts, labels and weights
COMPARISONS, TIME = "as many comparisons", "as much labeling time"
VALIDATION = 500  # pairs
TEST = 1000  # prompts, with four responses each


class Arm(NamedTuple):
    """A budget spent on rankings of so many responses."""

    responses: int
    budget: str
    prompts: int


def comparisons_of(responses: int) -> int:
    """The pairs of a ranking."""
    return responses * (responses - 1) // 2


def arms() -> Iterator[Arm]:
    """The budgets of PAIRS pairs, spent on rankings of each length; pairs themselves are of both budgets."""
    for responses in RANKED:
        yield Arm(responses, COMPARISONS, PAIRS // comparisons_of(responses))
        if responses > 2:
            yield Arm(responses, TIME, int(PAIRS * ranking_seconds(2) // ranking_seconds(responses)))


def measure(study: Study) -> None:
    """Trains on each arm with each seed."""
    dimension = study.config.dimension
    truth = judged_truly(unjudged(dimension, count=TEST, responses=4, test=True))
    for seed in SEEDS:
        ranker = SimulatedRanker(dimension=dimension, temperature=TEMPERATURE, seed=seed)
        config = copy.deepcopy(study.config)
        config.seed = seed
        held_out = _ranked(ranker, 2, VALIDATION, seed + 100)
        for arm in arms():
            folder = study.folder / f"{arm.responses}_{arm.prompts}_{seed}"
            model = trained_on(_ranked(ranker, arm.responses, arm.prompts, seed), config, folder, held_out)
            study.add(**arm._asdict(), seed=seed, **_counts(arm), **model.against(truth), **cost(folder / "run"))


def _ranked(ranker: SimulatedRanker, responses: int, count: int, seed: int) -> list[Preference]:
    return [ranker.judge(entry) for entry in unjudged(ranker.dimension, count=count, responses=responses, seed=seed)]


def _counts(arm: Arm) -> Row:
    return {
        "comparisons": arm.prompts * comparisons_of(arm.responses),
        "labeling_hours": arm.prompts * ranking_seconds(arm.responses) / 3600,
    }


def cost(run: epath.Path) -> Row:
    """What the steps of a run laid down and took: of the time the quickest tenth, as other programs may run too."""
    lines = [json.loads(line) for line in (run / METRICS).read_text().splitlines()]
    steps = [line for line in lines if "comparisons_per_second" in line]
    comparisons, tokens = (
        np.array([line[f"{name}_per_second"] for line in steps]) for name in ("comparisons", "tokens")
    )
    return {
        "tokens_per_comparison": float(np.median(tokens / comparisons)),
        "milliseconds_per_comparison": float(np.quantile(1000 / comparisons, 0.1)),
    }


def picture(rows: Sequence[Row]) -> bytes:
    """Accuracy by length of the rankings for either budget, and the cost of a comparison."""
    with styled():
        return png(drawn(rows))


def drawn(rows: Sequence[Row]) -> Figure:
    """The figure."""
    figure = Figure(figsize=(8.4, 3.4))
    accuracy, tokens, seconds = figure.subplots(1, 3, width_ratios=(1.7, 1, 1))
    for budget, colour in ((COMPARISONS, BLUE), (TIME, ORANGE)):
        _line(accuracy, [row for row in rows if row["budget"] == budget or row["responses"] == 2], budget, colour)
    accuracy.set_title("What do rankings teach?")
    accuracy.set_ylabel("accuracy against the true utility")
    accuracy.legend(loc="best")
    _bars(tokens, rows, "tokens_per_comparison", "Tokens laid down\nfor a comparison")
    _bars(seconds, rows, "milliseconds_per_comparison", "Milliseconds of training\nfor a comparison")
    for axes in (accuracy, tokens, seconds):
        axes.set_xlabel("responses ranked together")
    return figure


def _line(axes: Axes, rows: Sequence[Row], label: str, colour: str) -> None:
    places = [RANKED.index(row["responses"]) for row in rows]
    values = np.array([row["accuracy"] for row in rows])
    low, high = (np.array([row[f"accuracy_{bound}"] for row in rows]) for bound in ("low", "high"))
    aside = -0.04 if colour == BLUE else 0.04
    axes.errorbar(
        np.array(places) + aside, values, (values - low, high - values), fmt="o", color=colour, alpha=0.6, markersize=4
    )
    means = [values[np.array(places) == place].mean() for place in sorted(set(places))]
    axes.plot(sorted(set(places)), means, color=colour, label=label)
    axes.set_xticks(range(len(RANKED)), [str(responses) for responses in RANKED])


def _bars(axes: Axes, rows: Sequence[Row], name: str, title: str) -> None:
    """Of the runs of each K the least, which other programs disturbed least."""
    found = [min(row[name] for row in rows if row["responses"] == responses) for responses in RANKED]
    axes.bar(range(len(RANKED)), found, color=GREY)
    for place, value in enumerate(found):
        axes.annotate(f"{value:.3g}", (place, value), ha="center", va="bottom", color=INK)
    axes.set_xticks(range(len(RANKED)), [str(responses) for responses in RANKED])
    axes.set_title(title)


if __name__ == "__main__":
    run_study("kwise", measure, picture, sets=("seed",))
