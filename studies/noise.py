"""What wrong labels cost, and whether soft labels or label smoothing help: ``python -m studies.noise``."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rmjax.config import ExperimentConfig
from rmjax.evaluation import calibration, pairwise
from rmjax.intervals import paired_bootstrap
from rmjax.labeling.simulated.crowd import simulated_crowd
from rmjax.labels_config import Several
from rmjax.pictures import GREY, INK, SERIES, png, styled
from rmjax.preferences.record import Preference
from studies.models import Model, trained_on
from studies.study import Row, Study, numbers, run_study
from studies.testbed import labeler, unjudged
from studies.truth import with_truth

ERROR_RATES = (0.0, 0.2, 0.4)
SEEDS = (1, 2)  # of prompts, votes and weights
JUDGMENTS = 2000  # that each model's labels are made of, but for true probabilities, which nobody has
VOTES = 5
VALIDATION = 500  # pairs with one vote each, the same for all models of a seed and an error rate
TEST_PAIRS = 2000
HARD, SOFT, TRUE = "one vote a pair", f"{VOTES} votes a pair", "true probabilities"
SMOOTHED = "smoothed by the error rate"
ARMS = (HARD, SOFT, TRUE, SMOOTHED)
MODEL, ALL_SEEDS = "a model", "all seeds"  # what a row is of
SETS = ("seed", "loss.label_smoothing", "labels.several")


@dataclass(frozen=True, kw_only=True)
class Case:
    """Models to be trained, one for each seed.

    Attributes:
      arm: how labels are made and learned from.
      error_rate: of the labelers.
    """

    arm: str
    error_rate: float


def cases() -> Iterator[Case]:
    """All that are compared; smoothing by an error rate of 0 would be none."""
    for rate in ERROR_RATES:
        for arm in ARMS:
            if rate or arm != SMOOTHED:
                yield Case(arm=arm, error_rate=rate)


def judged(case: Case, dimension: str, seed: int) -> tuple[Preference, ...]:
    """What the model learns from: JUDGMENTS votes, on as many pairs or on a VOTES-th of them.

    True probabilities are of JUDGMENTS pairs.
    """
    if case.arm == TRUE:
        return with_truth(
            unjudged(dimension, count=JUDGMENTS, seed=seed), labeler(dimension, error_rate=case.error_rate)
        )
    votes = VOTES if case.arm == SOFT else 1
    return voted(dimension, case.error_rate, pairs=JUDGMENTS // votes, votes=votes, seed=seed)


def voted(dimension: str, error_rate: float, *, pairs: int, votes: int, seed: int) -> tuple[Preference, ...]:
    """Pairs judged by so many each of a crowd whose people differ in nothing but their luck."""
    judge = labeler(dimension, error_rate=error_rate, seed=seed)
    crowd = simulated_crowd(judge, count=VOTES, per_pair=votes, seed=seed)
    return tuple(crowd.judge(entry) for entry in unjudged(dimension, count=pairs, seed=seed))


def configured(case: Case, config: ExperimentConfig, seed: int) -> ExperimentConfig:
    """The config of the model."""
    own = copy.deepcopy(config)
    own.seed = seed
    if case.arm == SMOOTHED:
        own.loss.label_smoothing = case.error_rate
    if case.arm == SOFT:
        own.labels.several = Several.MEAN
    return own


def measure(study: Study) -> None:
    """A row for each model, then one for each case over its seeds."""
    dimension = study.config.dimension
    scenes = differing(unjudged(dimension, count=TEST_PAIRS, test=True))
    said = {rate: probabilities(with_truth(scenes, labeler(dimension, error_rate=rate))) for rate in ERROR_RATES}
    correct: dict[Case, list[np.ndarray]] = {case: [] for case in cases()}
    for seed in SEEDS:
        for case in cases():
            held_out = voted(dimension, case.error_rate, pairs=VALIDATION, votes=1, seed=seed + 100)
            folder = study.folder / f"{ARMS.index(case.arm)}_{case.error_rate}_{seed}"
            model = trained_on(judged(case, dimension, seed), configured(case, study.config, seed), folder, held_out)
            differences = reward_differences(model, scenes)
            correct[case].append(pairwise.correctness(differences, said[0.0]))
            study.add(
                kind=MODEL,
                **said_of(case),
                seed=seed,
                best_step=model.trained.step,
                accuracy=pairwise.mean(correct[case][-1]),
                erring=against(differences, said[case.error_rate]),
                careful=against(differences, said[0.0]),
            )
    for case in cases():
        study.add(kind=ALL_SEEDS, **said_of(case), **over_seeds(case, correct))


def said_of(case: Case) -> Row:
    """The fields of a row that say which case it is of."""
    return {"arm": case.arm, "error_rate": case.error_rate}


def over_seeds(case: Case, correct: Mapping[Case, Sequence[Float64[np.ndarray, "pairs"]]]) -> Row:
    """The mean accuracy over seeds, and what it is above one vote a pair; both with their intervals over prompts.

    How much seeds differ those can't know; ``gaps`` has the difference of each.
    """
    own = np.array(correct[case])
    above = own - np.array(correct[Case(arm=HARD, error_rate=case.error_rate)])
    prompts = np.arange(own.shape[1])
    return {
        "accuracy": numbers(paired_bootstrap(own, prompts)),
        "gap": numbers(paired_bootstrap(above, prompts)),
        "gaps": above.mean(axis=1).tolist(),
    }


def differing(pairs: Sequence[Preference]) -> tuple[Preference, ...]:
    """Those of which one response is truly better."""
    return tuple(entry for entry in pairs if entry.utilities and len(set(entry.utilities)) > 1)


def reward_differences(model: Model, pairs: Sequence[Preference]) -> Float64[np.ndarray, "pairs"]:
    """Reward of left less that of right, of the one comparison of each record."""
    return np.array([float(found[0, 0]) - float(found[1, 0]) for found in model.rewards(pairs)])


def probabilities(pairs: Sequence[Preference]) -> Float64[np.ndarray, "pairs"]:
    """The label of the one comparison of each record."""
    return np.array([entry.comparisons[0].probability for entry in pairs])


def against(differences: Float64[np.ndarray, "pairs"], probability: Float64[np.ndarray, "pairs"]) -> dict[str, float]:
    """What is expected of a model on labels of labelers who prefer left with these probabilities.

    ``agreement`` is the accuracy on their labels and ``bayes`` the best there is; ``excess_nll`` is what the negative
    log-likelihood is above its least value, the labels' entropy.
    """
    table = calibration.reliability(differences, probability)
    logits = np.log(probability) - np.log1p(-probability)
    least = pairwise.negative_log_likelihood(logits, probability)
    return {
        "agreement": pairwise.mean(calibration.credit(differences, probability)),
        "bayes": pairwise.bayes_accuracy(probability, probability),
        "excess_nll": pairwise.negative_log_likelihood(differences, probability) - least,
        "ece": table.ece,
        "overconfidence": table.overconfidence,
    }


def picture(rows: Sequence[Row]) -> bytes:
    """The figure, as PNG."""
    with styled():
        return png(drawn(rows))


def drawn(rows: Sequence[Row]) -> Figure:
    """Six numbers by error rate; of each way to learn a line through the means, and a point for each seed."""
    models, means = ([row for row in rows if row["kind"] == kind] for kind in (MODEL, ALL_SEEDS))
    figure = Figure(figsize=(10.6, 6.6))
    grid = figure.subplots(2, 3)
    _lines(grid[0, 0], [(row, row["accuracy"]) for row in models])
    grid[0, 0].set(title="Is the better response preferred?", ylabel="accuracy against true utility")
    _lines(grid[0, 1], [(row, gap) for row in means if row["arm"] != HARD for gap in row["gaps"]])
    grid[0, 1].set(title="More often than by one vote a pair?", ylabel="gain in accuracy, same seed")
    for axes, about, name, title, label in (
        (grid[0, 2], "erring", "agreement", "Is the next erring label foretold?", "accuracy on labels, expected"),
        (grid[1, 0], "erring", "excess_nll", "At what price in likelihood?", "NLL on labels, above the least"),
        (grid[1, 1], "erring", "overconfidence", "Calibrated for labelers who err?", "confidence - correctness"),
        (grid[1, 2], "careful", "overconfidence", "Calibrated for labelers who don't?", "confidence - correctness"),
    ):
        _lines(axes, [(row, row[about][name]) for row in models])
        axes.set(title=title, ylabel=label)
    known = sorted({(row["error_rate"], row["erring"]["bayes"]) for row in models})
    grid[0, 2].plot(*zip(*known, strict=True), color=INK, linewidth=1, linestyle=(0, (4, 3)), label="Bayes limit")
    for axes in (grid[0, 1], grid[1, 1], grid[1, 2]):
        axes.axhline(0, color=GREY, linewidth=1)
    for axes in grid.flat:
        axes.set(xlabel="error rate of the labelers", xticks=ERROR_RATES)
    handles, labels = grid[0, 2].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


def _lines(axes: Axes, found: Sequence[tuple[Row, float]]) -> None:
    """A line for each arm that has values, which are of one seed each."""
    for number, arm in enumerate(ARMS):
        own = [(row["error_rate"], value) for row, value in found if row["arm"] == arm]
        if not own:
            continue
        rates = sorted({rate for rate, _ in own})
        means = [np.mean([value for at, value in own if at == rate]) for rate in rates]
        axes.plot(rates, means, "-", color=SERIES[number], linewidth=1.5, label=arm)
        axes.plot(*zip(*own, strict=True), "o", color=SERIES[number], markersize=3.5, alpha=0.7)


if __name__ == "__main__":
    run_study("noise", measure, picture, sets=SETS)
