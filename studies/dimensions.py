"""The cross-dimension matrix, from a model for each dimension and from one with a head for each, and mixtures.

The question, the command and the answer are in experiments/dimensions.py. Its flags are of the testbed's models. Those
of HH are hh_study_base's, which only ``--config.seed``, ``--config.data.data_dir`` and ``--config.data.manual_dir``
reach.
"""

import copy
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from absl import flags
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments import hh_study_base
from rmjax.config import ExperimentConfig
from rmjax.datasets.open import open_preferences
from rmjax.evaluation.measure import measure as measured
from rmjax.evaluation.measure import whole_pairs
from rmjax.intervals import Estimate
from rmjax.labeling.rule import characters
from rmjax.labeling.simulated.labeler import chance
from rmjax.pictures import BLUE, GREY, INK, ORANGE, png, styled
from rmjax.preferences.record import Preference
from studies.models import Model, trained_on
from studies.study import Row, Study, run_study
from studies.testbed import labeler, unjudged

DIMENSIONS = ("helpfulness", "harmlessness", "brevity")
MIXED = ("helpfulness", "harmlessness")
TRAIN_PROMPTS, TEST_PROMPTS = 5800, 2000  # of the testbed: what 250 steps read once, and a validation part
HH_PAIRS, HH_TEST = 1600, 340  # of a dimension, at most
LONGEST = 1200  # characters of an HH response; hh_study_base's limit of tokens is beyond that
ALONE, MIXTURE, LONGER = "a model each", "mixture", "the longer wins"
HEADS = "a head each, thrice the rows"  # so that a head has as many comparisons in a step as a model of its own
SETS = ("dimension", "model.reward_heads", "data.train", "data.validation")
_HH = {
    "helpfulness": "hh_rlhf/helpful-base:{}",
    "harmlessness": "hh_rlhf/harmless-base:{}",
    "brevity": "hh_rlhf/helpful-base:{}@brevity",
}


@dataclass(frozen=True, kw_only=True)
class World:
    """Judgments of each dimension, to train on and to test on, and how a model of one dimension is trained.

    ``shares`` are those of helpfulness in the mixtures; at 0 and 1 these are the models of one dimension.
    """

    name: str
    config: ExperimentConfig
    train: Mapping[str, tuple[Preference, ...]]
    test: Mapping[str, tuple[Preference, ...]]
    shares: tuple[float, ...]


def synthetic(config: ExperimentConfig) -> World:
    """The same prompts and responses, judged on each dimension; the seed is theirs too."""
    train, test = (
        {
            dimension: tuple(
                labeler(dimension, seed=config.seed).judge(record)
                for record in unjudged(dimension, count=count, seed=config.seed, test=held_out)
            )
            for dimension in DIMENSIONS
        }
        for count, held_out in ((TRAIN_PROMPTS, False), (TEST_PROMPTS, True))
    )
    return World(name="testbed", config=config, train=train, test=test, shares=(0.0, 0.25, 0.5, 0.75, 1.0))


def hh(asked: ExperimentConfig) -> World:
    """HH's pairs: people who sought help judged helpfulness, people who tried to draw out harm judged harmlessness.

    Brevity is a rule's judgment of the former's. Of ``asked`` the seed and the folders of data are taken, the rest is
    hh_study_base. The seed draws the validation part and the weights.
    """
    config = hh_study_base.get_config()
    config.seed = asked.seed
    config.data.data_dir, config.data.manual_dir = asked.data.data_dir, asked.data.manual_dir
    train, test = (
        {dimension: capped(_opened(spec.format(split), dimension, config), count) for dimension, spec in _HH.items()}
        for split, count in (("train", HH_PAIRS), ("test", HH_TEST))
    )
    return World(name="HH", config=config, train=train, test=test, shares=(0.0, 0.5, 1.0))


def _opened(spec: str, dimension: str, config: ExperimentConfig) -> tuple[Preference, ...]:
    found = open_preferences(spec, config.data, dimension=dimension)
    return tuple(pair for pair in found if all(characters(response) <= LONGEST for response in pair.responses))


