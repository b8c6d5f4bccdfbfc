"""Laws of the batcher: every call is answered once, whatever it is computed beside, and what waits is bounded."""

import random
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError, Future

import pytest

from rmjax.batches.contract import EncodedGroup
from rmjax.evaluation.rewards import NonFiniteRewardsError
from rmjax.preferences.record import RowError
from rmjax.scoring.batcher import Batcher, distinct_tokens
from rmjax.scoring.queueing import BatchLimits, BatchReport, QueueFullError, ScoredGroup, StoppedError
from rmjax.scoring.rows import Request
from rmjax.scoring.source import Uncertain

WAIT = 30


def asked(*texts: str, prompt: str = "p") -> Request:
    return Request(prompt=prompt, responses=texts, single=False)


def encode(requests: Sequence[Request]) -> list[EncodedGroup]:
    """A token for each letter; a text with a ! is a fault."""
    groups = []
    for request in requests:
        texts = [f"{request.prompt}{response}" for response in request.responses]
        faults = [
            RowError(origin="o", field="f", kind="k", found="!", right="none") if "!" in text else None
            for text in texts
        ]
        conversations = tuple([*map(ord, text), 0] for text in texts)
        groups.append(EncodedGroup(conversations=conversations, faults=tuple(faults), cut=0))
    return groups


def reward(conversation: list[int]) -> float:
    return float(sum(place * token for place, token in enumerate(conversation, 1)))


def uncertain(conversation: list[int]) -> Uncertain:
    """The reward with a spread that tells it from the others, too."""
    return Uncertain(reward(conversation), float(sum(conversation)))


class Device:
    """Computes rewards while its gate is open; keeps what it was given, by batch."""

    def __init__(self):
        self.batches: list[list[EncodedGroup]] = []
        self.entered, self.gate = threading.Semaphore(0), threading.Event()
        self.gate.set()

    def score(self, groups: Sequence[EncodedGroup]) -> list[list[Uncertain]]:
        self.batches.append(list(groups))
        self.entered.release()
        assert self.gate.wait(WAIT)
        found = [[uncertain(conversation) for conversation in group.conversations] for group in groups]
        if any(ord("#") in conversation for group in groups for conversation in group.conversations):
            raise NonFiniteRewardsError("the reward of # is not finite")
        if any(ord("?") in conversation for group in groups for conversation in group.conversations):
            raise MemoryError("no room for ?")
        return found


def make(
    device: Device, *, batching: bool = True, tokens=40, call: int = 1000, waiting: int = 1000, waiting_bytes=10**6
) -> Batcher:
    limits = BatchLimits(
        batch_tokens=tokens, call_tokens=call, waiting_responses=waiting, waiting_bytes=waiting_bytes, batching=batching
    )
    batcher = Batcher(encode, device.score, limits, reports.append)
    batcher.start()
    return batcher


reports: list[BatchReport] = []


@pytest.fixture
def device() -> Iterator[Device]:
    reports.clear()
    device = Device()
    yield device
    device.gate.set()


def occupied(batcher: Batcher, device: Device) -> Future[list[ScoredGroup]]:
    """Has the device compute something until its gate opens."""
    device.gate.clear()
    first = batcher.submit([asked("first")])
    assert device.entered.acquire(timeout=WAIT)
    return first


def rewards(future: Future[list[ScoredGroup]]) -> list[list[Uncertain]]:
    return [group.rewards for group in future.result(WAIT)]


def expected(requests: Sequence[Request]) -> list[list[Uncertain]]:
    return [[uncertain(conversation) for conversation in group.conversations] for group in encode(requests)]


@pytest.mark.parametrize(("call", "expected_sizes"), [(1000, [1, 3, 3, 2]), (30, [1, 3, 3, 2]), (16, [1, 3, 3, 1, 1])])
def test_what_waits_is_computed_together_in_its_order_within_the_budget_and_whole_calls(device, call, expected_sizes):
    batcher = make(device, call=call)  # which is 96 % full; of 12 tokens each, the first of 11 and the last of 16
    first = occupied(batcher, device)
    calls = [[asked("x" * 9, "x" * 9)] for _ in range(7)]
    futures = [batcher.submit(call) for call in calls]
    batcher.submit([asked("tokenized last")]).add_done_callback(lambda _: None)
    while len(batcher._waiting) < 8:
        threading.Event().wait(0.001)
    device.gate.set()
    assert [rewards(future) for future in [first, *futures]] == [expected([asked("first")]), *map(expected, calls)]
    batcher.stop()
    assert [len(batch) for batch in device.batches] == expected_sizes
    assert [report.groups for report in reports] == expected_sizes
    assert all(report.tokens <= 40 for report in reports)
    assert sum(report.responses for report in reports) == 1 + 14 + 1


