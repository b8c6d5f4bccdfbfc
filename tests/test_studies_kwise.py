"""What the rankings are counted at, and that the figure is drawn."""

import json

import pytest
from matplotlib.colors import to_rgba

from rmjax.labeling.simulated.ranking import SimulatedRanker
from rmjax.pictures import BLUE, ORANGE
from studies.kwise import COMPARISONS, PAIRS, RANKED, TIME, Arm, arms, comparisons_of, cost, drawn, picture
from studies.labeling_time import ranking_seconds
from studies.testbed import judged_truly, unjudged


def test_a_ranking_has_all_pairs_of_its_responses():
    assert [comparisons_of(responses) for responses in RANKED] == [1, 6, 28]


def test_the_arms_of_a_budget_spend_the_same_to_within_one_ranking():
    found = list(arms())
    assert found[0] == Arm(2, COMPARISONS, PAIRS)
    assert {(arm.responses, arm.budget) for arm in found} == {(2, COMPARISONS)} | {
        (responses, budget) for responses in (4, 8) for budget in (COMPARISONS, TIME)
    }
    for arm in found:
        of_one = {COMPARISONS: comparisons_of, TIME: ranking_seconds}[arm.budget]
        assert PAIRS * of_one(2) - of_one(arm.responses) < arm.prompts * of_one(arm.responses) <= PAIRS * of_one(2)


def test_each_prompt_of_a_ranking_weighs_one():
    ranker = SimulatedRanker(dimension="brevity", temperature=0.5)
    for responses in RANKED:
        (ranked,) = map(ranker.judge, unjudged("brevity", count=1, responses=responses))
        assert len(ranked.comparisons) == comparisons_of(responses)
        assert sum(pair.weight for pair in ranked.comparisons) == pytest.approx(1)


def test_the_truth_prefers_the_higher_utility_and_neither_of_equal_ones():
    for entry in judged_truly(unjudged("harmlessness", count=20, responses=4)):
        for pair in entry.comparisons:
            left, right = entry.utilities[pair.left], entry.utilities[pair.right]
            assert pair.probability == (1.0 if left > right else 0.0 if left < right else 0.5)


def test_without_every_pair_only_the_first_two_are_compared():
    (entry,) = unjudged("brevity", count=1, responses=40, every_pair=False)
    assert len(entry.responses) == len(entry.utilities) == 40
    assert [(pair.left, pair.right, pair.weight) for pair in entry.comparisons] == [(0, 1, 1.0)]


def test_the_cost_is_that_of_the_middle_step_in_tokens_and_of_the_quickest_tenth_in_time(tmp_path):
    steps = [{"comparisons_per_second": float(rate), "tokens_per_second": 20.0 * rate} for rate in range(100, 201, 10)]
    steps[0]["tokens_per_second"] = 1e6  # one odd step
    lines = [{"step": 1, "loss": 0.7}, *steps, {"validation_accuracy": 0.8}]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert cost(tmp_path) == pytest.approx({"tokens_per_comparison": 20.0, "milliseconds_per_comparison": 1000 / 190})


def rows_of(accuracy):
    """Two seeds of each arm, the second with 0.02 more of it and twice the time."""
    return [
        {
            **arm._asdict(),
            "accuracy": accuracy[arm.responses, arm.budget] + 0.02 * (seed - 1),
            "accuracy_low": 0.7,
            "accuracy_high": 0.99,
            "tokens_per_comparison": 100 / arm.responses,
            "milliseconds_per_comparison": 4 * seed / arm.responses,
        }
        for arm in arms()
        for seed in (1, 2)
    ]


def test_the_figure_has_a_line_for_each_budget_which_begin_at_pairs_and_the_least_cost():
    accuracy = {(2, COMPARISONS): 0.85, (4, COMPARISONS): 0.8, (8, COMPARISONS): 0.75, (4, TIME): 0.9, (8, TIME): 0.92}
    rows = rows_of(accuracy)
    lines, tokens, milliseconds = drawn(rows).axes
    found = {line.get_label(): line for line in lines.get_lines() if line.get_label() in (COMPARISONS, TIME)}
    assert found[COMPARISONS].get_ydata() == pytest.approx([0.86, 0.81, 0.76])
    assert found[TIME].get_ydata() == pytest.approx([0.86, 0.91, 0.93])
    assert [to_rgba(found[budget].get_color()) for budget in (COMPARISONS, TIME)] == [to_rgba(BLUE), to_rgba(ORANGE)]
    assert {text.get_text() for text in lines.get_legend().get_texts()} == {COMPARISONS, TIME}
    for axes, heights in ((tokens, [50, 25, 12.5]), (milliseconds, [2, 1, 0.5])):
        assert [bar.get_height() for bar in axes.patches] == pytest.approx(heights)
        assert [label.get_text() for label in axes.get_xticklabels()] == ["2", "4", "8"]
    assert picture(rows).startswith(b"\x89PNG")
