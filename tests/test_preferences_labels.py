"""Laws of what labels become before they are learned from."""

import dataclasses
import itertools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from label_cases import record

from rmjax.batches.batch import PreferenceBatch
from rmjax.config import ConfigError, LossConfig
from rmjax.labels_config import MARGINS, SOURCES, STRENGTHS, LabelsConfig, Several, margins_of
from rmjax.preferences.labels import (
    agreed_on,
    agreement,
    as_one,
    check_annotators,
    learned_from,
    weighted,
    with_margins,
)
from rmjax.preferences.merge import merge_prompts
from rmjax.preferences.record import Comparison, Preference, Source, Strength
from rmjax.training.loss import pairwise_loss

NAMES = ("ann", "ben", "cem", None)


def judged(seed: int, prompts: int = 12, responses: int = 4) -> tuple[Preference, ...]:
    """Random judgments of random pairs of a few prompts, in rows of their own, with left and right in any order."""
    rng = np.random.default_rng(seed)
    found = []
    for place in range(6 * prompts):
        left, right = rng.choice(responses, size=2, replace=False).tolist()
        probability = float(rng.choice([0.0, 0.3, 0.5, 0.8, 1.0]))
        comparison = Comparison(
            left=0,
            right=1,
            probability=probability,
            weight=float(rng.choice([0.5, 1.0, 1 / 3])),
            annotator=NAMES[rng.integers(4)],
            strength=None if rng.random() < 0.3 else list(Strength)[rng.integers(3)],
            seconds=3.0,
        )
        found.append(
            Preference(
                prompt=f"prompt {place % prompts}",
                responses=(f"response {left}", f"response {right}"),
                comparisons=(comparison,),
                dimension="helpfulness",
                source=(Source.HUMAN, Source.AI)[int(rng.integers(2))],
                origin=f"row {place}",
            )
        )
    return tuple(found)


def said(preferences: Sequence[Preference]) -> dict[tuple, list[Comparison]]:
    """The judgments of each source, prompt and pair of texts, turned so that the alphabetically first is left."""
    found: dict[tuple, list[Comparison]] = {}
    for preference in preferences:
        for one in preference.comparisons:
            left, right = preference.responses[one.left], preference.responses[one.right]
            if left > right:
                one = dataclasses.replace(one, probability=1 - one.probability, margin=-one.margin)
            key = (preference.source, preference.prompt, *sorted((left, right)))
            found.setdefault(key, []).append(dataclasses.replace(one, left=0, right=1))
    return found


def test_the_words_of_the_config_are_those_of_the_record():
    assert tuple(word.value for word in Strength) == STRENGTHS
    assert tuple(source.value for source in Source) == SOURCES


def test_by_default_nothing_changes():
    found = judged(0)
    assert learned_from(found, LabelsConfig()) == found


def test_llama_2s_tables():
    small, large = (margins_of(LabelsConfig(margins=(name,))) for name in ("llama2_small", "llama2_large"))
    assert list(small.values()) == pytest.approx([1 / 3, 2 / 3, 1])
    assert list(large.values()) == [1, 2, 3]
    assert margins_of(LabelsConfig(margins=("much=3", "slightly=1", "clearly=2"))) == MARGINS["llama2_large"]


@pytest.mark.parametrize("seed", range(4))
def test_a_margin_is_that_of_the_strength_towards_the_preferred(seed):
    before = judged(seed)
    after = with_margins(before, dict(zip(Strength, (1.0, 2.0, 3.0), strict=True)))
    for old, new in zip(before, after, strict=True):
        one, margin = old.comparisons[0], new.comparisons[0].margin
        if one.strength is None or one.probability == 0.5:
            assert margin == 0
        else:
            assert margin == list(Strength).index(one.strength) + 1 if one.probability > 0.5 else margin < 0
        assert dataclasses.replace(new.comparisons[0], margin=0) == one


def test_a_margin_of_its_own_stays():
    own = record("p", ("a", "b", 1.0, "x"), margin=0.25, strength=Strength.MUCH)
    assert with_margins([own], dict.fromkeys(Strength, 2.0)) == (own,)


