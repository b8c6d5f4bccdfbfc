"""What wrong labels cost, and whether soft labels or label smoothing help: ``python -m studies.noise``."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rmjax.config import ExperimentConfig
from rmjax.evaluation import calibration, pairwise
from rmjax.intervals import wilson_interval
from rmjax.labeling.simulated_crowd import simulated_crowd
from rmjax.labels_config import Several
from rmjax.pictures import GREY, INK, SERIES, png, styled
from rmjax.preferences.record import Preference
from studies.models import Model, trained_on
from studies.study import Row, Study, run_study
from studies.testbed import labeler, unjudged
from studies.truth import with_truth

ERROR_RATES = (0.0, 0.1, 0.2, 0.4)
JUDGMENTS = 3000  # that each model's labels are made of, but for true probabilities, which nobody has
VOTES = 5
WRONG_SMOOTHING = 0.3  # where the error rate is another
TEST_PAIRS = 2000
HARD, SOFT, TRUE = "one vote a pair", f"{VOTES} votes a pair", "true probabilities"
SMOOTHED, MISJUDGED = "smoothed by the error rate", f"smoothed by {WRONG_SMOOTHING}"
ARMS = (HARD, SOFT, TRUE, SMOOTHED, MISJUDGED)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A model to be trained.

    Attributes:
      arm: how labels are made and learned from.
      error_rate: of the labelers.
      smoothing: ``config.loss.label_smoothing``.
    """

    arm: str
    error_rate: float
    smoothing: float = 0.0


def cases() -> Iterator[Case]:
    """Every model of the study; smoothing by an error rate of 0 would be none."""
    for rate in ERROR_RATES:
        for arm in (HARD, SOFT, TRUE):
            yield Case(arm=arm, error_rate=rate)
        if rate:
            yield Case(arm=SMOOTHED, error_rate=rate, smoothing=rate)
        if rate < WRONG_SMOOTHING:
            yield Case(arm=MISJUDGED, error_rate=rate, smoothing=WRONG_SMOOTHING)


