"""Chance is even and repeatable, and phrases hold every choice and every filling."""

import re

import numpy as np
import pytest

from rmjax.datasets.synthetic_text import Dice, enumeration, say, state
from rmjax.datasets.synthetic_topics import ASPECTS, FALSEHOODS, STAGES, TOPICS


@pytest.mark.parametrize("seed", range(3))
def test_dice_repeat_themselves_and_are_even(seed):
    assert [Dice(seed, 1).below(6) for _ in range(5)] == [Dice(seed, 1).below(6)] * 5
    dice = Dice(seed)
    counts = np.bincount([dice.below(6) for _ in range(6000)], minlength=6)
    assert counts.sum() == 6000
    assert len(counts) == 6
    assert np.abs(counts - 1000).max() < 5 * np.sqrt(6000 * 5 / 36)
    shares = np.bincount([dice.count((0.5, 0.3, 0.2)) for _ in range(6000)]) / 6000
    assert np.abs(shares - [0.5, 0.3, 0.2]).max() < 0.04


def test_shuffling_keeps_the_items():
    dice = Dice(0)
    orders = {tuple(dice.shuffled("abc")) for _ in range(200)}
    assert len(orders) == 6
    assert all(sorted(order) == ["a", "b", "c"] for order in orders)


def test_a_phrase_makes_all_its_choices_and_fills_its_slots():
    dice = Dice(0)
    said = {say(dice, ("{a|b} <x> {c|d}.", "plain <x>"), x="filled") for _ in range(200)}
    assert said == {"a filled c.", "a filled d.", "b filled c.", "b filled d.", "plain filled"}


def test_statements_name_the_thing_and_one_phrase_of_the_value():
    dice = Dice(1)
    for topic in (*ASPECTS, *STAGES):
        assert len(topic.values) == 5
        for true, phrases in ((True, topic.values), (False, FALSEHOODS)):
            for _ in range(20):
                text = state(dice, topic, "kettle", true=true)
                assert "kettle" in text
                choices = [choice for phrase in phrases for choice in phrase.strip("{}").split("|")]
                assert any(choice.lower() in text.lower() for choice in choices)
                assert text[0].isupper()
                assert text.endswith(".")


def test_a_topic_is_named_in_all_its_questions_and_statements_and_no_falsehood_is_a_value():
    for topic in TOPICS:
        words = [set(re.findall(r"[a-z]+", phrase.lower())) for phrase in (*topic.questions, *topic.statements)]
        assert set.intersection(*words) - {"the", "subject", "value"}
        assert not set(topic.values) & set(FALSEHOODS)


@pytest.mark.parametrize(("parts", "text"), [(["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")])
def test_enumerations(parts, text):
    assert enumeration(parts) == text
