"""How pairs are shown, what labels and rewards are held against, and that the figure is drawn."""

import dataclasses

import numpy as np
import pytest
from scipy.special import expit, logit

from rmjax.labeling.rule import characters
from rmjax.preferences.record import Comparison, Message, Preference, Side, Source
from studies.alpaca_eval import JUDGE, LONGEST, MODEL, Answer, accuracies, implied, is_short_prose, split
from studies.rlhf_vs_rlaif import SIMULATED, both, by_chance, labels_of, longer_first, pairs_of, picture
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


@pytest.mark.parametrize("real", [False, True])
def test_the_figure_is_drawn(real):
    point = [0.6, 0.5, 0.7]
    fields = ("label_accuracy", "label_longer", "accuracy", "longer", "raw", "controlled")
    kinds = (SIMULATED, JUDGE, MODEL) if real else (SIMULATED,)
    said = dict.fromkeys(fields, point)
    rows = [{"kind": kind, "name": f"{kind} {place}", **said} for kind in kinds for place in range(2)]
    assert picture(rows).startswith(b"\x89PNG")
