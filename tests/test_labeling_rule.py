"""A rule judges by its measure alone, keeps the pairs, and calls what is equal a tie."""

import math

import numpy as np
import pytest

from rmjax.errors import UserError
from rmjax.labeling.labeler import LABELERS, Labeler, find_labeler
from rmjax.labeling.rule import BREVITY, RuleLabeler, brevity, characters, matches
from rmjax.preferences.record import Comparison, Message, Preference, Side, Source


def random_preference(seed: int) -> Preference:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(2, 6))
    pairs = [(left, right) for left in range(count) for right in range(count) if left != right]
    chosen = rng.permutation(len(pairs))[: int(rng.integers(1, len(pairs) + 1))]
    return Preference(
        prompt="a question",
        responses=tuple("é" * int(rng.integers(0, 30)) + str(index) for index in range(count)),
        comparisons=tuple(
            Comparison(
                left=left, right=right, probability=0.3, margin=2.0, weight=0.25, annotator="w", true_probability=0.4
            )
            for left, right in (pairs[index] for index in chosen)
        ),
        dimension="helpfulness",
        source=Source.HUMAN,
        utilities=tuple(float(index) for index in range(count)),
        origin="rows.jsonl, line 7",
    )


@pytest.mark.parametrize("seed", range(10))
def test_the_pairs_stay_and_the_judgments_are_new(seed):
    before = random_preference(seed)
    after = BREVITY.judge(before)
    assert (after.prompt, after.responses, after.origin) == (before.prompt, before.responses, before.origin)
    assert (after.dimension, after.source, after.utilities) == ("brevity", Source.RULE, None)
    assert len(after.comparisons) == len(before.comparisons)
    for old, new in zip(before.comparisons, after.comparisons, strict=True):
        left, right = len(before.responses[old.left]), len(before.responses[old.right])
        assert new == Comparison(
            left=old.left, right=old.right, weight=old.weight, probability=0.5 if left == right else float(left < right)
        )


@pytest.mark.parametrize(("dimension", "kept"), [("brevity", Side.RIGHT), ("helpfulness", None)])
def test_a_known_answer_stays_with_its_dimension(dimension, kept):
    known = Preference(
        prompt="q", responses=("much longer", "short"), comparisons=(Comparison(left=0, right=1),),
        dimension=dimension, source=Source.HUMAN, known_answer=Side.RIGHT,
    )  # fmt: skip
    assert BREVITY.judge(known).known_answer is kept


@pytest.mark.parametrize("seed", range(5))
def test_swapping_the_sides_gives_the_other_probability(seed):
    before = random_preference(seed)
    swapped = Preference(
        prompt=before.prompt,
        responses=before.responses,
        comparisons=tuple(Comparison(left=old.right, right=old.left) for old in before.comparisons),
        dimension=before.dimension,
        source=before.source,
    )
    there, back = BREVITY.judge(before).comparisons, BREVITY.judge(swapped).comparisons
    assert [one.probability for one in there] == [1 - one.probability for one in back]


@pytest.mark.parametrize(("margin", "probability"), [(0.0, 1.0), (1.0, 1.0), (2.0, 0.5), (3.0, 0.5)])
def test_measures_within_the_tie_margin_are_a_tie(margin, probability):
    labeler = RuleLabeler(dimension="length", measure=lambda prompt, response: len(response), tie_margin=margin)
    record = Preference(
        prompt="q",
        responses=("four", "si"),
        comparisons=(Comparison(left=0, right=1), Comparison(left=1, right=0)),
        dimension="x",
        source=Source.AI,
    )
    assert [one.probability for one in labeler.judge(record).comparisons] == [probability, 1 - probability]


def test_a_measure_that_is_no_number_is_an_error_with_its_place():
    labeler = RuleLabeler(dimension="length", measure=lambda prompt, response: math.nan)
    with pytest.raises(ValueError, match=r"rows.jsonl, line 7: the rule for length measures response 0 as nan"):
        labeler.judge(random_preference(0))


def test_messages_count_the_characters_of_their_contents():
    assert characters((Message(role="assistant", content="ab"), Message(role="user", content="é"))) == 3


def test_labelers_are_found_by_name_and_a_wrong_name_lists_them():
    labeler: Labeler = find_labeler("brevity")
    assert labeler is LABELERS["brevity"] is BREVITY
    with pytest.raises(ValueError, match=r"no labeler 'brevty'; the labelers are .*brevity"):
        find_labeler("brevty")


def judged(labeler: RuleLabeler, *responses: str) -> float:
    record = Preference(
        prompt="q", responses=responses, comparisons=(Comparison(left=0, right=1),), dimension="x", source=Source.HUMAN
    )
    return labeler.judge(record).comparisons[0].probability


def test_brevity_counts_what_it_is_told_to():
    assert judged(brevity(), "one two", "incomprehensible") == 1.0
    assert judged(brevity(count=lambda text: len(str(text).split())), "one two", "incomprehensible") == 0.0
    assert judged(brevity(tie_margin=9.0), "one two", "incomprehensible") == 0.5
    assert brevity(dimension="shortness").dimension == "shortness"


@pytest.mark.parametrize("unwanted", [False, True])
def test_a_pattern_is_counted_in_every_message(unwanted):
    labeler = matches(r"\bplease\b", dimension="politeness", unwanted=unwanted)
    assert judged(labeler, "please, please", "please") == float(not unwanted)
    assert judged(labeler, "pleased", "x") == 0.5
    messages = tuple(Message(role=role, content="please") for role in ("assistant", "user", "assistant"))
    assert abs(labeler.measure("q", messages)) == 3


def test_what_is_no_expression_and_no_margin_is_named():
    with pytest.raises(UserError, match=r"'\(' is no regular expression: .*; right would be one of Python's"):
        matches("(", dimension="d")
    for margin in (-1.0, math.nan, math.inf):
        with pytest.raises(UserError, match=f"tie_margin is {margin}"):
            brevity(tie_margin=margin)
