"""How pairs are shown, what labels and rewards are held against, and that the figure is drawn."""

import dataclasses
import gzip
import itertools
import json
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.special import expit, logit

from experiments import rlhf_vs_rlaif as experiment
from rmjax.labeling.rule import characters
from rmjax.preferences.record import Comparison, Message, Preference, Side, Source
from studies import alpaca_eval, rlhf_vs_rlaif
from studies.alpaca_eval import JUDGE, LONGEST, MODEL, Answer, accuracies, implied, is_short_prose, split
from studies.rlhf_vs_rlaif import (
    ALL_SEEDS,
    BOTH_ORDERS,
    COMPARED,
    GAP,
    LENGTH_ONCE,
    PEOPLE,
    SEEDS,
    SIMULATED,
    TWICE,
    WAYS,
    both,
    by_chance,
    drawn,
    judge_of,
    labels_of,
    longer_first,
    over_seeds,
    pairs_of,
    picture,
    twice_by_chance,
)
from studies.study import Study
from studies.testbed import labeler, unjudged

SCENES = unjudged("harmlessness", count=400)
BIASED = dataclasses.replace(labeler("harmlessness"), position_bias=3.0)


def test_a_pair_is_asked_for_in_the_orders_that_are_named_and_its_weight_is_shared():
    for scene in SCENES[:50]:
        once, longest, twice = (BIASED.judge(scene, order).comparisons for order in (by_chance, longer_first, both))
        assert [len(found) for found in (once, longest, twice)] == [1, 1, 2]
        assert [comparison.shown_first for comparison in twice] == [Side.LEFT, Side.RIGHT]
        assert sum(comparison.weight for comparison in twice) == once[0].weight
        left, right = map(characters, scene.responses)
        assert left == right or longest[0].shown_first == (Side.LEFT if left > right else Side.RIGHT)
        assert twice[0].true_probability > twice[1].true_probability
    shown = {BIASED.judge(scene, by_chance).comparisons[0].shown_first for scene in SCENES}
    assert shown == {Side.LEFT, Side.RIGHT}


def test_asked_twice_by_chance_has_as_many_judgments_as_both_orders_and_an_order_of_its_own_each_time():
    asked = [twice_by_chance(scene, scene.comparisons[0]) for scene in SCENES]
    assert {len(shown) for shown in asked} == {len(both(SCENES[0], SCENES[0].comparisons[0]))} == {2}
    share = {order: asked.count(order) / len(asked) for order in itertools.product((Side.LEFT, Side.RIGHT), repeat=2)}
    assert all(value == pytest.approx(0.25, abs=0.08) for value in share.values())
    assert [shown[0] for shown in asked] == [by_chance(scene, scene.comparisons[0])[0] for scene in SCENES]


def test_a_judge_has_the_biases_of_its_way_and_the_people_of_its_seed():
    assert judge_of(PEOPLE, "harmlessness", 3) == labeler("harmlessness", seed=3)
    biased = judge_of(LENGTH_ONCE, "harmlessness", 3)
    assert (biased.position_bias, biased.length_bias) == (2.0, 0.01)
    assert biased.probability(0.0, 0.0, Side.LEFT) == pytest.approx(0.873, abs=5e-4)
    assert len({way.folder for way in WAYS}) == len({way.name for way in WAYS}) == len(WAYS)
    assert (TWICE.position_bias, TWICE.length_bias) == (BOTH_ORDERS.position_bias, BOTH_ORDERS.length_bias) == (2.0, 0)


def test_a_gap_is_between_models_of_the_same_seed():
    right = {way.name: [np.array([1.0, 0, 0, 0]), np.array([0.0, 0, 1, 1])] for way in WAYS}
    right[BOTH_ORDERS.name] = [np.ones(4), np.zeros(4)]
    rows = list(over_seeds(right, np.array([0, 0, 1, 1])))
    assert [row["name"] for row in rows if row["kind"] == ALL_SEEDS] == [way.name for way in WAYS]
    gaps = {(row["name"], row["above"]): row for row in rows if row["kind"] == GAP}
    assert [*gaps] == [(way.name, other.name) for way, other in COMPARED]
    found = gaps[BOTH_ORDERS.name, TWICE.name]
    assert found["gaps"] == [0.75, -0.5]
    assert found["gap"][0] == pytest.approx(0.125)
    assert gaps[TWICE.name, rlhf_vs_rlaif.ONCE.name]["gap"] == [0, 0, 0]