def capped(pairs: Sequence[Preference], count: int) -> tuple[Preference, ...]:
    """Those ``count`` pairs whose prompts have the lowest hashes, in that order: the same whatever the file's order,
    whatever their judgments, and the same again of fewer or more."""
    return tuple(sorted(pairs, key=lambda pair: chance("dimensions", pair.prompt).random())[:count])


def mixed(train: Mapping[str, Sequence[Preference]], share: float) -> tuple[Preference, ...]:
    """Pairs of both dimensions, as many as there are of one, that share of them of helpfulness.

    Those of harmlessness are the last ones: where both dimensions have the same prompts, none comes twice.
    """
    helpful, harmless = (train[dimension] for dimension in MIXED)
    count = min(len(helpful), len(harmless))
    cut = round(share * count)
    return (*helpful[:cut], *harmless[len(harmless) - (count - cut) :])


def accuracy(rewards: Sequence[np.ndarray], preferences: Sequence[Preference], head: int = 0) -> Estimate:
    """What ``rmjax.evaluate --head`` would say of these rewards of the responses of each record."""
    found = measured(np.concatenate(rewards), whole_pairs(preferences).on_head(head)).numbers
    return Estimate(value=found["accuracy"], low=found["accuracy_low"], high=found["accuracy_high"])


class Remembering:
    """A model that computes the rewards of the same texts once, however often it is asked and whatever is judged."""

    def __init__(self, model: Model):
        self._model = model
        self._found: dict[object, list[np.ndarray]] = {}

    def rewards(self, preferences: Sequence[Preference]) -> list[np.ndarray]:
        """As ``Model.rewards``."""
        texts = tuple((entry.prompt, entry.responses) for entry in preferences)
        if texts not in self._found:
            self._found[texts] = self._model.rewards(preferences)
        return self._found[texts]


def measure(study: Study, *, with_hh: bool) -> None:
    """The matrix and the mixtures, of the testbed and of HH."""
    found = [synthetic(study.config), *([hh(study.config)] if with_hh else [])]
    for world in found:
        _baseline(study, world)
        alone = {name: _trained(study, world, f"only_{name}", world.train[name]) for name in DIMENSIONS}
        for name, model in alone.items():
            _row(study, world, model, kind=ALONE, trained=name)
        for share in world.shares:
            model = {0.0: alone[MIXED[1]], 1.0: alone[MIXED[0]]}.get(share)
            model = model or _trained(study, world, f"mixture_{share}", mixed(world.train, share))
            _row(study, world, model, kind=MIXTURE, trained=f"{share:.0%} helpfulness", share=share, tested=MIXED)
    for world in found:
        together = tuple(itertools.chain.from_iterable(world.train.values()))
        heads = _trained(study, world, "heads", together, heads=True)
        for number, name in enumerate(DIMENSIONS):
            _row(study, world, heads, kind=HEADS, trained=name, head=number)


def _trained(
    study: Study, world: World, name: str, preferences: Sequence[Preference], *, heads: bool = False
) -> Remembering:
    config = configured(world.config, heads=heads)
    return Remembering(trained_on(preferences, config, study.folder / world.name / f"{config.seed}_{name}"))


def configured(config: ExperimentConfig, *, heads: bool) -> ExperimentConfig:
    """The config of a model with one head, or with one for each dimension and as many times the rows."""
    own = copy.deepcopy(config)
    if heads:
        own.model.reward_heads = DIMENSIONS
        own.batch.rows *= len(DIMENSIONS)
    return own


def _row(
    study: Study, world: World, model: Remembering, *, head: int = 0, tested: Sequence[str] = DIMENSIONS, **said: object
) -> None:
    for dimension in tested:
        found = accuracy(model.rewards(world.test[dimension]), world.test[dimension], head)
        study.add(world=world.name, tested=dimension, **said, **_numbers(found))


