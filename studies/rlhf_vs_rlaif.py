"""The same pairs judged by people and by a judge with biases, and what the models learn from each.

The question, the command and the answer are in experiments/rlhf_vs_rlaif.py; studies/alpaca_eval.py has the half on
AlpacaEval's judge.
"""

import copy
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from absl import flags, logging
from etils import epath
from jaxtyping import Float64, Int64
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rmjax.intervals import Estimate, bootstrap, paired_bootstrap, wilson_interval
from rmjax.labeling.report.biases import first_preferred
from rmjax.labeling.report.judgments import tabulate
from rmjax.labeling.rule import characters
from rmjax.labeling.simulated.labeler import Order, SimulatedLabeler, chance
from rmjax.pictures import BLUE, GREEN, GREY, ORANGE, png, styled
from rmjax.preferences.record import Comparison, Preference, Side
from studies.alpaca_eval import JUDGE, MODEL, measure_alpaca_eval
from studies.models import trained_on
from studies.study import Row, Study, numbers, run_study
from studies.testbed import labeler, unjudged

TRAIN_PROMPTS, TEST_PROMPTS, TEST_RESPONSES = 6000, 1500, 4
SEEDS = (1, 2)  # of prompts, judgments and weights
POSITION_BIAS = 2.0  # logits: of two responses that are as good the first is preferred in 87 %
LENGTH_BIAS = 0.01  # units of utility for a character: a hundred are worth nearly what a caution is
SIMULATED, ALL_SEEDS, GAP = "simulated", "simulated, all seeds", "a way against another"


def by_chance(preference: Preference, comparison: Comparison) -> tuple[Side, ...]:
    """One of the two, by a coin."""
    return _coins(preference, comparison, 1)


def twice_by_chance(preference: Preference, comparison: Comparison) -> tuple[Side, ...]:
    """Asked twice, and each time by a coin of its own: as many judgments as ``both`` has, which know nothing of each
    other's order."""
    return _coins(preference, comparison, 2)


def _coins(preference: Preference, comparison: Comparison, count: int) -> tuple[Side, ...]:
    rng = chance("order", preference.prompt, preference.responses, comparison.left, comparison.right)
    return tuple((Side.LEFT, Side.RIGHT)[coin] for coin in rng.integers(2, size=count))


def longer_first(preference: Preference, comparison: Comparison) -> tuple[Side, ...]:
    """Always the longer one; left of two that are as long."""
    left, right = (characters(preference.responses[place]) for place in (comparison.left, comparison.right))
    return (Side.LEFT if left >= right else Side.RIGHT,)


def both(preference: Preference, comparison: Comparison) -> tuple[Side, ...]:
    """One after the other."""
    return (Side.LEFT, Side.RIGHT)


@dataclass(frozen=True, kw_only=True)
class Way:
    """Who judges, and in which orders."""

    name: str
    position_bias: float
    length_bias: float
    order: Order

    @property
    def folder(self) -> str:
        """The name as that of a folder."""
        return self.name.replace(" ", "_").replace(",", "")


