"""A ranking is one order of all responses, drawn by the model of Plackett and Luce."""

import itertools
import math
from collections import Counter

import pytest

from rmjax.labeling.labeler import Labeler
from rmjax.labeling.simulated.ranking import SimulatedRanker
from rmjax.preferences.record import Comparison, Preference, Source

UTILITIES = (0.4, -0.3, 1.1, 0.0)
RANKER = SimulatedRanker(dimension="brevity", temperature=0.5, annotator="ann")


def record(utilities: tuple[float, ...] | None = UTILITIES, prompt: str = "q") -> Preference:
    pairs = list(itertools.combinations(range(4), 2))
    return Preference(
        prompt=prompt,
        responses=("a", "b", "c", "d"),
        comparisons=tuple(Comparison(left=left, right=right, weight=1 / len(pairs)) for left, right in pairs),
        dimension="brevity",
        source=Source.HUMAN,
        utilities=utilities,
        origin="here",
    )


def wins(judged: Preference) -> tuple[int, ...]:
    won = Counter(dict.fromkeys(range(len(judged.responses)), 0))
    for entry in judged.comparisons:
        won[entry.left if entry.probability == 1.0 else entry.right] += 1
    return tuple(won[place] for place in range(len(judged.responses)))


def test_the_pairs_of_a_ranking_never_contradict_each_other():
    assert isinstance(RANKER, Labeler)
    for place in range(50):
        judged = RANKER.judge(record(prompt=f"q{place}"))
        assert sorted(wins(judged)) == [0, 1, 2, 3]
        assert {entry.weight for entry in judged.comparisons} == {1 / 6}
        assert {entry.annotator for entry in judged.comparisons} == {"ann"}
        assert judged.source is Source.SIMULATED


def test_the_orders_have_the_probabilities_of_plackett_and_luce():
    count = 4000
    drawn = Counter(wins(RANKER.judge(record(prompt=f"q{place}"))) for place in range(count))
    for order in itertools.permutations(range(4)):  # the best first
        strengths = [math.exp(UTILITIES[place] / 0.5) for place in order]
        expected = math.prod(strength / sum(strengths[step:]) for step, strength in enumerate(strengths))
        found = drawn[tuple(3 - order.index(place) for place in range(4))] / count
        assert abs(found - expected) < 5 * math.sqrt(expected * (1 - expected) / count) + 1 / count


def test_a_pair_by_itself_has_its_stated_probability():
    judged = [RANKER.judge(record(prompt=f"q{place}")) for place in range(4000)]
    for place, first in enumerate(judged[0].comparisons):
        difference = UTILITIES[first.left] - UTILITIES[first.right]
        assert first.true_probability == pytest.approx(1 / (1 + math.exp(-difference / 0.5)))
        share = sum(one.comparisons[place].probability for one in judged) / len(judged)
        assert abs(share - first.true_probability) < 5 * 0.5 / math.sqrt(len(judged))


def test_what_stands_beside_a_response_changes_nothing_and_another_seed_is_another_person():
    whole = RANKER.judge(record())
    pair = Preference(
        prompt="q",
        responses=("c", "a"),
        comparisons=(Comparison(left=1, right=0),),
        dimension="brevity",
        source=Source.HUMAN,
        utilities=(UTILITIES[2], UTILITIES[0]),
    )
    (alone,) = RANKER.judge(pair).comparisons
    (same,) = (entry for entry in whole.comparisons if (entry.left, entry.right) == (0, 2))
    assert alone.probability == same.probability
    other = SimulatedRanker(dimension="brevity", temperature=0.5, seed=1)
    assert any(
        wins(other.judge(record(prompt=f"q{i}"))) != wins(RANKER.judge(record(prompt=f"q{i}"))) for i in range(9)
    )


def test_what_cannot_be_ranked_is_said():
    with pytest.raises(ValueError, match="here: a simulated labeler of brevity needs the true utilities"):
        RANKER.judge(record(None))
    with pytest.raises(ValueError, match=r"temperature is 0\.0; it must be a finite number above 0"):
        SimulatedRanker(dimension="brevity", temperature=0.0)
