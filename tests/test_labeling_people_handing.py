"""No pair is in two hands at once, none has more judgments than it should, and what is taken back is judged anew."""

import collections
import sqlite3

import numpy as np
import pytest
from labeling_cases import Clock, make_store, make_tasks

from rmjax.labeling.people.gold import GoldPair
from rmjax.labeling.people.handing import Answer, Rules, Taken, enter, find_progress, hand_out, judge, release, undo
from rmjax.labeling.people.judged import export_judged, read_judged
from rmjax.labeling.people.store import Store
from rmjax.preferences.groups import RowDefaults
from rmjax.preferences.read import read_preferences
from rmjax.preferences.record import Side, Source, Strength
from rmjax.preferences.tasks import Task

NAMES = ("mia", "ben", "zoë")
GOLD = tuple(
    GoldPair(task=Task(id=f"gold:{number}", prompt="q", responses=("good", f"bad {number}")), answer=Side.LEFT)
    for number in range(30)
)


@pytest.fixture
def clock():
    return Clock()


def entered(path, tasks, clock, gold=()) -> Store:
    store = make_store(path / "job.sqlite", tasks, gold)
    for name in NAMES:
        enter(store, name, clock())
    return store


def rows(store: Store, query: str) -> list[tuple]:
    with store.transaction() as database:
        return [tuple(row) for row in database.execute(query)]


def test_a_judgment_is_on_the_disk_when_it_is_taken(tmp_path, clock):
    assert entered(tmp_path, make_tasks(1), clock).durability() == ("wal", 2)


@pytest.mark.parametrize("seed", range(6))
def test_whatever_the_annotators_do_in_whichever_order(tmp_path, clock, seed):
    """A random walk of three annotators, against the laws of the store after each step and a model at the end."""
    rng = np.random.default_rng(seed)
    rules = Rules(annotators_per_pair=2, lease_seconds=30.0)
    store = entered(tmp_path, make_tasks(4, 3), clock)
    hands, live, made = {}, {}, {name: [] for name in NAMES}
    for _ in range(220):
        name = NAMES[rng.integers(3)]
        clock.now += float(rng.exponential(8.0))
        step = rng.random()
        if step < 0.4:
            hands[name] = lease = hand_out(store, name, rules, clock())
            if lease:
                hold(live, name, (lease.task.id, lease.left, lease.right), clock(), rules)
        elif step < 0.85 and hands.get(name):
            lease, answer = hands[name], list(Answer)[rng.integers(4)]
            taken = judge(store, name, lease.key, answer, now=clock())
            if taken is Taken.STORED:
                made[name].append((lease.task.id, lease.left, lease.right, lease.shown_first, answer))
                live.pop(name)
        elif made[name]:
            last = find_progress(store, name, rules).last
            assert undo(store, name, last, rules, clock())
            pair = made[name].pop()[:3]
            if not others_with(live, name, pair, clock()):
                hold(live, name, pair, clock(), rules)
        assert not rows(store, "SELECT pair, annotator FROM standing GROUP BY 1, 2 HAVING count(*) > 1")
    counted = "SELECT count(*) FROM standing WHERE pair = pairs.number AND answer != 'skip'"
    assert not rows(store, f"SELECT number FROM pairs WHERE judged != ({counted}) OR judged > 2")
    found = collections.Counter()
    for preference, task in ((one, task) for one in read_judged(store).preferences for task in make_tasks(4, 3)):
        if preference.prompt == task.prompt:
            found.update((one.annotator, task.id, one.left, one.right, one.shown_first, one.probability)
                         for one in preference.comparisons)  # fmt: skip
    assert found == collections.Counter(
        (name, task, left, right, side, said(answer, side))
        for name in NAMES for task, left, right, side, answer in made[name] if answer is not Answer.SKIP
    )  # fmt: skip


def others_with(live: dict, name: str, pair: tuple, now: float) -> list[str]:
    """Who else has the pair in hand, by what each of them was given and the test's own clock."""
    return [other for other, (held, expires) in live.items() if other != name and held == pair and expires > now]


def hold(live: dict, name: str, pair: tuple, now: float, rules: Rules) -> None:
    """Puts a pair that was handed out into the annotator's hand, and sees that it is in no other."""
    assert not others_with(live, name, pair, now)
    live[name] = (pair, now + rules.lease_seconds)


def said(answer: Answer, shown_first: Side) -> float:
    if answer is Answer.TIE:
        return 0.5
    return float((answer is Answer.FIRST) == (shown_first is Side.LEFT))