@pytest.mark.parametrize("batching", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_every_call_of_many_threads_gets_its_own_rewards(device, batching, seed):
    batcher, numbers = make(device, batching=batching), random.Random(seed)
    calls = [
        [
            asked(*("ab" * numbers.randrange(1, 20) for _ in range(numbers.randrange(1, 6))))
            for _ in range(numbers.randrange(1, 4))
        ]
        for _ in range(60)
    ]
    found: dict[int, list[list[Uncertain]]] = {}

    def client(numbers: Sequence[int]) -> None:
        for number in numbers:
            found[number] = rewards(batcher.submit(calls[number]))

    threads = [threading.Thread(target=client, args=(range(start, 60, 6),)) for start in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    batcher.stop()
    assert [found[number] for number in range(60)] == [expected(call) for call in calls]
    assert batcher.waiting == 0


def test_without_batching_no_two_calls_are_computed_together(device):
    batcher = make(device, batching=False, tokens=1000)
    first = occupied(batcher, device)
    futures = [batcher.submit([asked("a"), asked("b")]) for _ in range(3)]
    device.gate.set()
    for future in [first, *futures]:
        future.result(WAIT)
    batcher.stop()
    assert [len(batch) for batch in device.batches] == [1, 2, 2, 2]


def test_a_call_for_which_there_is_no_room_is_refused_until_there_is(device):
    batcher = make(device, waiting=5)
    first = occupied(batcher, device)
    second = batcher.submit([asked("a", "b"), asked("c", "d")])
    with pytest.raises(QueueFullError, match=r"5 responses wait already, of at most 5; try again in 1 s") as caught:
        batcher.submit([asked("e")])
    assert caught.value.retry_after == 1
    device.gate.set()
    first.result(WAIT), second.result(WAIT)
    assert rewards(batcher.submit([asked("e", "f", "g", "h", "i")])) == expected([asked("e", "f", "g", "h", "i")])
    batcher.stop()


def test_a_call_whose_texts_are_too_many_bytes_is_refused_until_there_is_room(device):
    """Each response counts with its prompt, as it is tokenized."""
    batcher = make(device, waiting_bytes=26)
    first = occupied(batcher, device)  # p and first
    second = batcher.submit([asked("a", "ü", prompt="long "), asked("b", prompt="q")])
    assert (batcher.waiting, batcher.waiting_bytes) == (4, 6 + 6 + 7 + 2)
    with pytest.raises(QueueFullError, match=r"21 bytes of text wait already, of at most 26; try again in 1 s"):
        batcher.submit([asked("12345")])
    third = batcher.submit([asked("1234")])
    device.gate.set()
    first.result(WAIT), second.result(WAIT), third.result(WAIT)
    assert batcher.waiting_bytes == 0
    assert rewards(batcher.submit([asked("x" * 25)])) == expected([asked("x" * 25)])
    batcher.stop()


def test_the_retry_is_estimated_from_the_measured_pace(device):
    batcher = make(device, waiting=500)
    batcher._pace = 20.0
    first = occupied(batcher, device)
    second = batcher.submit([asked(*"a" * 499)])
    with pytest.raises(QueueFullError) as caught:
        batcher.submit([asked("b")])
    assert caught.value.retry_after == 25
    batcher._pace = 0.01
    with pytest.raises(QueueFullError) as caught:
        batcher.submit([asked("b")])
    assert caught.value.retry_after == 60
    device.gate.set()
    first.result(WAIT), second.result(WAIT)
    batcher.stop()


def test_a_cancelled_call_is_never_computed_and_makes_room(device):
    batcher = make(device, waiting=3)
    first = occupied(batcher, device)
    cancelled = batcher.submit([asked("gone", "gone")])
    assert cancelled.cancel()
    kept = batcher.submit([asked("kept", "kept")])
    device.gate.set()
    assert rewards(kept) == expected([asked("kept", "kept")])
    first.result(WAIT)
    batcher.stop()
    computed = [group for batch in device.batches for group in batch]
    assert len(computed) == 2
    with pytest.raises(CancelledError):
        cancelled.result()


def test_a_fault_is_the_call_s_alone_and_nothing_of_it_is_computed(device):
    batcher = make(device)
    first = occupied(batcher, device)
    faulty, good = batcher.submit([asked("fine"), asked("no!")]), batcher.submit([asked("good")])
    device.gate.set()
    with pytest.raises(RowError, match="found !"):
        faulty.result(WAIT)
    assert rewards(good) == expected([asked("good")])
    first.result(WAIT)
    batcher.stop()
    assert sum(map(len, device.batches)) == 2


def test_rewards_that_are_not_finite_fail_their_own_call_alone(device):
    batcher = make(device, tokens=1000)
    first = occupied(batcher, device)
    calls = [batcher.submit([asked(text)]) for text in ("a", "#", "c")]
    device.gate.set()
    assert [rewards(calls[0]), rewards(calls[2])] == [expected([asked("a")]), expected([asked("c")])]
    with pytest.raises(NonFiniteRewardsError):
        calls[1].result(WAIT)
    first.result(WAIT)
    batcher.stop()


def test_a_batch_that_fails_is_told_and_the_next_is_computed(device):
    batcher = make(device)
    with pytest.raises(MemoryError, match="no room"):
        batcher.submit([asked("?")]).result(WAIT)
    assert rewards(batcher.submit([asked("a")])) == expected([asked("a")])
    batcher.stop()


@pytest.mark.parametrize("finish", [True, False])
def test_a_stop_answers_what_was_taken_or_says_that_it_did_not(device, finish):
    batcher = make(device)
    first = occupied(batcher, device)
    second = batcher.submit([asked("a")])
    batcher.refuse()
    assert not batcher.taking
    with pytest.raises(StoppedError):
        batcher.submit([asked("b")])
    stopping = threading.Thread(target=batcher.stop, kwargs={"finish": finish})
    stopping.start()
    if not finish:
        with pytest.raises(StoppedError):
            second.result(WAIT)
    device.gate.set()
    assert rewards(first) == expected([asked("first")])
    if finish:
        assert rewards(second) == expected([asked("a")])
    stopping.join(WAIT)
    assert not stopping.is_alive()
    assert batcher.waiting == 0


@pytest.mark.parametrize(
    ("conversations", "tokens"), [(["abc"], 3), (["abX", "abYZ"], 5), (["abX", "abYZ", "c"], 8), (["ab", "abc"], 3)]
)
def test_tokens_that_all_conversations_begin_with_count_once(conversations, tokens):
    group = EncodedGroup(
        conversations=tuple([ord(letter) for letter in text] for text in conversations), faults=(None,), cut=0
    )
    assert distinct_tokens(group) == tokens