PEOPLE = Way(name="people", position_bias=0.0, length_bias=0.0, order=by_chance)
ONCE = Way(name="position bias, random order", position_bias=POSITION_BIAS, length_bias=0.0, order=by_chance)
TWICE = replace(ONCE, name="position bias, random order, asked twice", order=twice_by_chance)
LONGER_FIRST = replace(ONCE, name="position bias, the longer first", order=longer_first)
BOTH_ORDERS = replace(ONCE, name="position bias, both orders", order=both)
LENGTH_ONCE = replace(ONCE, name="both biases, random order", length_bias=LENGTH_BIAS)
LENGTH_BOTH_ORDERS = replace(BOTH_ORDERS, name="both biases, both orders", length_bias=LENGTH_BIAS)
WAYS = (PEOPLE, ONCE, TWICE, BOTH_ORDERS, LONGER_FIRST, LENGTH_ONCE, LENGTH_BOTH_ORDERS)
COMPARED = ((ONCE, PEOPLE), (TWICE, ONCE), (BOTH_ORDERS, ONCE), (BOTH_ORDERS, TWICE), (LONGER_FIRST, ONCE))


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Differences of all pairs of responses: of utility, of length in characters, and what else is asked of them."""

    utility: Float64[np.ndarray, "pairs"]
    length: Float64[np.ndarray, "pairs"]
    judged: Float64[np.ndarray, "pairs"]
    prompt: Int64[np.ndarray, "pairs"]

    def accuracy(self) -> Estimate:
        """How often the better of two is preferred, where one is better."""
        return wilson_interval(*self.rightness())

    def rightness(self) -> tuple[Float64[np.ndarray, "better"], Int64[np.ndarray, "better"]]:
        """Of each pair of which one is better, whether it is preferred, and the prompt."""
        return self._agreement(self.utility, np.abs(self.utility) > 1e-9)

    def longer(self) -> Estimate:
        """How often the longer of two is preferred that are as good."""
        return wilson_interval(*self._agreement(self.length, (np.abs(self.utility) <= 1e-9) & (self.length != 0)))

    def _agreement(
        self, wanted: Float64[np.ndarray, "pairs"], kept: np.ndarray
    ) -> tuple[Float64[np.ndarray, "kept"], Int64[np.ndarray, "kept"]]:
        return 0.5 + 0.5 * np.sign(self.judged * wanted)[kept], self.prompt[kept]

    def worth(self) -> Estimate:
        """What a hundred characters are worth in units of utility, by least squares of ``judged`` on both differences.

        It is the ratio of the two slopes, so the scale of rewards doesn't matter.
        """
        u, c, r = self.utility, self.length / 100, self.judged
        sums = np.stack([u * u, u * c, c * c, u * r, c * r], axis=1)
        return bootstrap(sums, self.prompt, _ratio_of_slopes)


def _ratio_of_slopes(sums: Float64[np.ndarray, "samples 5"]) -> Float64[np.ndarray, "samples"]:
    uu, uc, cc, ur, cr = sums.T
    return (uu * cr - uc * ur) / (cc * ur - uc * cr)


def pairs_of(preferences: Sequence[Preference], values: Sequence[np.ndarray]) -> Pairs:
    """All pairs of the responses to each prompt; ``values`` has a number for each response."""
    found = []
    for number, (preference, value) in enumerate(zip(preferences, values, strict=True)):
        lengths = [characters(response) for response in preference.responses]
        utilities = preference.utilities
        assert utilities is not None, "the testbed knows them"
        for a, b in itertools.combinations(range(len(lengths)), 2):
            found.append((utilities[a] - utilities[b], lengths[a] - lengths[b], value[a] - value[b], number))
    columns = np.array(found, np.float64).T
    return Pairs(utility=columns[0], length=columns[1], judged=columns[2], prompt=columns[3].astype(np.int64))


def labels_of(preferences: Sequence[Preference]) -> Pairs:
    """The judgments that are trained on, those of one pair as their mean."""
    values = []
    for preference in preferences:
        mean = np.mean([comparison.probability for comparison in preference.comparisons])
        values.append(np.array([mean, 1 - mean]))
    return pairs_of(preferences, values)


def measure(study: Study, alpaca_eval: epath.PathLike | None = None) -> None:
    """What is learned from each way of judging; and, where its folder is given, what AlpacaEval's judge prefers."""
    dimension = study.config.dimension
    test = unjudged(dimension, count=TEST_PROMPTS, responses=TEST_RESPONSES, test=True)
    right: dict[str, list[np.ndarray]] = {way.name: [] for way in WAYS}
    for seed in SEEDS:
        config = copy.deepcopy(study.config)
        config.seed = seed
        scenes = unjudged(dimension, count=TRAIN_PROMPTS, seed=seed)
        for way in WAYS:
            judge = judge_of(way, dimension, seed)
            preferences = [judge.judge(scene, way.order) for scene in scenes]
            model = trained_on(preferences, config, study.folder / f"{way.folder}_{seed}")
            found = pairs_of(test, [rewards[:, 0] for rewards in model.rewards(test)])
            right[way.name].append(found.rightness()[0])
            study.add(kind=SIMULATED, seed=seed, **_row(way, preferences, found))
    for row in over_seeds(right, pairs_of(test, [np.zeros(TEST_RESPONSES)] * len(test)).rightness()[1]):
        study.add(**row)
    if alpaca_eval is None:
        logging.info("AlpacaEval is left out; --alpaca_eval=FOLDER names one with GENERATOR/annotations.json.gz")
    else:
        measure_alpaca_eval(study, alpaca_eval, SEEDS)


def judge_of(way: Way, dimension: str, seed: int) -> SimulatedLabeler:
    """Who judges so."""
    judge = labeler(dimension, seed=seed)
    return replace(judge, position_bias=way.position_bias, length_bias=way.length_bias)


