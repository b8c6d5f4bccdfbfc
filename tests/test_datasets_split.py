"""The laws of the split by prompt."""

import random

import pytest

from rmjax.config import ConfigError
from rmjax.datasets.split import split_by_prompt
from rmjax.preferences.record import Comparison, Message, Preference, Source, Text


def preference(prompt: Text, tag: str = "") -> Preference:
    kind = isinstance(prompt, str)
    responses: tuple[Text, ...] = tuple(
        text if kind else (Message(role="assistant", content=text),) for text in (f"good {tag}", f"bad {tag}")
    )
    return Preference(
        prompt=prompt,
        responses=responses,
        comparisons=(Comparison(left=0, right=1),),
        dimension="helpfulness",
        source=Source.HUMAN,
    )


def prompts_of(preferences: tuple[Preference, ...]) -> set[Text]:
    return {entry.prompt for entry in preferences}


def some_preferences(count: int) -> list[Preference]:
    """``count`` prompts, plain and as messages, with one to three preferences each."""
    entries = []
    for number in range(count):
        text = f"question {number} – ü"
        prompt = text if number % 2 else (Message(role="user", content=text),)
        entries += [preference(prompt, f"{number}.{copy}") for copy in range(number % 3 + 1)]
    return entries


@pytest.mark.parametrize("seed", [0, 1, 2**40])
@pytest.mark.parametrize("fraction", [0.1, 0.5])
def test_no_prompt_on_both_sides_and_nothing_lost(seed, fraction):
    entries = some_preferences(200)
    train, validation = split_by_prompt(entries, fraction, seed=seed)
    assert not prompts_of(train) & prompts_of(validation)
    held_out = set(map(id, validation))
    assert [id(entry) for entry in entries if id(entry) not in held_out] == [id(entry) for entry in train]
    assert len(train) + len(validation) == len(entries)


@pytest.mark.parametrize("seed", [0, 7])
def test_order_and_other_rows_move_no_prompt(seed):
    entries = some_preferences(200)
    validation = prompts_of(split_by_prompt(entries, 0.3, seed=seed)[1])
    shuffled = entries.copy()
    random.Random(seed).shuffle(shuffled)
    assert prompts_of(split_by_prompt(shuffled, 0.3, seed=seed)[1]) == validation
    half = entries[: len(entries) // 2]
    assert prompts_of(split_by_prompt(half, 0.3, seed=seed)[1]) == validation & prompts_of(tuple(half))


def test_a_larger_fraction_only_adds_to_validation():
    entries = some_preferences(300)
    small, large = (prompts_of(split_by_prompt(entries, fraction, seed=3)[1]) for fraction in (0.1, 0.4))
    assert small < large


def test_share_is_the_fraction_and_seeds_differ():
    entries = [preference(f"prompt {number}") for number in range(4000)]
    chosen = [prompts_of(split_by_prompt(entries, 0.25, seed=seed)[1]) for seed in range(3)]
    for prompts in chosen:  # four standard deviations of a binomial
        assert abs(len(prompts) / 4000 - 0.25) < 4 * (0.25 * 0.75 / 4000) ** 0.5
    overlap = len(chosen[0] & chosen[1]) / len(chosen[0])
    assert abs(overlap - 0.25) < 0.06


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, 1.5, float("nan")])
def test_fraction_outside_is_refused(fraction):
    with pytest.raises(ConfigError, match="between 0 and 1"):
        split_by_prompt(some_preferences(10), fraction, seed=0)


@pytest.mark.parametrize("fraction", [0.3, 0.7])
def test_empty_side_is_refused(fraction):
    with pytest.raises(ConfigError, match=r"leaves no (training|validation) preferences out of 3 on 1 different"):
        split_by_prompt([preference("the same")] * 3, fraction, seed=0)
