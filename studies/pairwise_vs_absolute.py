"""Ratings against comparisons, by the same people: ``python -m studies.pairwise_vs_absolute``."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rmjax.labeling.simulated.crowd import simulated_crowd
from rmjax.pictures import BLUE, GREEN, GREY, ORANGE, SERIES, png, styled
from rmjax.preferences.record import Preference
from studies.labeling_time import ranking_seconds, rating_seconds
from studies.models import trained_on
from studies.ratings import label_quality, rated, raters, standardized
from studies.study import Row, Study, run_study
from studies.testbed import compared_by, labeler, unjudged
from studies.truth import with_truth

COMPARISONS = 2000  # what the budgets are counted from: so many judgments, and the time that they take
PEOPLE = 8
SPREADS = (0.0, 1.0, 2.0)  # points between the raters' offsets, a standard deviation
SEEDS = (1, 2, 3)  # of prompts, people, labels and weights
VALIDATION = 500  # comparisons by the same people, the same for all models of a seed
TEST_PAIRS = 2000
COMPARED, ALONE, APART = "comparison", "one rater", "two raters"
STANDARDIZED, FOUR = "two raters, standardized", "one rater, four responses"
COUNT, TIME = "equal count", "equal time"
RATED_IN_ONE_GO = {ALONE: 2, APART: 1, STANDARDIZED: 1, FOUR: 4}  # responses to one prompt, by one person


@dataclass(frozen=True, kw_only=True)
class Case:
    """Judgments to be made.

    Attributes:
      arm: who judges a prompt's responses, and how.
      budget: COUNT or TIME; of comparisons they are the same.
      spread: of the raters; it changes nothing for people who compare.
    """

    arm: str
    budget: str = TIME
    spread: float = 0.0

    @property
    def responses(self) -> int:
        """To a prompt."""
        return 4 if self.arm == FOUR else 2

    @property
    def prompts(self) -> int:
        """As many as the budget pays for; each has one comparison, or all of its responses rated."""
        if self.arm == COMPARED:
            return COMPARISONS
        if self.budget == COUNT:
            return COMPARISONS // self.responses
        return int(COMPARISONS * ranking_seconds(2) / (self.responses * self.judgment_seconds))

    @property
    def judgments(self) -> int:
        return self.prompts if self.arm == COMPARED else self.prompts * self.responses

    @property
    def judgment_seconds(self) -> float:
        """What one judgment takes; two raters of a pair both have to read its prompt."""
        return ranking_seconds(2) if self.arm == COMPARED else rating_seconds(RATED_IN_ONE_GO[self.arm])

    @property
    def seconds(self) -> float:
        """What all judgments take."""
        return self.judgments * self.judgment_seconds


MODELS = {  # with the seeds of each; those that differ least have most
    Case(arm=COMPARED): SEEDS,
    Case(arm=FOUR, spread=2.0): SEEDS,
    Case(arm=ALONE, spread=2.0): SEEDS,
    Case(arm=ALONE, spread=0.0): SEEDS[:1],
    Case(arm=APART, spread=2.0): SEEDS[:1],
    Case(arm=ALONE, budget=COUNT, spread=2.0): SEEDS[:1],
    Case(arm=APART, budget=COUNT, spread=2.0): SEEDS[:1],
    Case(arm=FOUR, spread=0.0): SEEDS,
}


def labeled_only() -> Iterator[Case]:
    """Cases whose labels alone are looked at, which takes no training."""
    for spread in SPREADS:
        for arm in (ALONE, APART, STANDARDIZED):
            yield Case(arm=arm, spread=spread)


def compared(dimension: str, *, count: int, seed: int, scenes: int) -> tuple[Preference, ...]:
    """Pairs, each compared by one of the people of a seed."""
    crowd = simulated_crowd(labeler(dimension, error_rate=0.0), count=PEOPLE, seed=seed)
    return tuple(crowd.judge(entry) for entry in unjudged(dimension, count=count, seed=scenes))


def judged(case: Case, dimension: str, seed: int) -> tuple[Preference, ...]:
    """What is learned from: of two responses each, the first of the same prompts for every case of a seed."""
    if case.arm == COMPARED:
        return compared(dimension, count=case.prompts, seed=seed, scenes=seed)
    pairs = unjudged(dimension, count=case.prompts, responses=case.responses, seed=seed)
    people = raters(dimension, count=PEOPLE, spread=case.spread, seed=seed)
    alone = case.arm in (ALONE, FOUR)
    ratings = rated(people, pairs, alone=alone)
    if case.arm == STANDARDIZED:
        ratings = standardized(people, pairs, ratings, alone=alone)
    return compared_by(pairs, ratings)


def measure(study: Study) -> None:
    """Rows of labels alone, and a row for each model."""
    dimension = study.config.dimension
    for seed in SEEDS:
        for case in labeled_only():
            labels = label_quality(judged(case, dimension, seed))
            study.add(arm=case.arm, spread=case.spread, seed=seed, trained=False, **labels)
    test = with_truth(unjudged(dimension, count=TEST_PAIRS, test=True), labeler(dimension, error_rate=0.0))
    for number, (case, seeds) in enumerate(MODELS.items()):
        for seed in seeds:
            config = copy.deepcopy(study.config)
            config.seed = seed
            held_out = compared(dimension, count=VALIDATION, seed=seed, scenes=seed + 100)
            preferences = judged(case, dimension, seed)
            model = trained_on(preferences, config, study.folder / f"{number}_{seed}", held_out)
            study.add(**_made(case, preferences), seed=seed, trained=True, **model.against(test))


def _made(case: Case, preferences: Sequence[Preference]) -> Row:
    return {
        "arm": case.arm,
        "budget": case.budget,
        "spread": case.spread,
        "judgments": case.judgments,
        "prompts": case.prompts,
        "pairs": sum(len(entry.comparisons) for entry in preferences),
        "hours": case.seconds / 3600,
        **label_quality(preferences),
    }


COLOURS = {COMPARED: BLUE, ALONE: GREEN, APART: ORANGE, STANDARDIZED: GREY, FOUR: SERIES[3]}


def picture(rows: Sequence[Row]) -> bytes:
    """Labels by how much the raters' scales differ, and what models make of the labels of each case."""
    with styled():
        return png(drawn(rows))


