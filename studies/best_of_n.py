"""Best of n by a learned reward: the true utility of what it picks as n grows, by size of the model and of its data.

The candidates are responses as those that were compared, and the same from a policy that repeats itself, as
those that were compared seldom do. See experiments/best_of_n.py.
"""

import copy
import dataclasses
import itertools
import re
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float64
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rmjax.config import ExperimentConfig
from rmjax.evaluation.best_of import best_of, best_of_divergence
from rmjax.evaluation.spread import spread
from rmjax.intervals import Estimate, paired_bootstrap
from rmjax.labeling.simulated.labeler import chance
from rmjax.models.reward import mean_of_members
from rmjax.pictures import BLUE, GREY, ORANGE, png, styled
from rmjax.preferences.record import Preference
from studies.models import Model, trained_on
from studies.study import Row, Study, numbers, run_study
from studies.testbed import judged_truly, labeler, unjudged

N = (1, 2, 4, 8, 16, 32, 64, 128, 256)
FROM = 16  # the loss of true utility is that from here to the last
WIDTHS = {16: 1, 64: 2}  # and the layers of such a model
PAIRS = (250, 1000, 4000)
SEEDS = 3  # of prompts, labels and weights: as many as these, from config.seed on
PROMPTS = 40
REPEATS = 6  # at most
VALIDATION = 500  # pairs
TEST = 500  # prompts, with four responses each
SETS = (
    "model.width", "model.mlp_width", "model.layers", "model.unroll",
    "text.max_response_tokens", "batch.row_length", "batch.rows", "data.train", "data.validation",
)  # fmt: skip
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
    dimension, seed = study.config.dimension, study.config.seed
    alike = unjudged(dimension, count=PROMPTS, responses=max(N), seed=seed, test=True, every_pair=False)
    candidates = {ALIKE: alike, REPEATING: [repeating(entry) for entry in alike]}
    utilities = np.array([entry.utilities for entry in alike])
    study.add(score=TRUTH, **curve([gains(utilities, utilities)]))
    truth = judged_truly(unjudged(dimension, count=TEST, responses=4, seed=seed, test=True))
    accuracies, found = defaultdict(list), defaultdict(list)
    for place, width, pairs in itertools.product(range(SEEDS), WIDTHS, PAIRS):
        model = _trained(study, width, pairs, seed + place)
        accuracies[width, pairs].append(model.measured(truth)["accuracy"])
        for kind, records in candidates.items():
            for score, values in scores(model, records).items():
                found[width, pairs, kind, score].append(gains(values, utilities))
    for (width, pairs, kind, score), of_seeds in found.items():
        about = {"width": width, "pairs": pairs, "candidates": kind, "score": score}
        study.add(**about, accuracy=accuracies[width, pairs], **curve(of_seeds))


def _trained(study: Study, width: int, pairs: int, seed: int) -> Model:
    return trained_on(
        judged(study.config.dimension, pairs, seed),
        configured(study.config, width, seed),
        study.folder / f"{width}_{pairs}_{seed}",
        judged(study.config.dimension, VALIDATION, seed + 100),
    )


def configured(config: ExperimentConfig, width: int, seed: int) -> ExperimentConfig:
    """The config of a model of this width, whose rows have room for candidates longer than any that were compared."""
    own = copy.deepcopy(config)
    own.seed = seed
    own.model.width, own.model.mlp_width = width, 3 * width
    own.model.layers = own.model.unroll = WIDTHS[width]
    own.text.max_response_tokens = 192
    own.batch.row_length, own.batch.rows = 512, 4  # as many tokens a step as base's
    return own


def judged(dimension: str, count: int, seed: int) -> list[Preference]:
    """Pairs of prompts of this seed, each judged by one person of this seed."""
    person = labeler(dimension, seed=seed)
    return [person.judge(entry) for entry in unjudged(dimension, count=count, seed=seed)]


def scores(model: Model, records: Sequence[Preference]) -> dict[str, Scores]:
    """The mean over members, and the pessimistic score: one spread below it."""
    members = np.stack(model.members(records))
    mean = mean_of_members(members)[:, :, 0].astype(np.float64)
    return {MEAN: mean, PESSIMISTIC: mean - spread(members)[:, :, 0]}


def gains(scores: Scores, utilities: Scores) -> Float64[np.ndarray, "prompts sizes"]:
    """What the pick among n candidates has more than their mean utility, in their standard deviations."""
    found = []
    for reward, utility in zip(scores, utilities, strict=True):
        found.append(best_of(reward, (utility - utility.mean()) / utility.std(), N))
    return np.array(found)