def _row(way: Way, preferences: Sequence[Preference], found: Pairs) -> Row:
    labels = labels_of(preferences)
    return {
        "name": way.name,
        "planted": 100 * way.length_bias,
        "first_preferred": numbers(first_preferred(tabulate(preferences)[preferences[0].dimension]).estimate),
        "label_accuracy": numbers(labels.accuracy()),
        "label_longer": numbers(labels.longer()),
        "accuracy": numbers(found.accuracy()),
        "longer": numbers(found.longer()),
        "worth": numbers(found.worth()),
    }


def over_seeds(
    right: Mapping[str, Sequence[Float64[np.ndarray, "pairs"]]], prompt: Int64[np.ndarray, "pairs"]
) -> Iterator[Row]:
    """The mean accuracy of each way, and of some ways what it is above another's; the intervals are over prompts.

    How much seeds differ those can't know; ``gaps`` has the difference of each.
    """
    for name, own in right.items():
        yield {"kind": ALL_SEEDS, "name": name, "accuracy": numbers(paired_bootstrap(np.array(own), prompt))}
    for way, other in COMPARED:
        above = np.array(right[way.name]) - np.array(right[other.name])
        gap = numbers(paired_bootstrap(above, prompt))
        yield {"kind": GAP, "name": way.name, "above": other.name, "gap": gap, "gaps": above.mean(axis=1).tolist()}


def picture(rows: Sequence[Row]) -> bytes:
    """The figure, as PNG."""
    with styled():
        return png(drawn(rows))


def drawn(rows: Sequence[Row]) -> Figure:
    """What labels and models say of simulated judges, and of AlpacaEval's judge where that was measured."""
    simulated, rivals, learned = ([row for row in rows if row["kind"] == kind] for kind in (SIMULATED, JUDGE, MODEL))
    lines = 2 if rivals else 1
    figure = Figure(figsize=(10.5, 4.0 * lines))
    grid = figure.subplots(lines, 2, squeeze=False)
    _points(
        grid[0, 0], simulated, {"judgments": "label_accuracy", "model": "accuracy"},
        "How often is the truly better one preferred?",
    )  # fmt: skip
    _points(
        grid[0, 1], simulated, {"judgments": "label_longer", "model": "longer"},
        "Of two that are as good: the longer one?",
    )  # fmt: skip
    grid[0, 1].tick_params(labelleft=False)
    if rivals:
        _points(
            grid[1, 0], sorted(rivals, key=lambda row: row["raw"][0]),
            {"as judged": "raw", "at equal length": "controlled"}, "AlpacaEval: who wins how often against GPT-4?",
        )  # fmt: skip
        _points(
            grid[1, 1], learned,
            {"right by what the judge implies": "accuracy", "the same, length-controlled": "controlled",
             "prefers the longer": "longer"}, "What does that judge teach a model?",
        )  # fmt: skip
    for axes in (grid[0, 1], *([grid[1, 1]] if rivals else [])):
        axes.axvline(0.5, color=GREY, linewidth=1, linestyle=(0, (4, 3)))
    return figure


def _points(axes: Axes, rows: Sequence[Row], series: Mapping[str, str], title: str) -> None:
    """A line for each name, from top to bottom, with a point and its interval for each row and each series it has."""
    names = list(dict.fromkeys(row["name"] for row in rows))
    for number, ((label, field), colour) in enumerate(zip(series.items(), (ORANGE, BLUE, GREEN), strict=False)):
        own = [row for row in rows if field in row]
        values, low, high = np.array([row[field] for row in own], np.float64).T
        places = np.array([names.index(row["name"]) for row in own]) + 0.22 * (number - (len(series) - 1) / 2)
        seeds = [[entry["name"] for entry in own[:place]].count(row["name"]) for place, row in enumerate(own)]
        places += 0.07 * np.array(seeds)
        axes.hlines(places, low, high, color=colour, linewidth=1.2)
        axes.plot(values, places, "o", color=colour, markersize=3.5, label=label)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_title(title)
    axes.legend(loc="best")


if __name__ == "__main__":
    folder = flags.DEFINE_string(
        "alpaca_eval", None, "Also on AlpacaEval: a folder with GENERATOR/annotations.json.gz."
    )
    run_study("rlhf_vs_rlaif", lambda study: measure(study, folder.value), picture, sets=("seed",))
