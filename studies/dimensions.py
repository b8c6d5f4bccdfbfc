"""The cross-dimension matrix, from a model for each dimension and from one with a head for each, and mixtures.

The question, the command and the answer are in experiments/dimensions.py.
"""

import copy
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from absl import flags
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments import hh_base
from rmjax.config import DataConfig, ExperimentConfig
from rmjax.datasets.open import open_preferences
from rmjax.evaluation.measure import measure as measured
from rmjax.evaluation.measure import whole_pairs
from rmjax.intervals import Estimate
from rmjax.labeling.rule import characters
from rmjax.pictures import BLUE, GREY, INK, ORANGE, png, styled
from rmjax.preferences.record import Preference
from studies.models import Model, trained_on
from studies.study import Row, Study, run_study
from studies.testbed import labeler, unjudged

DIMENSIONS = ("helpfulness", "harmlessness", "brevity")
MIXED = ("helpfulness", "harmlessness")
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)  # of helpfulness in a mixture; the first and the last are models of the matrix
TRAIN_PROMPTS, TEST_PROMPTS = 12_000, 2000  # of the testbed
LONGEST = 1200  # characters of an HH response; hh_base's limit of tokens is beyond that
ALONE, MIXTURE, LONGER = "a model each", "mixture", "the longer wins"
STEPS, ROWS = "a head each, thrice the steps", "a head each, thrice the rows"  # so that all judgments are read as often
_HH = {
    "helpfulness": "hh_rlhf/helpful-base:{}",
    "harmlessness": "hh_rlhf/harmless-base:{}",
    "brevity": "hh_rlhf/helpful-base:{}@brevity",
}


@dataclass(frozen=True, kw_only=True)
class World:
    """Judgments of each dimension, to train on and to test on, and how a model of one dimension is trained."""

    name: str
    config: ExperimentConfig
    train: Mapping[str, tuple[Preference, ...]]
    test: Mapping[str, tuple[Preference, ...]]


def testbed(config: ExperimentConfig) -> World:
    """The same prompts and responses, judged on each dimension."""
    return World(
        name="testbed",
        config=config,
        train={dimension: _judged(dimension, TRAIN_PROMPTS, test=False) for dimension in DIMENSIONS},
        test={dimension: _judged(dimension, TEST_PROMPTS, test=True) for dimension in DIMENSIONS},
    )


def _judged(dimension: str, count: int, *, test: bool) -> tuple[Preference, ...]:
    return tuple(labeler(dimension).judge(record) for record in unjudged(dimension, count=count, test=test))


def hh(data: DataConfig) -> World:
    """HH's pairs: people who sought help judged helpfulness, people who tried to draw out harm judged harmlessness.

    Brevity is a rule's judgment of the former's. Of each dimension there are equally many pairs to train on.
    """
    config = hh_base.get_config()
    config.data.data_dir, config.data.manual_dir = data.data_dir, data.manual_dir
    config.batch.rows, config.steps = 6, 100  # as many tokens as hh_base takes; rows that two devices can share
    train, test = (
        {dimension: _opened(spec.format(split), dimension, config) for dimension, spec in _HH.items()}
        for split in ("train", "test")
    )
    least = min(len(pairs) for pairs in train.values())
    return World(name="HH", config=config, train={name: pairs[:least] for name, pairs in train.items()}, test=test)


def _opened(spec: str, dimension: str, config: ExperimentConfig) -> tuple[Preference, ...]:
    found = open_preferences(spec, config.data, dimension=dimension)
    return tuple(pair for pair in found if all(characters(response) <= LONGEST for response in pair.responses))


def mixed(train: Mapping[str, Sequence[Preference]], share: float) -> tuple[Preference, ...]:
    """Pairs of both dimensions, as many as there are of one, that share of them of helpfulness.

    Those of harmlessness are the last ones: where both dimensions have the same prompts, none comes twice.
    """
    helpful, harmless = (train[dimension] for dimension in MIXED)
    count = len(helpful)
    cut = round(share * count)
    return (*helpful[:cut], *harmless[len(harmless) - (count - cut) :])


def accuracy(rewards: Sequence[np.ndarray], preferences: Sequence[Preference], head: int = 0) -> Estimate:
    """What ``rmjax.evaluate --head`` would say of these rewards of the responses of each record."""
    found = measured(np.concatenate(rewards), whole_pairs(preferences).on_head(head)).numbers
    return Estimate(value=found["accuracy"], low=found["accuracy_low"], high=found["accuracy_high"])