def test_in_both_orders_a_bias_of_position_prefers_neither_length_nor_place():
    """At equal utilities the first is preferred in 95 %, so the longer is where it always stands first."""
    equal = [dataclasses.replace(scene, utilities=(0.0, 0.0)) for scene in SCENES]
    longer, twice = (labels_of([BIASED.judge(scene, order) for scene in equal]) for order in (longer_first, both))
    assert longer.longer().value > 0.9
    assert twice.longer().low < 0.5 < twice.longer().high
    assert np.mean(twice.judged == 0) > 0.8


@pytest.mark.parametrize("worth", [0.0, 0.7])
def test_what_a_hundred_characters_are_worth_is_found_again(worth):
    values = [
        3 * (np.array(scene.utilities) + worth * np.array(list(map(characters, scene.responses))) / 100)
        for scene in SCENES
    ]
    found = pairs_of(SCENES, values)
    assert found.worth().value == pytest.approx(worth, abs=1e-9)
    assert (found.accuracy().value == 1) == (worth == 0)
    assert (found.longer().value == 1) == (worth > 0)


def answer(text: str, probability: float) -> Answer:
    said = (Message(role="assistant", content=text),)
    return Answer(response=said, reference=(Message(role="assistant", content="ref"),), probability=probability)


def test_two_answers_are_compared_by_their_logits_to_the_third():
    answers = [answer("one", 0.2), answer("two", 0.05)]
    found = implied("prompt", answers, [(0, 1), (1, 0)]).comparisons
    assert logit(found[0].probability) == pytest.approx(logit(0.2) - logit(0.05))
    assert found[1].probability == pytest.approx(1 - found[0].probability)
    certain = implied("prompt", [answer("one", 1.0), answer("two", 0.0)], [(0, 1)]).comparisons[0]
    assert 0.5 < certain.probability <= 1


def test_no_instruction_is_in_both_parts_and_no_answer_twice_to_train_on():
    answers = {
        f"generator {g}": {f"question {q}": answer(f"words {'and ' * g}of {'x' * q}", 0.1) for q in range(40)}
        for g in range(11)
    }
    train, test = split(answers, seed=0)
    assert len(test) == 10
    assert all(len(record.comparisons) == 55 for record in test)
    assert len(train) == 5 * 30
    assert not {record.prompt for record in train} & {record.prompt for record in test}
    assert len({(record.prompt, text) for record in train for text in record.responses}) == 10 * 30


def test_what_is_long_or_no_prose_is_left_out():
    for text, kept in (("a word " * 9, True), ("", False), ("a" * (LONGEST + 1), False), ("| 1 | 2.5 | 3 |", False)):
        assert is_short_prose((Message(role="assistant", content=text),)) is kept