@pytest.mark.parametrize("seed", range(4))
def test_weights_are_multiplied_and_zero_leaves_out(seed):
    before = judged(seed)
    after = said(weighted(before, {"ann": 0.5, "ben": 0.0}, {"ai": 3.0}))
    expected = {}
    for key, ones in said(before).items():
        kept = [one for one in ones if one.annotator != "ben"]
        factor = 3.0 if key[0] is Source.AI else 1.0
        weights = [one.weight * factor * (0.5 if one.annotator == "ann" else 1) for one in kept]
        if kept:
            expected[key] = weights
    assert {key: [one.weight for one in ones] for key, ones in after.items()} == expected


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("least", [0.4, 0.6, 1.0])
def test_what_few_agree_on_is_left_out_and_all_else_stays(seed, least):
    before = judged(seed)
    expected = {}
    for key, ones in said(before).items():
        verdicts = [np.sign(one.probability - 0.5) for one in ones]
        if max(map(verdicts.count, verdicts)) / len(ones) >= least:
            expected[key] = ones
    assert said(agreed_on(before, least)) == expected
    assert 0 < len(expected) <= len(said(before))


def test_agreement_of_perfect_chance_and_reversed_judgments():
    def pair(*probabilities: float) -> list[Comparison]:
        return [Comparison(left=0, right=1, probability=probability) for probability in probabilities]

    assert agreement(pair(1, 1, 0.9)) == 1
    assert agreement(pair(1, 0)) == 0.5
    assert agreement(pair(1, 0, 0.5)) == pytest.approx(1 / 3)
    assert agreement([*pair(1), Comparison(left=1, right=0, probability=0.0)]) == 1
    assert agreed_on([record("p", ("a", "b", 1.0, "x"), ("b", "a", 1.0, "y"))], 0.6) == ()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("several", [Several.MAJORITY, Several.MEAN])
def test_one_comparison_for_each_pair_and_source_by_the_rule(seed, several):
    before = said(judged(seed))
    after = said(as_one(judged(seed), several, count_judgments=True))
    assert after.keys() == before.keys()
    for key, ones in before.items():
        (one,) = after[key]
        weights = [each.weight for each in ones]
        assert one.weight == pytest.approx(sum(weights))
        if len(ones) == 1:
            assert one == ones[0]
        elif several is Several.MEAN:
            assert one.probability == pytest.approx(np.average([each.probability for each in ones], weights=weights))
        else:
            lead = sum(each.weight * np.sign(each.probability - 0.5) for each in ones)
            assert one.probability == (0.5 if abs(lead) < 1e-9 else float(lead > 0))
        if len(ones) > 1:
            assert (one.annotator, one.strength, one.seconds, one.shown_first) == (None,) * 4
    mean = said(as_one(judged(seed), several, count_judgments=False))
    assert all(mean[key][0].weight == pytest.approx(after[key][0].weight / len(before[key])) for key in before)


@pytest.mark.parametrize("several", [Several.MAJORITY, Several.MEAN])
def test_neither_order_of_the_responses_nor_of_the_judgments_changes_what_one_says(several):
    rows = judged(5)
    swapped = tuple(
        dataclasses.replace(
            one,
            responses=one.responses[::-1],
            comparisons=(dataclasses.replace(one.comparisons[0], left=1, right=0),),
        )
        for one in rows[::-1]
    )
    first, second = (said(as_one(rows, several, count_judgments=True)) for rows in (rows, swapped))
    assert first.keys() == second.keys()
    for key in first:
        one, other = first[key][0], second[key][0]
        assert (one.probability, one.margin, one.weight) == pytest.approx(
            (other.probability, other.margin, other.weight)
        )


def test_a_majority_has_the_margin_of_those_who_win():
    rows = [
        record("p", ("a", "b", 1.0, "x"), margin=1.0),
        record("p", ("b", "a", 0.0, "y"), margin=-3.0),
        record("p", ("b", "a", 1.0, "z"), margin=5.0),
    ]
    (merged,) = as_one(rows, Several.MAJORITY, count_judgments=True)
    assert (merged.comparisons[0].probability, merged.comparisons[0].margin) == (1.0, 2.0)
    (mean,) = as_one(rows, Several.MEAN, count_judgments=True)
    assert mean.comparisons[0].margin == pytest.approx((1 + 3 - 5) / 3)
    (tied,) = as_one(rows[::2], Several.MAJORITY, count_judgments=True)
    assert (tied.comparisons[0].probability, tied.comparisons[0].margin) == (0.5, 0.0)