def curve(found: Sequence[Float[np.ndarray, "prompts sizes"]]) -> Row:
    """The mean over seeds and prompts and where it is highest, what is lost from ``FROM`` on, and both of each seed.

    Intervals are over prompts, the seeds given.
    """
    mean = np.mean(found, axis=0)
    estimates = [_mean(column) for column in mean.T]
    return {
        "gain": [one.value for one in estimates],
        "low": [one.low for one in estimates],
        "high": [one.high for one in estimates],
        "highest_at": N[int(np.argmax(mean.mean(axis=0)))],
        "lost": numbers(_lost(mean)),
        "gain_of_seeds": [one.mean(axis=0).tolist() for one in found],
        "lost_of_seeds": [numbers(_lost(one)) for one in found],
    }


def _lost(found: Float[np.ndarray, "prompts sizes"]) -> Estimate:
    return _mean(found[:, N.index(FROM)] - found[:, -1])


def _mean(values: Float64[np.ndarray, "prompts"]) -> Estimate:
    return paired_bootstrap(values[None], np.arange(len(values)), samples=2000)


def picture(rows: Sequence[Row]) -> bytes:
    """See ``figure``."""
    with styled():
        return png(figure(rows))


def figure(rows: Sequence[Row]) -> Figure:
    """A line of panels for each kind of candidates: the true utility of the pick by the divergence of best-of-n, for
    each number of pairs, where the axis says n; and then what is lost, by seed."""
    found = Figure(figsize=(11, 6))
    grid = found.subplots(2, len(PAIRS) + 1, width_ratios=[*(1 for _ in PAIRS), 1.25])
    for line, kind in zip(grid, (ALIKE, REPEATING), strict=True):
        own = [row for row in rows if row.get("candidates") == kind]
        for axes, pairs in zip(line, PAIRS, strict=False):
            _curves(axes, [row for row in rows if row["score"] == TRUTH or (row in own and row["pairs"] == pairs)])
            axes.set(title=f"{pairs} pairs", ylim=(-0.1, 2.0))
            axes.set_xticks([best_of_divergence(n) for n in N[::2]], [str(n) for n in N[::2]])
        _losses(line[-1], own)
        line[0].set_ylabel(f"candidates\n{kind}")
    grid[1, 1].set_xlabel("n, at its KL divergence; shaded: from the lowest seed to the highest")
    grid[1, -1].set_xlabel("pairs; a dot a seed, bars over prompts")
    grid[0, 2].legend(loc="lower right", fontsize=8)
    found.suptitle(
        "What is the best of n truly worth? (standard deviations above the mean candidate)", x=0.01, ha="left"
    )
    return found


def _curves(axes: Axes, rows: Sequence[Row]) -> None:
    places = [best_of_divergence(n) for n in N]
    for row in rows:
        colour, style = _look(row)
        axes.plot(places, row["gain"], style, color=colour, label=_name(row))
        low, high = (pick(row["gain_of_seeds"], axis=0) for pick in (np.min, np.max))
        axes.fill_between(places, low, high, color=colour, alpha=0.12, linewidth=0)


def _losses(axes: Axes, rows: Sequence[Row]) -> None:
    """The mean over seeds with its interval over prompts, and each seed beside it."""
    kinds = list(itertools.product(WIDTHS, (MEAN, PESSIMISTIC)))
    for row in rows:
        colour, style = _look(row)
        place = PAIRS.index(row["pairs"]) + 0.2 * (kinds.index((row["width"], row["score"])) - 1.5)
        value, low, high = row["lost"]
        filled = colour if style == "-" else "white"
        axes.plot([place, place], [low, high], style, color=colour, linewidth=1.5)
        axes.plot([place], [value], "s", color=colour, markerfacecolor=filled, markersize=5, label=_name(row))
        axes.plot([place + 0.07] * SEEDS, [one[0] for one in row["lost_of_seeds"]], ".", color=colour, markersize=4)
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.set_xticks(range(len(PAIRS)), [str(pairs) for pairs in PAIRS])
    axes.set(title=f"Lost from n = {FROM} to {max(N)}?")


def _look(row: Row) -> tuple[str, str]:
    if row["score"] == TRUTH:
        return GREY, "-"
    return dict(zip(WIDTHS, (ORANGE, BLUE), strict=True))[row["width"]], "-" if row["score"] == MEAN else "--"


def _name(row: Row) -> str:
    return f"width {row['width']}, {row['score']}" if "width" in row else row["score"]


if __name__ == "__main__":
    run_study("best_of_n", measure, picture, sets=SETS)
