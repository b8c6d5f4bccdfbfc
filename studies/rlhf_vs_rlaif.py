"""The same pairs judged by people and by a judge with biases, and what the models learn from each.

The question, the command and the answer are in experiments/rlhf_vs_rlaif.py; studies/alpaca_eval.py has the half on
AlpacaEval's judge.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from absl import flags, logging
from jaxtyping import Float64, Int64
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rmjax.intervals import Estimate, bootstrap, wilson_interval
from rmjax.labeling.biases import first_preferred
from rmjax.labeling.judgments import tabulate
from rmjax.labeling.rule import characters
from rmjax.labeling.simulated import Order, chance
from rmjax.pictures import BLUE, GREEN, GREY, ORANGE, png, styled
from rmjax.preferences.record import Comparison, Preference, Side
from studies.alpaca_eval import JUDGE, MODEL, measure_alpaca_eval
from studies.models import trained_on
from studies.study import Row, Study, numbers, run_study
from studies.testbed import labeler, unjudged

TRAIN_PROMPTS, TEST_PROMPTS, TEST_RESPONSES = 12_000, 1500, 4
POSITION_BIAS = 2.0  # logits: of two responses that are as good the first is preferred in 88 %
LENGTH_BIAS = 0.01  # units of utility for a character: a hundred are worth nearly what a caution is
SIMULATED = "simulated"


def by_chance(preference: Preference, comparison: Comparison) -> tuple[Side, ...]:
    """One of the two, by a coin."""
    rng = chance("order", preference.prompt, preference.responses, comparison.left, comparison.right)
    return ((Side.LEFT, Side.RIGHT)[rng.integers(2)],)


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


WAYS = (
    Way(name="people", position_bias=0.0, length_bias=0.0, order=by_chance),
    Way(name="position bias, random order", position_bias=POSITION_BIAS, length_bias=0.0, order=by_chance),
    Way(name="position bias, the longer first", position_bias=POSITION_BIAS, length_bias=0.0, order=longer_first),
    Way(name="position bias, both orders", position_bias=POSITION_BIAS, length_bias=0.0, order=both),
    Way(name="both biases, random order", position_bias=POSITION_BIAS, length_bias=LENGTH_BIAS, order=by_chance),
    Way(name="both biases, both orders", position_bias=POSITION_BIAS, length_bias=LENGTH_BIAS, order=both),
)


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Differences of all pairs of responses: of utility, of length in characters, and what else is asked of them."""

    utility: Float64[np.ndarray, "pairs"]
    length: Float64[np.ndarray, "pairs"]
    judged: Float64[np.ndarray, "pairs"]
    prompt: Int64[np.ndarray, "pairs"]

    def accuracy(self) -> Estimate:
        """How often the better of two is preferred, where one is better."""
        return self._agreement(self.utility, np.abs(self.utility) > 1e-9)

    def longer(self) -> Estimate:
        """How often the longer of two is preferred that are as good."""
        return self._agreement(self.length, (np.abs(self.utility) <= 1e-9) & (self.length != 0))

    def _agreement(self, wanted: Float64[np.ndarray, "pairs"], kept: np.ndarray) -> Estimate:
        agreed = 0.5 + 0.5 * np.sign(self.judged * wanted)[kept]
        return wilson_interval(agreed, self.prompt[kept])

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


def measure(study: Study) -> None:
    """What is learned from each way of judging, and what AlpacaEval's judge prefers."""
    dimension = study.config.dimension
    scenes = unjudged(dimension, count=TRAIN_PROMPTS)
    test = unjudged(dimension, count=TEST_PROMPTS, responses=TEST_RESPONSES, test=True)
    for way in WAYS:
        judge = replace(labeler(dimension), position_bias=way.position_bias, length_bias=way.length_bias)
        preferences = [judge.judge(scene, way.order) for scene in scenes]
        labels = labels_of(preferences)
        first = first_preferred(tabulate(preferences)[dimension]).estimate
        model = trained_on(preferences, study.config, study.folder / way.name.replace(" ", "_").replace(",", ""))
        found = pairs_of(test, [rewards[:, 0] for rewards in model.rewards(test)])
        study.add(
            kind=SIMULATED, name=way.name, planted=100 * way.length_bias, first_preferred=numbers(first),
            label_accuracy=numbers(labels.accuracy()), label_longer=numbers(labels.longer()),
            accuracy=numbers(found.accuracy()), longer=numbers(found.longer()), worth=numbers(found.worth()),
        )  # fmt: skip
    if flags.FLAGS.alpaca_eval is None:
        logging.info("AlpacaEval is left out; --alpaca_eval=FOLDER names one with GENERATOR/annotations.json.gz")
    else:
        measure_alpaca_eval(study, flags.FLAGS.alpaca_eval)


def picture(rows: Sequence[Row]) -> bytes:
    """What labels and models say of simulated judges, and of AlpacaEval's judge where that was measured."""
    simulated, rivals, learned = ([row for row in rows if row["kind"] == kind] for kind in (SIMULATED, JUDGE, MODEL))
    with styled():
        lines = 2 if rivals else 1
        figure = Figure(figsize=(10.5, 3.6 * lines))
        grid = figure.subplots(lines, 2, squeeze=False)
        names = [row["name"] for row in simulated]
        _points(
            grid[0, 0], names, {"judgments": (simulated, "label_accuracy"), "model": (simulated, "accuracy")},
            "How often is the truly better one preferred?",
        )  # fmt: skip
        _points(
            grid[0, 1], names, {"judgments": (simulated, "label_longer"), "model": (simulated, "longer")},
            "Of two that are as good: the longer one?",
        )  # fmt: skip
        grid[0, 1].axvline(0.5, color=GREY, linewidth=1, linestyle=(0, (4, 3)))
        grid[0, 1].tick_params(labelleft=False)
        if rivals:
            rivals = sorted(rivals, key=lambda row: row["raw"][0])
            _points(
                grid[1, 0], [row["name"] for row in rivals],
                {"as judged": (rivals, "raw"), "at equal length": (rivals, "controlled")},
                "AlpacaEval: who wins how often against GPT-4?",
            )  # fmt: skip
            _points(
                grid[1, 1], [row["name"] for row in learned],
                {"agrees with the judge": (learned, "accuracy"), "length-controlled": (learned, "controlled"),
                 "prefers the longer": (learned, "longer")},
                "What does a model learn from AlpacaEval's judge?",
            )  # fmt: skip
            grid[1, 1].axvline(0.5, color=GREY, linewidth=1, linestyle=(0, (4, 3)))
        return png(figure)


def _points(axes: Axes, names: Sequence[str], series: dict[str, tuple[Sequence[Row], str]], title: str) -> None:
    """A line for each name, from top to bottom, with a point and its interval for each series."""
    for number, ((label, (rows, field)), colour) in enumerate(zip(series.items(), (ORANGE, BLUE, GREEN), strict=False)):
        values, low, high = np.array([row[field] for row in rows], np.float64).T
        places = np.arange(len(rows)) + 0.16 * (number - (len(series) - 1) / 2)
        axes.hlines(places, low, high, color=colour, linewidth=1.6)
        axes.plot(values, places, "o", color=colour, markersize=5, label=label)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_title(title)
    axes.legend(loc="best")


if __name__ == "__main__":
    flags.DEFINE_string("alpaca_eval", None, "Also on AlpacaEval: a folder with GENERATOR/annotations.json.gz.")
    run_study("rlhf_vs_rlaif", measure, picture)