def gradient(preference: Preference, rewards: jax.Array, smoothing: float) -> jax.Array:
    """Of the loss of one prompt by the rewards of its responses."""
    ones = preference.comparisons
    count = len(preference.responses)

    def column(name: str, kind) -> jax.Array:
        return jnp.array([[getattr(one, name) for one in ones]], kind)

    batch = PreferenceBatch(
        tokens=jnp.zeros((1, 1), jnp.int32),
        positions=jnp.zeros((1, 1), jnp.int32),
        visible_until=jnp.zeros((1, 1), jnp.int32),
        response_end=jnp.zeros((1, count), jnp.int32),
        left=column("left", jnp.int32),
        right=column("right", jnp.int32),
        head=jnp.zeros((1, len(ones)), jnp.int32),
        probability=column("probability", jnp.float32),
        margin=column("margin", jnp.float32),
        weight=column("weight", jnp.float32),
        response_id=jnp.arange(count, dtype=jnp.int32)[None],
        comparison_id=jnp.arange(len(ones), dtype=jnp.int32)[None],
    )
    config = LossConfig(label_smoothing=smoothing)
    return jax.grad(lambda values: pairwise_loss(values[None, :, None], batch, config)[0])(rewards)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_mean_has_the_gradient_of_what_it_stands_for(smoothing):
    kept = merge_prompts(judged(3, prompts=4))
    means = as_one(judged(3, prompts=4), Several.MEAN, count_judgments=True)
    assert sum(len(one.comparisons) for one in means) < sum(len(one.comparisons) for one in kept)
    for one, other in zip(kept, means, strict=True):
        assert one.responses == other.responses
        rewards = jax.random.normal(jax.random.key(1), (len(one.responses),))
        expected = gradient(one, rewards, smoothing)
        assert gradient(other, rewards, smoothing) == pytest.approx(np.asarray(expected), abs=1e-6)


def test_the_config_does_all_in_its_order():
    rows = [
        record("p", ("a", "b", 1.0, "ann"), strength=Strength.MUCH),
        record("p", ("a", "b", 1.0, "ben"), strength=Strength.SLIGHTLY),
        record("p", ("b", "a", 1.0, "cem"), strength=Strength.CLEARLY),
        record("q", ("a", "b", 1.0, "ann"), ("b", "a", 1.0, "ben")),
    ]
    labels = LabelsConfig(
        margins=("llama2_large",),
        annotator_weights=("ann=2", "cem=0"),
        source_weights=("human=0.5",),
        least_agreement=0.6,
        several=Several.MEAN,
    )
    (found,) = learned_from(rows, labels)
    (one,) = found.comparisons
    assert (found.prompt, one.probability, one.weight) == ("p", 1.0, 1.5)
    assert one.margin == pytest.approx((1.0 * 3 + 0.5 * 1) / 1.5)


def test_a_name_that_judged_nothing_is_an_error_that_lists_those_who_did():
    rows = [record("p", ("a", "b", 1.0, "ann"), ("a", "b", 0.0, "ben"))]
    labels = LabelsConfig(annotator_weights=("ann=2", "bne=0"))
    with pytest.raises(ConfigError, match=r"annotator_weights names 'bne', who judged nothing; .*: 'ann', 'ben'$"):
        check_annotators(rows, labels)
    check_annotators(rows, LabelsConfig(annotator_weights=("ann=2", "ben=0")))
    with pytest.raises(ConfigError, match="none, for no judgment says by whom it is"):
        check_annotators([record("p", ("a", "b", 1.0, None))], labels)


def test_sources_and_dimensions_are_never_mixed():
    rows = [record("p", ("a", "b", 1.0, "x"), source=source) for source in (Source.HUMAN, Source.AI, Source.HUMAN)] + [
        dataclasses.replace(record("p", ("a", "b", 0.0, "x")), dimension="brevity")
    ]
    found = as_one(rows, Several.MEAN, count_judgments=True)
    assert [(one.source, one.dimension, one.comparisons[0].weight) for one in found] == [
        (Source.HUMAN, "helpfulness", 2.0),
        (Source.AI, "helpfulness", 1.0),
        (Source.HUMAN, "brevity", 1.0),
    ]
    assert all(len(one.comparisons) == 1 for one in found)
    assert len(list(itertools.chain(*(one.comparisons for one in found)))) == 3
