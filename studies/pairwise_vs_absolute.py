"""Ratings against comparisons, by the same people: ``python -m studies.pairwise_vs_absolute``."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from absl import flags
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rmjax.labeling.simulated_crowd import simulated_crowd
from rmjax.pictures import BLUE, GREEN, GREY, ORANGE, SERIES, png, styled
from rmjax.preferences.record import Preference
from studies.models import trained_on
from studies.ratings import label_quality, rated, raters, standardized
from studies.study import Row, Study, run_study
from studies.testbed import compared_by, labeler, unjudged
from studies.truth import with_truth

# Reading at 238 words a minute (Brysbaert, 2019), 21 words of a prompt and 24 of a response, and 5 s to decide, which
# is assumed: nobody has measured it on this testbed.
RATING_SECONDS, COMPARISON_SECONDS = 16.0, 22.0
_RATING = flags.DEFINE_float("rating_seconds", RATING_SECONDS, "What rating one response takes.", lower_bound=0.1)
_COMPARISON = flags.DEFINE_float(
    "comparison_seconds", COMPARISON_SECONDS, "What comparing two responses takes.", lower_bound=0.1
)

COMPARISONS = 4000  # judgments; as many ratings are "equal count"
PEOPLE = 8
SPREADS = (0.0, 1.0, 2.0)  # points between the raters' offsets, a standard deviation
TEST_PAIRS = 2000
COMPARED, ALONE, APART = "comparison", "one rater", "two raters"
STANDARDIZED, FOUR = "two raters, standardized", "one rater, four responses"
COUNT, TIME = "equal count", "equal time"


@dataclass(frozen=True, kw_only=True)
class Case:
    """A model to be trained.

    Attributes:
      arm: who judges a prompt's two responses, and how.
      budget: COUNT or TIME; of comparisons they are the same.
      spread: of the raters; it changes nothing for people who compare.
      judgments: how many are made.
    """

    arm: str
    budget: str
    spread: float
    judgments: int

    @property
    def responses(self) -> int:
        """To a prompt."""
        return 4 if self.arm == FOUR else 2

    @property
    def prompts(self) -> int:
        """Each has one comparison, or all of its responses rated."""
        return self.judgments if self.arm == COMPARED else self.judgments // self.responses


def cases(rating_seconds: float, comparison_seconds: float) -> Iterator[Case]:
    """Every model of the study; four responses and, where raters differ, standardized ratings at equal time alone."""
    yield Case(arm=COMPARED, budget=COUNT, spread=0.0, judgments=COMPARISONS)
    in_time = round(COMPARISONS * comparison_seconds / rating_seconds)
    for spread in SPREADS:
        for arm in (ALONE, APART):
            yield Case(arm=arm, budget=COUNT, spread=spread, judgments=COMPARISONS)
            yield Case(arm=arm, budget=TIME, spread=spread, judgments=in_time)
        yield Case(arm=FOUR, budget=TIME, spread=spread, judgments=in_time)
        if spread:
            yield Case(arm=STANDARDIZED, budget=TIME, spread=spread, judgments=in_time)


def judged(case: Case, dimension: str) -> tuple[Preference, ...]:
    """What the model learns from: of two responses each, the first of the same prompts for every case."""
    pairs = unjudged(dimension, count=case.prompts, responses=case.responses)
    if case.arm == COMPARED:
        crowd = simulated_crowd(labeler(dimension, error_rate=0.0), count=PEOPLE)
        return tuple(crowd.judge(entry) for entry in pairs)
    people, alone = raters(dimension, count=PEOPLE, spread=case.spread), case.arm in (ALONE, FOUR)
    ratings = rated(people, pairs, alone=alone)
    if case.arm == STANDARDIZED:
        ratings = standardized(people, pairs, ratings, alone=alone)
    return compared_by(pairs, ratings)


def measure(study: Study) -> None:
    """A row for each model."""
    dimension = study.config.dimension
    test = with_truth(unjudged(dimension, count=TEST_PAIRS, test=True), labeler(dimension, error_rate=0.0))
    for number, case in enumerate(cases(_RATING.value, _COMPARISON.value)):
        preferences = judged(case, dimension)
        numbers = trained_on(preferences, study.config, study.folder / str(number)).measured(test)
        seconds = _COMPARISON.value if case.arm == COMPARED else _RATING.value
        study.add(
            arm=case.arm,
            budget=case.budget,
            spread=case.spread,
            judgments=case.judgments,
            prompts=case.prompts,
            pairs=sum(len(entry.comparisons) for entry in preferences),
            hours=case.judgments * seconds / 3600,
            **label_quality(preferences),
            **{name: numbers[name] for name in ("accuracy", "accuracy_low", "accuracy_high", "spearman")},
        )


VIOLET = SERIES[3]
COLOURS = {COMPARED: BLUE, ALONE: GREEN, APART: ORANGE, STANDARDIZED: GREY, FOUR: VIOLET}
PANELS = (
    ("How often is a label right?", "truly better response, ties half", "right", None),
    ("What does a model make of them?", "accuracy against true utility", "accuracy", ("accuracy_low", "accuracy_high")),
    ("And how well does it rank differences?", "Spearman with true differences", "spearman", None),
)


def picture(rows: Sequence[Row]) -> bytes:
    """Labels and models by how much the raters' scales differ."""
    with styled():
        figure = Figure(figsize=(10.6, 4.2))
        for axes, panel in zip(figure.subplots(1, len(PANELS)), PANELS, strict=True):
            _panel(axes, rows, *panel)
        handles, labels = figure.axes[1].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3)
        return png(figure)


def _panel(axes: Axes, rows: Sequence[Row], title: str, label: str, key: str, interval: tuple[str, str] | None) -> None:
    """One number; comparisons, which no scale changes, as a line across, with their interval."""
    for arm, colour in COLOURS.items():
        for budget, style in ((COUNT, (0, (4, 3))), (TIME, "solid")):
            own = [row for row in rows if (row["arm"], row["budget"]) == (arm, budget)]
            if not own:
                continue
            values = [row[key] for row in own]
            if arm == COMPARED:
                axes.axhline(values[0], color=colour, linewidth=1.5, label="comparison")
                if interval:
                    axes.axhspan(*(own[0][name] for name in interval), color=colour, alpha=0.1)
                continue
            spreads = [row["spread"] for row in own]
            axes.plot(spreads, values, "o", linestyle=style, color=colour, markersize=4, label=f"{arm}, {budget}")
            if interval:
                bounds = np.array([[row[name] for name in interval] for row in own]).T
                axes.vlines(spreads, *bounds, color=colour, alpha=0.5)
    axes.set(title=title, ylabel=label, xlabel="spread of the raters' offsets (points)", xticks=SPREADS)


if __name__ == "__main__":
    run_study("pairwise_vs_absolute", measure, picture)