def measure(study: Study) -> None:
    """The matrix and the mixtures, of the testbed and of HH."""
    worlds = [hh(study.config.data)] if flags.FLAGS.hh else []
    for world in (testbed(study.config), *worlds):
        _baseline(study, world)
        alone = {name: _trained(study, world, f"only_{name}", world.train[name]) for name in DIMENSIONS}
        for name, model in alone.items():
            _row(study, world, model, kind=ALONE, trained=name)
        together = tuple(itertools.chain.from_iterable(world.train.values()))
        for kind, folder in ((STEPS, "heads"), (ROWS, "heads_rows")):
            heads = _trained(study, world, folder, together, more=kind)
            for number, name in enumerate(DIMENSIONS):
                _row(study, world, heads, kind=kind, trained=name, head=number)
        for share in SHARES:
            model = {0.0: alone[MIXED[1]], 1.0: alone[MIXED[0]]}.get(share)
            model = model or _trained(study, world, f"mixture_{share}", mixed(world.train, share))
            _row(study, world, model, kind=MIXTURE, trained=f"{share:.0%} helpfulness", share=share, tested=MIXED)


def _trained(
    study: Study, world: World, name: str, preferences: Sequence[Preference], *, more: str | None = None
) -> Model:
    """A model with one head, or with one for each dimension and more of what ``more`` says."""
    config = copy.deepcopy(world.config)
    if more is not None:
        config.model.reward_heads = DIMENSIONS
    if more == STEPS:
        config.steps *= len(DIMENSIONS)
        config.evaluate_every *= len(DIMENSIONS)
    if more == ROWS:
        config.batch.rows *= len(DIMENSIONS)
    return trained_on(preferences, config, study.folder / world.name / name)


def _row(
    study: Study, world: World, model: Model, *, head: int = 0, tested: Sequence[str] = DIMENSIONS, **said: object
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
    """For each world the matrix of both kinds, and both accuracies by what a mixture is made of."""
    worlds = list(dict.fromkeys(row["world"] for row in rows))
    with styled():
        figure = Figure(figsize=(12.5, 0.5 + 3.1 * len(worlds)))
        grid = figure.subplots(len(worlds), 4, squeeze=False, width_ratios=(1, 1, 1, 1.2))
        for line, world in zip(grid, worlds, strict=True):
            own = [row for row in rows if row["world"] == world]
            for axes, kind in zip(line, (ALONE, STEPS, ROWS), strict=False):
                _matrix(axes, [row for row in own if row["kind"] in (kind, LONGER)])
                axes.set_title(f"{world}: " + kind.replace(", ", ",\n"))
                if kind != ALONE:
                    axes.set_yticklabels([])
            _mixtures(line[3], [row for row in own if row["kind"] == MIXTURE])
            line[3].set_title(f"{world}: one head, mixed judgments")
        return png(figure)


def _matrix(axes: Axes, rows: Sequence[Row]) -> None:
    trained = list(dict.fromkeys(sorted((row["trained"] for row in rows), key=lambda name: name == LONGER)))
    trained = [*DIMENSIONS, *(name for name in trained if name not in DIMENSIONS)]
    values = np.full((len(trained), len(DIMENSIONS)), np.nan)
    for row in rows:
        values[trained.index(row["trained"]), DIMENSIONS.index(row["tested"])] = row["accuracy"]
    axes.imshow(values, cmap="RdBu", vmin=0.1, vmax=0.9, aspect="auto")
    for (line, column), value in np.ndenumerate(values):
        colour = "white" if abs(value - 0.5) > 0.25 else INK
        axes.text(column, line, f"{value:.3f}", ha="center", va="center", color=colour, fontsize=11)
    axes.set_xticks(range(len(DIMENSIONS)), DIMENSIONS, fontsize=8)
    axes.set_yticks(range(len(trained)), trained)
    axes.axhline(len(DIMENSIONS) - 0.5, color="white", linewidth=5)
    axes.tick_params(length=0)
    axes.grid(False)
    axes.set_xlabel("tested on")


def _mixtures(axes: Axes, rows: Sequence[Row]) -> None:
    for dimension, colour in zip(MIXED, (BLUE, ORANGE), strict=True):
        own = sorted((row for row in rows if row["tested"] == dimension), key=lambda row: row["share"])
        x = [row["share"] for row in own]
        axes.fill_between(x, [row["low"] for row in own], [row["high"] for row in own], color=colour, alpha=0.15)
        axes.plot(x, [row["accuracy"] for row in own], "o-", color=colour, label=f"tested on {dimension}")
    axes.axhline(0.5, color=GREY, linewidth=0.8, linestyle=(0, (4, 3)))
    axes.set_xticks(SHARES, [f"{share:.0%}" for share in SHARES])
    axes.set(xlabel="share of helpfulness in the judgments", ylabel="accuracy")
    axes.legend()


if __name__ == "__main__":
    flags.DEFINE_bool("hh", True, "Also on Anthropic's HH, which is downloaded, or read from config.data.manual_dir.")
    run_study("dimensions", measure, picture)