def _baseline(study: Study, world: World) -> None:
    for dimension, preferences in world.test.items():
        lengths = [np.array([[float(characters(text))] for text in preference.responses]) for preference in preferences]
        found = accuracy(lengths, preferences)
        study.add(world=world.name, tested=dimension, kind=LONGER, trained=LONGER, **_numbers(found))


def _numbers(found: Estimate) -> dict[str, float]:
    return {"accuracy": found.value, "low": found.low, "high": found.high}


def picture(rows: Sequence[Row]) -> bytes:
    """See ``figure``."""
    with styled():
        return png(figure(rows))


def figure(rows: Sequence[Row]) -> Figure:
    """For each world the matrices, beside the first what length alone has, and both accuracies by what a mixture is
    made of."""
    names = list(dict.fromkeys(row["world"] for row in rows))
    found = Figure(figsize=(12.5, 0.5 + 3.3 * len(names)))
    grid = found.subplots(len(names), 3, squeeze=False, width_ratios=(1, 1, 1.2))
    for line, world in zip(grid, names, strict=True):
        own = [row for row in rows if row["world"] == world]
        for axes, kinds in zip(line, ((ALONE, LONGER), (HEADS,)), strict=False):
            _matrix(axes, [row for row in own if row["kind"] in kinds])
            axes.set_title(f"{world}: " + kinds[0].replace(", ", ",\n"))
        line[1].set_yticklabels([])
        _mixtures(line[2], [row for row in own if row["kind"] == MIXTURE])
        line[2].set_title(f"{world}: one head, mixed judgments")
    return found


def _matrix(axes: Axes, rows: Sequence[Row]) -> None:
    trained = [*DIMENSIONS, LONGER]
    values = np.full((len(trained), len(DIMENSIONS)), np.nan)
    for row in rows:
        line, column = trained.index(row["trained"]), DIMENSIONS.index(row["tested"])
        values[line, column] = row["accuracy"]
        colour = "white" if abs(row["accuracy"] - 0.5) > 0.25 else INK
        axes.text(column, line, f"{row['accuracy']:.3f}", ha="center", va="center", color=colour, fontsize=11)
    axes.imshow(values, cmap="RdBu", vmin=0.1, vmax=0.9, aspect="auto")
    axes.set_xticks(range(len(DIMENSIONS)), DIMENSIONS, fontsize=8)
    axes.set_yticks(range(len(trained)), trained)
    axes.axhline(len(DIMENSIONS) - 0.5, color="white", linewidth=5)
    axes.tick_params(length=0)
    axes.grid(False)
    axes.set_xlabel("tested on")


def _mixtures(axes: Axes, rows: Sequence[Row]) -> None:
    for dimension, colour in zip(MIXED, (BLUE, ORANGE), strict=True):
        own = sorted((row for row in rows if row["tested"] == dimension), key=lambda row: row["share"])
        shares = [row["share"] for row in own]
        axes.fill_between(shares, [row["low"] for row in own], [row["high"] for row in own], color=colour, alpha=0.15)
        axes.plot(shares, [row["accuracy"] for row in own], "o-", color=colour, label=f"tested on {dimension}")
    axes.axhline(0.5, color=GREY, linewidth=0.8, linestyle=(0, (4, 3)))
    low, high = min(row["low"] for row in rows), max(row["high"] for row in rows)
    axes.set_ylim(low - 0.02, high + 0.35 * (high - low))  # room for the legend above all that is drawn
    axes.set_xticks(shares, [f"{share:.0%}" for share in shares])
    axes.set(xlabel="share of helpfulness in the judgments", ylabel="accuracy")
    axes.legend(loc="upper center")


if __name__ == "__main__":
    chosen = flags.DEFINE_bool("hh", True, "Also on Anthropic's HH, downloaded or read from config.data.manual_dir.")
    run_study("dimensions", lambda study: measure(study, with_hh=chosen.value), picture, sets=SETS)