def judged(case: Case, dimension: str) -> tuple[Preference, ...]:
    """What the model learns from: JUDGMENTS votes, on as many pairs or on a VOTES-th of them.

    The crowd's people differ in nothing but their luck. True probabilities are of JUDGMENTS pairs.
    """
    judge = labeler(dimension, error_rate=case.error_rate)
    if case.arm == TRUE:
        return with_truth(unjudged(dimension, count=JUDGMENTS), judge)
    votes = VOTES if case.arm == SOFT else 1
    crowd = simulated_crowd(judge, count=VOTES, per_pair=votes)
    return tuple(crowd.judge(entry) for entry in unjudged(dimension, count=JUDGMENTS // votes))


def configured(case: Case, config: ExperimentConfig) -> ExperimentConfig:
    """The config of the model."""
    own = copy.deepcopy(config)
    own.loss.label_smoothing = case.smoothing
    if case.arm == SOFT:
        own.labels.several = Several.MEAN
    return own


def measure(study: Study) -> None:
    """A row for each model."""
    dimension = study.config.dimension
    scenes = differing(unjudged(dimension, count=TEST_PAIRS, test=True))
    for case in cases():
        name = f"{ARMS.index(case.arm)}_{case.error_rate}"
        model = trained_on(judged(case, dimension), configured(case, study.config), study.folder / name)
        differences = reward_differences(model, scenes)
        said = {
            about: probabilities(with_truth(scenes, labeler(dimension, error_rate=rate)))
            for about, rate in (("erring", case.error_rate), ("careful", 0.0))
        }
        study.add(
            arm=case.arm,
            error_rate=case.error_rate,
            smoothing=case.smoothing,
            **against_truth(differences, said["careful"]),
            **{
                f"{name}_{about}": value for about, q in said.items() for name, value in against(differences, q).items()
            },
        )


def differing(pairs: Sequence[Preference]) -> tuple[Preference, ...]:
    """Those of which one response is truly better."""
    return tuple(entry for entry in pairs if entry.utilities and len(set(entry.utilities)) > 1)


def reward_differences(model: Model, pairs: Sequence[Preference]) -> Float64[np.ndarray, "pairs"]:
    """Reward of left less that of right, of the one comparison of each record."""
    return np.array([float(found[0, 0]) - float(found[1, 0]) for found in model.rewards(pairs)])


def probabilities(pairs: Sequence[Preference]) -> Float64[np.ndarray, "pairs"]:
    """The label of the one comparison of each record."""
    return np.array([entry.comparisons[0].probability for entry in pairs])


def against_truth(
    differences: Float64[np.ndarray, "pairs"], probability: Float64[np.ndarray, "pairs"]
) -> dict[str, float]:
    """How often the reward is greater where the true utility is, with its interval over prompts."""
    found = wilson_interval(pairwise.correctness(differences, probability), np.arange(len(differences)))
    return {"accuracy": found.value, "low": found.low, "high": found.high}


def against(differences: Float64[np.ndarray, "pairs"], probability: Float64[np.ndarray, "pairs"]) -> dict[str, float]:
    """What is expected of a model on labels of labelers who prefer left with these probabilities.

    ``agreement`` is the accuracy on their labels and ``bayes`` the best there is; ``nll`` has ``least_nll``, their
    entropy, as its least value.
    """
    table = calibration.reliability(differences, probability)
    logits = np.log(probability) - np.log1p(-probability)
    return {
        "agreement": pairwise.mean(calibration.credit(differences, probability)),
        "bayes": pairwise.bayes_accuracy(probability, probability),
        "nll": pairwise.negative_log_likelihood(differences, probability),
        "least_nll": pairwise.negative_log_likelihood(logits, probability),
        "ece": table.ece,
        "overconfidence": table.overconfidence,
    }


PANELS = (
    ("Is the better response preferred?", "accuracy against true utility", "accuracy", None),
    ("Is the next erring label foretold?", "accuracy on labels, expected", "agreement_erring", "bayes_erring"),
    ("At what price in likelihood?", "NLL on labels, above the least", "nll_erring", "least_nll_erring"),
    ("Calibrated for labelers who err?", "confidence - correctness", "overconfidence_erring", None),
    ("Calibrated for labelers who don't?", "confidence - correctness", "overconfidence_careful", None),
    ("How far off, for labelers who err?", "ECE", "ece_erring", None),
)


def picture(rows: Sequence[Row]) -> bytes:
    """Six numbers by error rate, a line for each way to learn."""
    with styled():
        figure = Figure(figsize=(10.6, 6.6))
        for axes, panel in zip(figure.subplots(2, 3).flat, PANELS, strict=True):
            _panel(axes, rows, *panel)
        handles, labels = figure.axes[1].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3)
        return png(figure)


def _panel(axes: Axes, rows: Sequence[Row], title: str, label: str, key: str, limit: str | None) -> None:
    """One number; NLL as what is above its limit, accuracies beside theirs."""
    excess = key.startswith("nll")
    for number, arm in enumerate(ARMS):
        own = [row for row in rows if row["arm"] == arm]
        values = np.array([row[key] - (row[limit] if excess and limit else 0.0) for row in own])
        rates, colour = [row["error_rate"] for row in own], SERIES[number]
        axes.plot(rates, values, "o-", color=colour, markersize=4, linewidth=1.5, label=arm)
        if key == "accuracy":
            axes.fill_between(rates, [row["low"] for row in own], [row["high"] for row in own], color=colour, alpha=0.1)
    if limit and not excess:
        known = sorted({(row["error_rate"], row[limit]) for row in rows})
        axes.plot(*zip(*known, strict=True), color=INK, linewidth=1, linestyle=(0, (4, 3)), label="Bayes limit")
    if key.startswith("overconfidence"):
        axes.axhline(0, color=GREY, linewidth=1)
    axes.set(title=title, ylabel=label, xlabel="error rate of the labelers")


if __name__ == "__main__":
    run_study("noise", measure, picture)
