"""Every rule gives each pair at most once; each keeps its promise about which come first."""

import collections
import dataclasses
import itertools

import numpy as np
import pytest

from rmjax.config import ConfigError
from rmjax.errors import UserError
from rmjax.labeling.pairing import PairRule, choose_pairs, to_judge
from rmjax.preferences.record import Comparison
from rmjax.preferences.tasks import Task


def task(count: int, name: str = "t", rewards=None) -> Task:
    responses = tuple(f"response {place}" for place in range(count))
    return Task(id=name, prompt="q", responses=responses, origin=f"tasks.jsonl, {name}",
                rewards=list(rewards) if isinstance(rewards, tuple) else rewards)  # fmt: skip


@pytest.mark.parametrize("rule", PairRule)
@pytest.mark.parametrize("count", [2, 3, 4, 5, 8, 9])
def test_without_a_budget_every_pair_comes_once(rule, count):
    one = task(count, rewards=tuple(float(place) for place in range(count)))
    pairs = [(pair.left, pair.right) for pair in choose_pairs([one], rule)]
    assert sorted(pairs) == list(itertools.combinations(range(count), 2))


@pytest.mark.parametrize("count", range(2, 12))
def test_a_round_robin_has_each_response_about_equally_often_wherever_it_ends(count):
    for budget, name in itertools.product(range(1, count * (count - 1) // 2 + 1), "abc"):
        pairs = choose_pairs([task(count, name)], PairRule.ROUND_ROBIN, per_task=budget)
        seen = collections.Counter(itertools.chain.from_iterable((pair.left, pair.right) for pair in pairs))
        times = [seen[place] for place in range(count)]
        assert len(pairs) == budget
        assert max(times) - min(times) <= (1 if count % 2 == 0 else 2)


def test_a_round_robin_favours_no_place_and_is_the_same_again():
    tasks = [task(4, f"task {number}") for number in range(600)]
    pairs = choose_pairs(tasks, PairRule.ROUND_ROBIN, per_task=1)
    assert pairs == choose_pairs(tasks, PairRule.ROUND_ROBIN, per_task=1)
    counts = collections.Counter((pair.left, pair.right) for pair in pairs)
    assert len(counts) == 6
    assert min(counts.values()) > 60  # 100 each on average, with a standard deviation of 9


@pytest.mark.parametrize("rule", [PairRule.ALL, PairRule.ROUND_ROBIN])
def test_no_task_has_its_second_pair_before_all_have_their_first(rule):
    pairs = choose_pairs([task(3, "a"), task(2, "b"), task(4, "c")], rule)
    assert [pair.task.id for pair in pairs[:6]] == ["a", "b", "c", "a", "c", "a"]


def test_the_least_sure_pairs_come_first_over_all_tasks():
    rng = np.random.default_rng(0)
    tasks = [task(5, f"task {number}", tuple(rng.normal(size=5).tolist())) for number in range(20)]

    def difference(pair):
        return abs(pair.task.rewards[pair.left] - pair.task.rewards[pair.right])

    pairs = choose_pairs(tasks, PairRule.LEAST_SURE, per_task=3)
    differences = [difference(pair) for pair in pairs]
    assert differences == sorted(differences)
    for one in tasks:
        every = sorted(abs(a - b) for a, b in itertools.combinations(one.rewards, 2))
        assert [difference(pair) for pair in pairs if pair.task == one] == every[:3]


def test_a_model_goes_before_the_rows_own_rewards():
    one, sure = task(3, rewards=(0.0, 0.1, 9.0)), [[0.0, 3.0, 2.0], [3.0, 0.0, 1.0], [2.0, 1.0, 0.0]]
    pairs = choose_pairs([one], PairRule.LEAST_SURE, per_task=2, sureness=lambda tasks: [sure for _ in tasks])
    assert [(pair.left, pair.right) for pair in pairs] == [(1, 2), (0, 2)]


def test_what_cannot_be_chosen_is_an_error():
    with pytest.raises(ConfigError, match=r"--pairs_per_task is 2; .* left out with --pairs=all"):
        choose_pairs([task(3)], PairRule.ALL, per_task=2)
    with pytest.raises(UserError, match=r"tasks.jsonl, t: --pairs=least_sure needs a reward"):
        choose_pairs([task(3)], PairRule.LEAST_SURE)


@pytest.mark.parametrize(("rewards", "message"), [
    ((1.0, float("nan"), 2.0), r"'rewards\[1\]': not finite: found nan"),
    ((1.0, 2.0), r"'rewards': wrong length: found 2 values; right would be 3 finite numbers"),
    ((1.0, None, 2.0), r"'rewards\[1\]': wrong type: found null"),
    (({"h": 1.0},) * 3, r"'rewards\[0\]': wrong type: found \{'h': 1.0\}"),
    ("high", r"'rewards': wrong type: found 'high'"),
])  # fmt: skip
def test_rewards_that_are_no_numbers_are_an_error_where_they_alone_choose_and_nowhere_else(rewards, message):
    one, sure = task(3, rewards=rewards), [[0.0] * 3] * 3
    with pytest.raises(UserError, match=f"tasks.jsonl, t: field {message}"):
        choose_pairs([one], PairRule.LEAST_SURE)
    assert len(choose_pairs([one], PairRule.LEAST_SURE, sureness=lambda tasks: [sure])) == 3
    assert len(choose_pairs([one], PairRule.ALL)) == len(choose_pairs([one], PairRule.ROUND_ROBIN)) == 3


@pytest.mark.parametrize("rule", PairRule)
@pytest.mark.parametrize("seed", range(5))
def test_every_rule_chooses_among_the_pairs_that_were_compared(rule, seed):
    rng = np.random.default_rng(seed)
    every = list(itertools.permutations(range(5), 2))
    judged = [every[place] for place in rng.integers(0, len(every), size=6)]
    compared = tuple(Comparison(left=left, right=right, weight=0.5) for left, right in judged)
    one = dataclasses.replace(task(5, rewards=tuple(rng.normal(size=5).tolist())), compared=compared)
    pairs = [(pair.left, pair.right) for pair in choose_pairs([one], rule)]
    assert len(pairs) == len({frozenset(pair) for pair in pairs})
    assert {frozenset(pair) for pair in pairs} == {frozenset(pair) for pair in judged}
    assert set(pairs) <= set(judged)


@pytest.mark.parametrize("rule", PairRule)
def test_what_a_labeler_is_given_are_the_chosen_pairs_at_the_weight_of_the_task(rule):
    tasks = [task(4, name, rewards=(0.0, 0.1 * place, 3.0, 9.0)) for place, name in enumerate("ababc")]
    budget = None if rule is PairRule.ALL else 2
    pairs = choose_pairs(tasks, rule, per_task=budget)
    given = to_judge(pairs, "wit")
    assert len(given) == len(tasks)  # equal tasks stay apart
    assert {one.dimension for one in given} == {"wit"}
    assert {len(one.comparisons) for one in given} == {budget or 6}
    assert [sum(comparison.weight for comparison in one.comparisons) for one in given] == pytest.approx([1.0] * 5)
    if rule is PairRule.LEAST_SURE:
        assert [one.origin[-1] for one in given] == ["a", "b", "a", "b", "c"]
    assert sorted((one.left, one.right) for preference in given for one in preference.comparisons) == sorted(
        (pair.left, pair.right) for pair in pairs
    )


@pytest.mark.parametrize("rule", PairRule)
@pytest.mark.parametrize("seed", range(5))
def test_held_pairs_are_not_chosen_again_and_leave_the_order_of_the_others(rule, seed):
    rng = np.random.default_rng(seed)
    tasks = [task(4, name, tuple(rng.normal(size=4).tolist())) for name in "abc"]
    every = choose_pairs(tasks, rule)
    there = [pair for pair in every if rng.random() < 0.5 or pair.task.id == "b"]
    held = {name: {(pair.left, pair.right) for pair in there if pair.task.id == name} for name in "ab"}
    rest = choose_pairs(tasks, rule, held=held)
    free = [pair for pair in every if (pair.left, pair.right) not in held.get(pair.task.id, ())]
    for name in "abc":
        assert [pair for pair in rest if pair.task.id == name] == [pair for pair in free if pair.task.id == name]
    if rule is PairRule.LEAST_SURE:
        assert rest == free
    if rule is not PairRule.ALL:
        chosen = [pair for pair in choose_pairs(tasks, rule, per_task=2, held=held) if pair.task.id == "a"]
        assert chosen == [pair for pair in free if pair.task.id == "a"][:2]


def test_a_held_pair_is_known_either_way_round_and_no_model_is_asked_where_none_is_free():
    compared = (Comparison(left=2, right=0), Comparison(left=1, right=2))
    one = dataclasses.replace(task(3), compared=compared)
    assert [(pair.left, pair.right) for pair in choose_pairs([one], PairRule.ALL, held={"t": {(0, 2)}})] == [(1, 2)]
    held = {"t": {(0, 2), (1, 2)}}
    assert choose_pairs([one], PairRule.LEAST_SURE, held=held) == []  # it has no rewards, and needs none
