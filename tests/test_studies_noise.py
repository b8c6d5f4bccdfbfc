"""The study of wrong labels: equal judgments, what is expected of labels, what is trained on what, the figure."""

from types import SimpleNamespace

import numpy as np
import pytest

from experiments import noise as experiment
from rmjax.labels_config import Several
from studies import noise
from studies.noise import ARMS, ERROR_RATES, HARD, SEEDS, SMOOTHED, SOFT, TRUE, Case, against, cases, configured
from studies.study import Study
from studies.testbed import labeler, unjudged
from studies.truth import with_truth

DIMENSION = "harmlessness"


def test_votes_are_as_many_whether_a_pair_has_one_or_several(monkeypatch):
    monkeypatch.setattr(noise, "JUDGMENTS", 50)
    one, several = (noise.judged(Case(arm=arm, error_rate=0.2), DIMENSION, seed=1) for arm in (HARD, SOFT))
    assert [len(entry.comparisons) for entry in one] == [1] * 50
    assert [len(entry.comparisons) for entry in several] == [5] * 10
    assert all(sum(vote.weight for vote in entry.comparisons) == pytest.approx(1) for entry in several)
    assert all(len({vote.annotator for vote in entry.comparisons}) == 5 for entry in several)
    assert [entry.prompt for entry in several] == [entry.prompt for entry in one[:10]]


def test_true_probabilities_are_those_that_votes_are_drawn_from(monkeypatch):
    monkeypatch.setattr(noise, "JUDGMENTS", 20)
    drawn, known = (noise.judged(Case(arm=arm, error_rate=0.2), DIMENSION, seed=1) for arm in (HARD, TRUE))
    for one, other in zip(drawn, known, strict=True):
        assert one.prompt == other.prompt
        assert one.comparisons[0].probability in (0.0, 1.0)
        assert other.comparisons[0].probability == one.comparisons[0].true_probability


def test_a_seed_has_prompts_and_votes_of_its_own():
    one, other = (noise.voted(DIMENSION, 0.4, pairs=40, votes=1, seed=seed) for seed in (1, 2))
    assert not {entry.prompt for entry in one} & {entry.prompt for entry in other}
    first = labeler(DIMENSION, error_rate=0.4, seed=2)
    assert [first.judge(entry).comparisons[0].probability for entry in one] != noise.probabilities(one).tolist()


def test_an_error_rate_draws_true_probabilities_together():
    pairs = noise.differing(unjudged(DIMENSION, count=30))
    careful, erring = (
        noise.probabilities(with_truth(pairs, labeler(DIMENSION, error_rate=rate))) for rate in (0.0, 0.3)
    )
    np.testing.assert_allclose(erring, 0.7 * careful + 0.3 * (1 - careful), rtol=1e-12)
    assert (careful != 0.5).all()


def test_a_model_is_smoothed_or_its_votes_are_averaged_where_its_case_says_so_alone():
    found = list(cases())
    assert len(set(found)) == len(found)
    assert {case.arm for case in found} == set(ARMS)
    base = experiment.get_config()
    for case in found:
        own = configured(case, base, seed=7)
        assert own.loss.label_smoothing == (case.error_rate if case.arm == SMOOTHED else 0)
        assert own.labels.several is (Several.MEAN if case.arm == SOFT else Several.KEPT)
        own.seed, own.loss.label_smoothing, own.labels.several = base.seed, 0.0, Several.KEPT
        assert own == base
    assert all(case.error_rate > 0 for case in found if case.arm == SMOOTHED)


def test_the_truth_itself_is_calibrated_and_as_good_as_can_be():
    probability = np.random.default_rng(0).uniform(0.02, 0.98, 200)
    best = against(np.log(probability / (1 - probability)), probability)
    assert best["agreement"] == pytest.approx(best["bayes"])
    assert best["excess_nll"] == pytest.approx(0, abs=1e-12)
    assert best["ece"] == pytest.approx(0, abs=1e-12)


def test_rewards_the_wrong_way_round_are_never_right():
    probability = np.array([0.9, 0.2, 0.7])
    worst = against(-np.log(probability / (1 - probability)), probability)
    assert worst["agreement"] == pytest.approx(1 - worst["bayes"])
    assert worst["excess_nll"] > 0
    assert worst["overconfidence"] > 0


