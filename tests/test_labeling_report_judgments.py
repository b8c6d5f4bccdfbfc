"""Judgments are matched by the texts that were judged, however the rows have them."""

import numpy as np
import pytest
from label_cases import mirrored, record

from rmjax.labeling.report.judgments import tabulate, votes_of
from rmjax.preferences.record import Message, Side, Source


def records(seed: int = 0) -> list:
    rng = np.random.default_rng(seed)
    names = ["ann", "ben", None]
    return [
        record(
            f"prompt {index % 9}",
            *(
                (one, other, float(rng.choice([0, 0.25, 0.5, 1])), names[rng.integers(3)])
                for one, other in ("ab", "bc")
            ),
            source=list(Source)[index % 2],
            shown_first=rng.choice([None, Side.LEFT, Side.RIGHT]),
            seconds=float(index),
        )
        for index in range(30)
    ]


def as_set(preferences) -> set:
    """What the judgments say, without the numbers that pairs and people have."""
    table = tabulate(preferences)["helpfulness"]
    return {
        (
            table.probability[row],
            table.first[row],
            table.seconds[row],
            table.sources[table.source[row]],
            table.annotators[table.annotator[row]] if table.annotator[row] >= 0 else None,
        )
        for row in range(len(table))
    }


@pytest.mark.parametrize("seed", range(4))
def test_neither_the_order_of_rows_nor_that_of_responses_matters(seed):
    found = records(seed)
    assert as_set([mirrored(one) for one in found]) == as_set(found) == as_set(found[::-1])


@pytest.mark.parametrize("seed", range(4))
def test_pairs_are_the_same_where_prompt_and_both_texts_are(seed):
    found = records(seed)
    table = tabulate(found + [mirrored(one) for one in found])["helpfulness"]
    half = len(table) // 2
    assert sorted(table.pair[:half]) == sorted(table.pair[half:])
    assert len(set(table.pair)) == len({(one.prompt, pair) for one in found for pair in ("ab", "bc")})


def test_which_response_is_left_has_nothing_to_do_with_which_was_chosen():
    chosen = [record(str(index), (f"good {index}", f"bad {index}", 1.0, None)) for index in range(2000)]
    assert np.mean(tabulate(chosen)["helpfulness"].probability) == pytest.approx(0.5, abs=0.05)


def test_names_of_different_sources_are_different_people_and_texts_and_messages_differ():
    people = [record("p", ("a", "b", 1.0, "x"), source=source) for source in (Source.HUMAN, Source.AI)]
    assert len(set(tabulate(people)["helpfulness"].annotator)) == 2
    said = (Message(role="user", content="p"),)
    told = record("p", ("a", "b", 1.0, "x"))
    messages = type(told)(
        prompt=said,
        responses=tuple((Message(role="assistant", content=text),) for text in "ab"),
        comparisons=told.comparisons,
        dimension=told.dimension,
        source=told.source,
    )
    assert len(set(tabulate([told, messages])["helpfulness"].pair)) == 2


def test_an_annotator_has_one_vote_for_a_pair_and_each_unnamed_one():
    told = record("p", ("a", "b", 1.0, "x"), ("a", "b", 0.5, "x"), ("b", "a", 1.0, None), ("a", "b", 0.0, None))
    table = tabulate([told])["helpfulness"]
    votes = votes_of(table)
    flip = table.left[0] != 0  # the hash may have b on the left
    found = sorted(zip(votes.annotator.tolist(), votes.probability.tolist(), strict=True))
    assert found == ([(-1, 1.0), (-1, 1.0), (0, 0.25)] if flip else [(-1, 0.0), (-1, 0.0), (0, 0.75)])


def test_dimensions_stay_apart():
    told = record("p", ("a", "b", 1.0, "x"))
    other = type(told)(
        prompt="p", responses=("a", "b"), comparisons=told.comparisons, dimension="brevity", source=told.source
    )
    tables = tabulate([told, other])
    assert list(tables) == ["brevity", "helpfulness"]
    assert [len(table) for table in tables.values()] == [1, 1]


def test_gold_answers_are_found_whatever_the_order_and_on_their_dimension_alone():
    told = record("p", ("a", "b", 1.0, "x"), ("b", "c", 0.0, "x"), ("a", "c", 0.0, "x"))
    gold = mirrored(record("p", ("a", "b", 1.0, None), ("b", "c", 1.0, None)))
    table = tabulate([told], [gold])["helpfulness"]
    right = (1 - np.sign(table.probability - 0.5)).astype(int) == table.gold
    assert right.tolist() == [True, False, False]
    assert (table.gold >= 0).tolist() == [True, True, False]
    other = type(told)(
        prompt="p", responses=told.responses, comparisons=told.comparisons, dimension="brevity", source=told.source
    )
    assert (tabulate([other], [gold])["brevity"].gold == -1).all()