def drawn(rows: Sequence[Row]) -> Figure:
    """The figure."""
    figure = Figure(figsize=(10.6, 3.8))
    labels, accuracy, spearman = figure.subplots(1, 3, width_ratios=(1, 1.1, 1.1))
    _labels(labels, rows)
    trained = [row for row in rows if row["trained"]]
    _models(accuracy, trained, "accuracy")
    accuracy.set(title="What does a model make of them?", xlabel="accuracy against true utility")
    _models(spearman, trained, "spearman")
    spearman.set(title="And how well does it rank differences?", xlabel="Spearman with true differences")
    spearman.tick_params(labelleft=False)
    return figure


def _labels(axes: Axes, rows: Sequence[Row]) -> None:
    """The mean over seeds, and the seeds; comparisons, which no scale changes, as a line across."""
    across = [row["right"] for row in rows if row["arm"] == COMPARED]
    axes.axhline(float(np.mean(across)), color=BLUE, label=COMPARED)
    for arm in (ALONE, APART, STANDARDIZED):
        own = [row for row in rows if row["arm"] == arm and not row["trained"]]
        spreads = sorted({row["spread"] for row in own})
        means = [float(np.mean([row["right"] for row in own if row["spread"] == spread])) for spread in spreads]
        axes.plot(spreads, means, color=COLOURS[arm], label=arm)
        axes.plot([row["spread"] for row in own], [row["right"] for row in own], "o", color=COLOURS[arm], markersize=3)
    axes.set(title="How often is a label right?", ylabel="truly better response, ties half", xticks=SPREADS)
    axes.set_xlabel("spread of the raters' offsets (points)")
    axes.legend(loc="lower left")


def _models(axes: Axes, rows: Sequence[Row], key: str) -> None:
    """A line of dots for each case, one for each seed, and their mean."""
    for place, case in enumerate(MODELS):
        own = [row[key] for row in rows if _is_of(row, case)]
        axes.plot(own, [place] * len(own), "o", color=COLOURS[case.arm], alpha=0.6, markersize=4)
        axes.plot(float(np.mean(own)), place, "|", color=COLOURS[case.arm], markersize=14, label=_name(case))
    axes.set_yticks(range(len(MODELS)), [_name(case) for case in MODELS])
    axes.invert_yaxis()


def _is_of(row: Row, case: Case) -> bool:
    return (row["arm"], row["budget"], row["spread"]) == (case.arm, case.budget, case.spread)


def _name(case: Case) -> str:
    if case.arm == COMPARED:
        return COMPARED
    return f"{case.arm},\n{case.budget}, spread {case.spread:.0f}"


if __name__ == "__main__":
    run_study("pairwise_vs_absolute", measure, picture, sets=("seed",))