def test_a_pair_in_hand_is_nobody_else_s_until_the_lease_ends(tmp_path, clock):
    store, rules = entered(tmp_path, make_tasks(1), clock), Rules(annotators_per_pair=2, lease_seconds=60.0)
    mine = hand_out(store, "mia", rules, clock())
    assert hand_out(store, "mia", rules, clock()) == mine  # looking again changes nothing
    assert hand_out(store, "ben", rules, clock()) is None
    clock.now += 61
    theirs = hand_out(store, "ben", rules, clock())
    assert theirs is not None
    assert judge(store, "mia", mine.key, Answer.FIRST, now=clock()) is Taken.GONE
    assert judge(store, "mia", theirs.key, Answer.FIRST, now=clock()) is Taken.GONE
    assert judge(store, "ben", theirs.key, Answer.FIRST, now=clock()) is Taken.STORED
    assert hand_out(store, "ben", rules, clock()) is None
    assert hand_out(store, "mia", rules, clock()) is not None


def test_a_lease_that_ended_counts_while_nobody_else_wants_the_pair(tmp_path, clock):
    store, rules = entered(tmp_path, make_tasks(1), clock), Rules(lease_seconds=60.0)
    lease = hand_out(store, "mia", rules, clock())
    clock.now += 3000
    assert hand_out(store, "mia", rules, clock()) == lease  # shown again, and not for the first time
    clock.now += 600
    assert judge(store, "mia", lease.key, Answer.TIE, now=clock()) is Taken.STORED
    assert read_judged(store).median_seconds == {"mia": 3600.0}  # a page left open is not made shorter


def test_a_form_sent_twice_is_one_judgment(tmp_path, clock):
    store, rules = entered(tmp_path, make_tasks(2), clock), Rules()
    lease = hand_out(store, "mia", rules, clock())
    assert judge(store, "mia", lease.key, Answer.FIRST, now=clock()) is Taken.STORED
    assert judge(store, "mia", lease.key, Answer.FIRST, now=clock()) is Taken.REPEATED
    assert find_progress(store, "mia", rules).mine == 1
    number = find_progress(store, "mia", rules).last
    assert undo(store, "mia", number, rules, clock())
    assert not undo(store, "mia", number, rules, clock())
    assert judge(store, "mia", lease.key, Answer.FIRST, now=clock()) is Taken.OTHERWISE  # it was taken back
    assert find_progress(store, "mia", rules).mine == 0


@pytest.mark.parametrize(
    ("first", "then", "taken"),
    [
        ((Answer.FIRST, None), (Answer.SECOND, None), Taken.OTHERWISE),
        ((Answer.FIRST, Strength.MUCH), (Answer.FIRST, Strength.SLIGHTLY), Taken.OTHERWISE),
        ((Answer.SECOND, Strength.MUCH), (Answer.SECOND, Strength.MUCH), Taken.REPEATED),
        ((Answer.TIE, None), (Answer.SKIP, None), Taken.OTHERWISE),
        ((Answer.TIE, None), (Answer.TIE, Strength.MUCH), Taken.REPEATED),  # a tie has none
    ],
)
def test_a_form_sent_again_with_another_answer_is_not_taken_for_the_first(tmp_path, clock, first, then, taken):
    store = entered(tmp_path, make_tasks(1), clock)
    lease = hand_out(store, "mia", Rules(), clock())
    assert judge(store, "mia", lease.key, first[0], strength=first[1], now=clock()) is Taken.STORED
    before = rows(store, "SELECT * FROM judgments")
    assert judge(store, "mia", lease.key, then[0], strength=then[1], now=clock()) is taken
    assert judge(store, "ben", lease.key, first[0], strength=first[1], now=clock()) is Taken.GONE
    assert rows(store, "SELECT * FROM judgments") == before


def test_undo_brings_the_pair_back_as_it_was_shown(tmp_path, clock):
    store, rules = entered(tmp_path, make_tasks(5), clock), Rules()
    lease = hand_out(store, "mia", rules, clock())
    judge(store, "mia", lease.key, Answer.FIRST, now=clock())
    hand_out(store, "mia", rules, clock())
    assert undo(store, "mia", find_progress(store, "mia", rules).last, rules, clock())
    again = hand_out(store, "mia", rules, clock())
    assert (again.task, again.shown_first) == (lease.task, lease.shown_first)
    assert again.key != lease.key
    assert not read_judged(store).preferences
    assert rows(store, "SELECT answer, undoes FROM judgments") == [(lease.shown_first.value, None), ("undo", 1)]


def test_judgments_are_only_ever_added(tmp_path, clock):
    store = entered(tmp_path, make_tasks(1), clock)
    judge(store, "mia", hand_out(store, "mia", Rules(), clock()).key, Answer.TIE, now=clock())
    for statement in ("UPDATE judgments SET answer = 'left'", "DELETE FROM judgments"):
        with pytest.raises(sqlite3.IntegrityError, match="only added"):
            rows(store, statement)


