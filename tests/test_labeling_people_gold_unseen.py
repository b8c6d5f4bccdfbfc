"""Annotators can't tell which pairs are gold: not by what the page says of progress, and not by comparing notes."""

import itertools
import re

import pytest
from labeling_cases import Annotator, Clock, make_store, make_tasks

from rmjax.labeling.people.gold import GoldPair
from rmjax.labeling.people.handing import Answer, Progress, Rules, enter, hand_out, judge
from rmjax.labeling.people.page import PageSettings
from rmjax.preferences.record import Side
from rmjax.preferences.tasks import Task

NAMES = ("mia", "ben", "zoë")
GOLD = tuple(
    GoldPair(task=Task(id=f"gold:{n}", prompt=f"Question {100 + n}?", responses=("Answer 1", "Answer 2")),
             answer=Side.LEFT)
    for n in range(20)
)  # fmt: skip


@pytest.fixture
def clock():
    return Clock()


def test_no_answer_tells_by_what_the_page_says_next_whether_it_was_to_a_gold_pair(tmp_path, clock):
    """But where the share of all moves, which only those that are no gold pairs do: at every tenth of 20 of them."""
    settings = PageSettings(question="Which?", rules=Rules(gold_rate=0.5))
    mia = Annotator(make_store(tmp_path / "job.sqlite", make_tasks(20), GOLD), settings, clock, "mia")
    count, shares, golden = 0, [], 0
    while "Nothing left" not in mia.page:
        shares.append(int(re.search(r"All: (\d+) %", mia.page)[1]))
        assert f'value="{shares[-1]}">{shares[-1]} %</progress>' in mia.page
        assert not re.search(r"\bof \d", mia.page)
        assert f'<b id="mine">{count}</b> saved' in mia.page
        golden += int(mia.prompt()[9:-1]) >= 100
        mia.judge("first")
        count += 1
    assert golden >= 5
    assert count == 20 + golden
    assert sorted(shares) == shares
    assert set(shares) == {0, 50}
    assert "All: 100 %" in mia.page


def test_gold_pairs_come_to_each_annotator_in_an_order_of_their_own(tmp_path, clock):
    def order(name: str) -> list[str]:
        store = make_store(tmp_path / f"{name}.sqlite", make_tasks(40), GOLD)
        enter(store, name, clock())
        found = []
        for _ in range(len(GOLD)):
            lease = hand_out(store, name, Rules(gold_rate=1.0), clock())
            found.append(lease.task.id)
            judge(store, name, lease.key, Answer.TIE, now=clock())
        return found

    orders = [order(name) for name in NAMES]
    every = [pair.task.id for pair in GOLD]
    assert all(sorted(one) == sorted(every) for one in orders)
    assert len({tuple(one) for one in [*orders, every]}) == 4


@pytest.mark.parametrize("wanted", [1, 9, 20, 82, 199, 200, 201, 5000])
def test_the_share_of_all_moves_rarely_and_is_100_only_in_the_end(wanted):
    def share(judged: int) -> int:
        return Progress(judged=judged, wanted=wanted, mine=0, skipped=0, median_seconds=None, last=None).percent

    shares = [share(judged) for judged in range(wanted + 1)]
    assert shares[-1] == 100 > max(shares[:-1])
    assert all(100 * judged / wanted >= said for judged, said in enumerate(shares))
    moves = [judged for judged in range(1, wanted + 1) if shares[judged] != shares[judged - 1]]
    between = [later - earlier for earlier, later in itertools.pairwise([0, *moves[:-1]])]
    assert all(max(10, wanted / 20) <= steps < max(11, wanted / 20 + 1) for steps in between)