def test_a_gap_is_that_to_one_vote_of_the_same_seed():
    votes, smoothed = (Case(arm=arm, error_rate=0.2) for arm in (HARD, SMOOTHED))
    correct = {votes: [np.array([1.0, 0, 0, 0]), np.array([1.0, 1, 0, 0])], smoothed: [np.ones(4), np.zeros(4)]}
    found = noise.over_seeds(smoothed, correct)
    assert found["gaps"] == [0.75, -0.5]
    assert found["gap"][0] == pytest.approx(0.125)
    assert found["gap"][1] < 0.125 < found["gap"][2]
    assert found["accuracy"] == [0.5, 0.5, 0.5]  # of each prompt one of the two models is right
    assert noise.over_seeds(votes, correct)["gaps"] == [0, 0]


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """The rows of a study whose models know the utilities, but for one vote a pair, where they have them reversed; and
    what each was trained and validated on."""
    runs = {}

    def trained_on(preferences, config, folder, validation):
        runs[folder.name] = (preferences, config, validation)
        sign = -1 if folder.name.startswith(f"{ARMS.index(HARD)}_") else 1
        return SimpleNamespace(
            trained=SimpleNamespace(step=50),
            rewards=lambda pairs: [sign * np.array(pair.utilities)[:, None] for pair in pairs],
        )

    study = Study(config=experiment.get_config(), folder=tmp_path_factory.mktemp("noise"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(noise, "JUDGMENTS", 10)
        patch.setattr(noise, "VALIDATION", 6)
        patch.setattr(noise, "TEST_PAIRS", 30)
        patch.setattr(noise, "trained_on", trained_on)
        noise.measure(study)
    return study.rows, runs


def test_models_of_a_seed_and_an_error_rate_are_validated_on_the_same_votes(measured):
    _, runs = measured
    assert len(runs) == len(SEEDS) * len(list(cases()))
    found = {}
    for name, (preferences, config, validation) in runs.items():
        _, rate, seed = name.split("_")
        assert config.seed == int(seed)
        assert found.setdefault((rate, seed), validation) == validation
        assert not {entry.prompt for entry in validation} & {entry.prompt for entry in preferences}
        assert [len(entry.comparisons) for entry in validation] == [1] * 6
    assert len({entry.prompt for validation in found.values() for entry in validation}) == 6 * len(SEEDS)


def test_rows_say_how_right_each_model_is_and_by_how_much_more_than_one_vote(measured):
    rows, _ = measured
    models, means = ([row for row in rows if row["kind"] == kind] for kind in (noise.MODEL, noise.ALL_SEEDS))
    assert len(rows) == len(models) + len(means)
    for row in models:
        assert row["accuracy"] == (row["arm"] != HARD)
        assert row["careful"]["agreement"] == pytest.approx(
            row["careful"]["bayes"] if row["arm"] != HARD else 1 - row["careful"]["bayes"]
        )
        assert row["erring"]["bayes"] == pytest.approx(
            (1 - row["error_rate"]) * row["careful"]["bayes"] + row["error_rate"] * (1 - row["careful"]["bayes"])
        )
    for row in means:
        assert row["gaps"] == [float(row["arm"] != HARD)] * len(SEEDS)


def test_the_figure_has_a_line_for_each_way_to_learn_and_a_point_for_each_seed(measured):
    rows, _ = measured
    panels = noise.drawn(rows).axes
    assert [axes.get_title() for axes in panels][:2] == [
        "Is the better response preferred?",
        "More often than by one vote a pair?",
    ]
    for axes in panels:
        arms = ARMS[1:] if "one vote" in axes.get_title() else ARMS
        named = [line for line in axes.lines if line.get_label() in ARMS]
        assert [line.get_label() for line in named] == list(arms)
        dotted = [line for line in axes.lines if line.get_marker() == "o"]
        rates = [[case.error_rate for case in cases() if case.arm == arm] for arm in arms]
        assert [len(line.get_xdata()) for line in dotted] == [len(SEEDS) * len(own) for own in rates]
        assert [list(line.get_xdata()) for line in named] == rates
    (limit,) = [line for line in panels[2].lines if line.get_label() == "Bayes limit"]
    assert list(limit.get_xdata()) == list(ERROR_RATES)
    assert list(panels[0].lines[0].get_ydata()) == [0] * len(ERROR_RATES)
    assert noise.picture(rows).startswith(b"\x89PNG")
