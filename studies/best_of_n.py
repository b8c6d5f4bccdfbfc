"""Best of n by a learned reward: the true utility of what it picks as n grows, by size of the model and of its data.

The candidates are responses as those that were compared, and the same from a policy that repeats itself, as
those that were compared seldom do. See experiments/best_of_n.py.
"""

import copy
import dataclasses
import itertools
import re
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float64
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rmjax.config import ExperimentConfig
from rmjax.evaluation.best_of import best_of, best_of_divergence
from rmjax.evaluation.spread import spread
from rmjax.intervals import Estimate, paired_bootstrap
from rmjax.labeling.simulated import chance
from rmjax.models.reward import mean_of_members
from rmjax.pictures import BLUE, GREY, ORANGE, png, styled
from rmjax.preferences.record import Preference
from studies.models import Model, trained_on
from studies.study import Row, Study, numbers, run_study
from studies.testbed import judged_truly, labeler, unjudged

N = (1, 2, 4, 8, 16, 32, 64, 128, 256)
FROM = 16  # the loss of true utility is that from here to the last
WIDTHS = {16: 1, 64: 2}  # and the layers of such a model
PAIRS = (400, 1600, 6400)
SEEDS = (1, 2)  # of prompts, labels and weights
PROMPTS = 60
REPEATS = 6  # at most
VALIDATION = 500  # pairs
TEST = 1000  # prompts, with four responses each
ALIKE, REPEATING = "like the compared responses", "from a policy that repeats itself"
MEAN, PESSIMISTIC, TRUTH = "mean", "pessimistic", "true utility"

Scores = Float64[np.ndarray, "prompts candidates"]


def repeating(preference: Preference) -> Preference:
    """The same responses, each followed by one of its sentences, said again up to ``REPEATS`` times; drawn from the
    texts alone. What is said again counts for nothing, so the true utilities are the same."""
    responses = []
    for response in preference.responses:
        assert isinstance(response, str)
        rng = chance("repeating", preference.prompt, response)
        said = re.split(r"(?<=[.?!]) ", response.strip())
        responses.append(response + f" {said[rng.integers(len(said))]}" * int(rng.integers(REPEATS + 1)))
    return dataclasses.replace(preference, responses=tuple(responses))


def measure(study: Study) -> None:
    """Trains models of each size on each number of pairs, and has each pick among the candidates."""
    dimension = study.config.dimension
    alike = unjudged(dimension, count=PROMPTS, responses=max(N), seed=1, test=True, every_pair=False)
    candidates = {ALIKE: alike, REPEATING: [repeating(entry) for entry in alike]}
    utilities = np.array([entry.utilities for entry in alike])
    study.add(score=TRUTH, **curve(gains(utilities, utilities)))
    truth = judged_truly(unjudged(dimension, count=TEST, responses=4, test=True))
    for width, pairs in itertools.product(WIDTHS, PAIRS):
        models = [_trained(study, width, pairs, seed) for seed in SEEDS]
        accuracy = [model.measured(truth)["accuracy"] for model in models]
        for kind, records in candidates.items():
            scores = [_scores(model, records) for model in models]
            for score in (MEAN, PESSIMISTIC):
                found = np.mean([gains(one[score], utilities) for one in scores], axis=0)
                about = {"width": width, "pairs": pairs, "candidates": kind, "score": score, "accuracy": accuracy}
                study.add(**about, **curve(found))


def _trained(study: Study, width: int, pairs: int, seed: int) -> Model:
    config: ExperimentConfig = copy.deepcopy(study.config)
    config.seed = seed
    config.model.width, config.model.mlp_width = width, 3 * width
    config.model.layers = config.model.unroll = WIDTHS[width]
    return trained_on(
        _judged(config.dimension, pairs, seed),
        config,
        study.folder / f"{width}_{pairs}_{seed}",
        _judged(config.dimension, VALIDATION, seed + 100),
    )


def _judged(dimension: str, count: int, seed: int) -> list[Preference]:
    person = dataclasses.replace(labeler(dimension), seed=seed)
    return [person.judge(entry) for entry in unjudged(dimension, count=count, seed=seed)]


def _scores(model: Model, records: Sequence[Preference]) -> dict[str, Scores]:
    members = np.stack(model.members(records))
    mean = mean_of_members(members)[:, :, 0].astype(np.float64)
    return {MEAN: mean, PESSIMISTIC: mean - spread(members)[:, :, 0]}


def gains(scores: Scores, utilities: Scores) -> Float64[np.ndarray, "prompts sizes"]:
    """What the pick among n candidates has more than their mean utility, in their standard deviations."""
    found = []
    for reward, utility in zip(scores, utilities, strict=True):
        found.append(best_of(reward, (utility - utility.mean()) / utility.std(), N))
    return np.array(found)


def curve(found: Float[np.ndarray, "prompts sizes"]) -> Row:
    """The mean over prompts, where it is highest, and what is lost from ``FROM`` on, with intervals over prompts."""
    estimates = [_mean(column) for column in found.T]
    lost = _mean(found[:, N.index(FROM)] - found[:, -1])
    return {
        "gain": [one.value for one in estimates],
        "low": [one.low for one in estimates],
        "high": [one.high for one in estimates],
        "highest_at": N[int(np.argmax(found.mean(axis=0)))],
        "lost": numbers(lost),
    }


def _mean(values: Float64[np.ndarray, "prompts"]) -> Estimate:
    return paired_bootstrap(values[None], np.arange(len(values)), samples=2000)


def picture(rows: Sequence[Row]) -> bytes:
    """The true utility of the pick by the divergence of best-of-n: a row for each kind of candidates, a column for each
    number of pairs; the axis says n."""
    with styled():
        figure = Figure(figsize=(8.4, 5.6))
        grid = figure.subplots(2, len(PAIRS), sharex=True, sharey=True)
        for (place, kind), (column, pairs) in itertools.product(enumerate((ALIKE, REPEATING)), enumerate(PAIRS)):
            axes = grid[place, column]
            _draw(axes, [row for row in rows if row["score"] == TRUTH], GREY, "-")
            for (width, colour), (score, style) in itertools.product(
                zip(WIDTHS, (ORANGE, BLUE), strict=True), ((MEAN, "-"), (PESSIMISTIC, "--"))
            ):
                about = {"width": width, "pairs": pairs, "candidates": kind, "score": score}
                _draw(axes, [row for row in rows if about.items() <= row.items()], colour, style)
            axes.set_title(f"{pairs} pairs")
            axes.set_xticks([best_of_divergence(n) for n in N[::2]], [str(n) for n in N[::2]])
        for axes, kind in zip(grid[:, 0], (ALIKE, REPEATING), strict=True):
            axes.set_ylabel(f"candidates\n{kind}")
        grid[1, 1].set_xlabel("n, at its KL divergence")
        grid[0, 2].legend(loc="lower right", fontsize=8)
        figure.suptitle(
            "What is the best of n truly worth? (standard deviations above the mean candidate)", x=0.01, ha="left"
        )
        return png(figure)


def _draw(axes: Axes, rows: Sequence[Row], colour: str, style: str) -> None:
    for row in rows:
        label = f"width {row['width']}, {row['score']}" if "width" in row else row["score"]
        places = [best_of_divergence(n) for n in N]
        axes.plot(places, row["gain"], style, color=colour, label=label)
        axes.fill_between(places, row["low"], row["high"], color=colour, alpha=0.12, linewidth=0)


if __name__ == "__main__":
    run_study("best_of_n", measure, picture)