def test_a_skip_is_left_to_others(tmp_path, clock):
    store, rules = entered(tmp_path, make_tasks(1), clock), Rules()
    judge(store, "mia", hand_out(store, "mia", rules, clock()).key, Answer.SKIP, now=clock())
    assert hand_out(store, "mia", rules, clock()) is None
    assert hand_out(store, "ben", rules, clock()) is not None
    assert read_judged(store).skipped == 1


@pytest.mark.parametrize(
    ("told", "kept"), [(None, 30.0), (12.5, 12.5), (31.0, 30.0), (-1.0, 30.0), (float("nan"), 30.0)]
)
def test_the_time_is_the_annotator_s_own_where_it_can_be(tmp_path, clock, told, kept):
    store = entered(tmp_path, make_tasks(1), clock)
    lease = hand_out(store, "mia", Rules(), clock())
    clock.now += 30
    judge(store, "mia", lease.key, Answer.FIRST, now=clock(), seconds=told)
    assert read_judged(store).median_seconds == {"mia": kept}


def test_both_orders_come_about_equally_often(tmp_path, clock):
    store = entered(tmp_path, make_tasks(200), clock)
    sides = collections.Counter()
    for _ in range(200):
        lease = hand_out(store, "mia", Rules(), clock())
        shown = lease.task.responses if lease.shown_first is Side.LEFT else lease.task.responses[::-1]
        assert (lease.first, lease.second) == shown
        sides[lease.shown_first] += 1
        judge(store, "mia", lease.key, Answer.FIRST, now=clock())
    assert min(sides.values()) > 60  # 100 on average, with a standard deviation of 7


def test_gold_pairs_come_to_everyone_and_are_counted_apart(tmp_path, clock):
    store = entered(tmp_path, make_tasks(300), clock, GOLD)
    rules, checks = Rules(gold_rate=0.2), {}
    for name in ("mia", "ben"):
        places = []
        for place in range(100):
            lease = hand_out(store, name, rules, clock())
            if lease.task.id.startswith("gold:"):
                places.append(place)
            good = Answer.FIRST if lease.shown_first is Side.LEFT else Answer.SECOND
            judge(store, name, lease.key, good if name == "mia" else Answer.TIE, now=clock())
        assert 5 <= len(places) <= 30
        checks[name] = places
    assert checks["mia"] != checks["ben"]  # nobody can tell the next one from the last
    judged = read_judged(store)
    assert judged.gold == {"mia": (len(checks["mia"]),) * 2, "ben": (0, len(checks["ben"]))}
    assert sum(len(one.comparisons) for one in judged.preferences) == 200 - len(checks["mia"]) - len(checks["ben"])
    assert find_progress(store, "mia", rules).wanted == 300


def test_when_a_gold_pair_comes_follows_from_a_secret_and_not_from_asking_again(tmp_path, clock):
    def places(folder: str, secret: str) -> list[int]:
        """Of the first 40 pairs, those that are gold."""
        (tmp_path / folder).mkdir()
        store = make_store(tmp_path / folder / "s.sqlite", make_tasks(40), GOLD, secret=secret)
        rules, found = Rules(gold_rate=0.3), []
        enter(store, "mia", clock())
        for place in range(40):
            lease = hand_out(store, "mia", rules, clock())
            release(store, "mia")
            again = hand_out(store, "mia", rules, clock())
            assert again.task == lease.task
            found += [place] if lease.task.id.startswith("gold:") else []
            judge(store, "mia", again.key, Answer.TIE, now=clock())
        return found

    assert places("one", "hush") == places("same", "hush") != places("other", "hushed")


def test_what_was_said_is_what_is_read(tmp_path, clock):
    store, output = entered(tmp_path, make_tasks(2, 3), clock), str(tmp_path / "out.jsonl")
    expected = {}
    for answer, strength in [(Answer.FIRST, Strength.MUCH), (Answer.SECOND, Strength.SLIGHTLY), (Answer.TIE, None)]:
        lease = hand_out(store, "zoë", Rules(), clock())
        clock.now += 4.25
        judge(store, "zoë", lease.key, answer, now=clock(), strength=strength)
        place = (lease.task.prompt, lease.left, lease.right)
        expected[place] = (said(answer, lease.shown_first), strength, lease.shown_first, 4.25, "zoë")
    export_judged(store, output)
    found = read_preferences(output, defaults=RowDefaults("another", Source.AI))
    assert {(one.dimension, one.source) for one in found} == {("helpfulness", Source.HUMAN)}
    assert expected == {
        (preference.prompt, one.left, one.right):
            (one.probability, one.strength, one.shown_first, one.seconds, one.annotator)
        for preference in found for one in preference.comparisons
    }  # fmt: skip
    assert all(one.judged_at.startswith("2027-01-15T08:00:") for one in found.preferences[0].comparisons)