def test_length_alone_has_a_half_where_length_is_controlled_and_the_truth_has_all():
    rng = np.random.default_rng(0)
    lengths = [rng.integers(1, 100, size=4).astype(float) for _ in range(200)]
    worths = [0.05 * length + rng.normal(0, 1, size=4) for length in lengths]
    pairs = [(a, b) for a in range(4) for b in range(a)]
    test = [
        Preference(
            prompt=f"prompt {number}",
            responses=("a", "b", "c", "d"),
            comparisons=tuple(Comparison(left=a, right=b, probability=float(expit(w[a] - w[b]))) for a, b in pairs),
            dimension="helpfulness",
            source=Source.AI,
        )
        for number, w in enumerate(worths)
    ]
    by_length, by_worth = (accuracies(test, values, lengths) for values in (lengths, worths))
    assert by_length["accuracy"][0] > 0.8
    assert by_length["controlled"][0] == 0.5
    assert by_length["longer"][0] == 1
    assert by_worth["accuracy"][0] == by_worth["controlled"][0] == 1
    assert by_worth["longer"][0] == by_length["accuracy"][0]


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """The rows of a study whose models prefer the better response, or of AlpacaEval's the longer; and the configs."""
    configs = {}

    def trained_on(preferences, config, folder):
        configs[folder.name] = config
        of_length = folder.name.startswith("alpaca_eval")
        return SimpleNamespace(
            trained=SimpleNamespace(step=50),
            rewards=lambda records: [
                np.array([characters(text) for text in record.responses] if of_length else record.utilities)[:, None]
                for record in records
            ],
        )

    folder = tmp_path_factory.mktemp("rlhf_vs_rlaif")
    for generator, odd in (("brief", 0.4), ("wordy", 0.1)):
        rows = [
            {
                "instruction": f"question {number}",
                "output_1": "the reference",
                "output_2": "some words " * (2 + number % 7 + (1 + number % 5) * (generator == "wordy")),
                "preference": 1 + (odd if number % 2 else 0.5 - odd),
            }
            for number in range(80)
        ]
        (folder / generator).mkdir()
        (folder / generator / alpaca_eval.FILE).write_bytes(gzip.compress(json.dumps(rows).encode()))
    config = experiment.get_config()
    study = Study(config=config, folder=folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rlhf_vs_rlaif, "TRAIN_PROMPTS", 120)
        patch.setattr(rlhf_vs_rlaif, "TEST_PROMPTS", 60)
        patch.setattr(rlhf_vs_rlaif, "trained_on", trained_on)
        patch.setattr(alpaca_eval, "trained_on", trained_on)
        rlhf_vs_rlaif.measure(study, folder)
    return study.rows, configs


def test_each_way_has_a_model_of_each_seed_and_nobody_else_sets_one(measured):
    rows, configs = measured
    assert len(configs) == (len(WAYS) + 1) * len(SEEDS)
    assert {(row["name"], row["seed"]) for row in rows if row["kind"] == SIMULATED} == {
        (way.name, seed) for way in WAYS for seed in SEEDS
    }
    for name, config in configs.items():
        assert config.seed == int(name.rpartition("_")[2])
        assert config.batch.rows == (6 if name.startswith("alpaca_eval") else experiment.get_config().batch.rows)
    for row in rows:
        if row["kind"] in (SIMULATED, ALL_SEEDS):
            assert row["accuracy"][0] == 1
        if row["kind"] == SIMULATED:
            assert row["worth"][0] == pytest.approx(0, abs=1e-9)
            assert row["longer"][0] == 0.5
            assert row["label_accuracy"][0] < 1


def test_what_length_says_of_itself_is_no_finding(measured):
    rows, _ = measured
    by_model, by_length = (
        [row for row in rows if row["kind"] == MODEL and row["name"] == name]
        for name in ("the model", "the longer wins")
    )
    assert len(by_model) == len(by_length) == len(SEEDS)
    for one, other in zip(by_model, by_length, strict=True):
        assert one["accuracy"] == other["accuracy"]
        assert one["longer"][0] == 1
        assert not {"longer", "controlled"} & set(other)


@pytest.mark.parametrize("real", [False, True])
def test_the_figure_has_a_point_and_an_interval_for_each_thing_that_was_found(measured, real):
    rows = [row for row in measured[0] if real or row["kind"] not in (JUDGE, MODEL)]
    panels = drawn(rows).axes
    points = [{line.get_label(): len(line.get_xdata()) for line in axes.lines} for axes in panels]
    each = len(WAYS) * len(SEEDS)
    for found in points[:2]:
        assert (found["judgments"], found["model"]) == (each, each)
    assert [label.get_text() for label in panels[0].get_yticklabels()] == [way.name for way in WAYS]
    assert len(panels) == (4 if real else 2)
    if real:
        assert (points[2]["as judged"], points[2]["at equal length"]) == (2, 2)
        (right, controlled, longer) = list(points[3].values())[:3]
        assert (right, controlled, longer) == (2 * len(SEEDS), len(SEEDS), len(SEEDS))
        assert [label.get_text() for label in panels[3].get_yticklabels()] == ["the model", "the longer wins"]
    for axes in panels:
        for line, bars in zip((line for line in axes.lines if line.get_marker() == "o"), axes.collections, strict=True):
            for x, y, ((low, at), (high, _)) in zip(*line.get_data(), bars.get_segments(), strict=True):
                assert low <= x <= high
                assert at == y
    assert picture(rows).startswith(b"\x89PNG")
