"""What is tried again, how long it waits, what ends a run, and what is told and kept then."""

import asyncio
import email.utils
import itertools
import json
import os
import signal
import threading
import time

import pytest
from local_judge import SLOW, LocalJudge
from test_labeling_judge_job import label, pairs, settings

from rmjax.errors import ReportedError, UserError
from rmjax.labeling.judge import client as judge_client
from rmjax.labeling.judge.client import EndpointError, JudgeClient, UnansweredError
from rmjax.labeling.judge.job import label_with_ai
from rmjax.labeling.judge.run import EndedBySignalError, EndpointDownError
from rmjax.labeling.judge.settings import JudgeSettings

SYSTEM, USER = "Judge.", "<response-A-0>\nworth=1\n<response-B-0>\nworth=0\n"


@pytest.fixture(autouse=True)
def no_key(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def ask(chosen: JudgeSettings, *, times: int = 1, first_wait_s: float = 0.01):
    """The answers to as many equal questions, asked together, or the first error; and the tries that failed."""

    async def asking():
        client = JudgeClient(chosen, first_wait_s=first_wait_s)
        try:
            return await asyncio.gather(
                *(client.ask(SYSTEM, USER, stopped=lambda: False) for _ in range(times))
            ), client.failures
        finally:
            await client.close()

    return asyncio.run(asking())


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("429", "status 429"), ("500", "status 500"), ("502", "status 502"), ("503", "status 503"),
        ("408", "status 408"), ("truncated", "malformed answer"), ("not a completion", "malformed answer"),
        ("cut off", "connection"), ("timeout", "timeout"), (SLOW, "timeout"),
    ],
)  # fmt: skip
def test_what_may_pass_is_tried_again(tmp_path, fault, kind):
    with LocalJudge(fault=lambda name, tries: fault if tries < 2 else None) as judge:
        judge.retry_after = "0"
        (answer,), failures = ask(settings(judge, tmp_path, timeout_s=0.3 if kind == "timeout" else 20.0))
    assert answer.body["choices"][0]["message"]["content"] in "AB"
    assert failures == {kind: 2}
    assert sum(judge.asked.values()) == 3


def test_a_server_that_is_not_there_is_tried_as_often_as_was_said(tmp_path):
    with LocalJudge() as judge:
        chosen = settings(judge, tmp_path, tries=3)
    with pytest.raises(UnansweredError, match=r"no usable answer after 3 tries; the last: the connection failed"):
        ask(chosen)


@pytest.mark.parametrize("as_date", [False, True])
def test_retry_after_holds_for_all_requests(tmp_path, as_date):
    """Four at once are refused; neither they nor a later one comes before the time."""

    def fault(name: str, tries: int) -> str | None:
        if tries == 0 and as_date:
            judge.retry_after = email.utils.formatdate(time.time() + 3, usegmt=True)  # in whole seconds: 2 at least
        return "429" if tries < 4 else None

    with LocalJudge(fault=fault) as judge:
        judge.retry_after = "2"
        answers, failures = ask(settings(judge, tmp_path), times=4)
    came = [at - judge.times[0][1] for _, at in judge.times]
    assert len(answers) == 4
    assert failures == {"status 429": 4}
    assert min(came[4:]) >= 1.99


def test_the_wait_doubles_and_is_drawn(tmp_path, monkeypatch):
    waits = []

    async def pause(seconds, _):
        waits.append(seconds)

    monkeypatch.setattr(judge_client, "pause", pause)
    with LocalJudge(fault=lambda name, tries: "500") as judge, pytest.raises(UnansweredError, match="after 9 tries"):
        ask(settings(judge, tmp_path, tries=9), first_wait_s=1.0)
    assert len(waits) == 8
    for number, wait in enumerate(waits):
        longest = min(judge_client.LONGEST_WAIT_S, 2.0**number)
        assert longest / 2 <= wait <= longest
    assert len({wait / 2**number for number, wait in enumerate(waits)}) > 4


@pytest.mark.parametrize(("status", "message"), [
    ("401", r"127.0.0.1 answered with status 401 \(.*no, said of local with Bearer \[key\], \[key\]\); "
            r"look at the key in the environment variable OPENAI_API_KEY$"),
    ("403", r"status 403 \(.*\); look at the key in the environment variable OPENAI_API_KEY, or what it may do"),
    ("404", r"status 404 \(.*\); look at --base_url and --model$"),
    ("402", r"the account can't pay"),
])  # fmt: skip
def test_what_holds_for_every_question_ends_the_run_at_once(tmp_path, monkeypatch, status, message):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-1234")
    with LocalJudge(fault=lambda name, tries: status) as judge:
        chosen = settings(judge, tmp_path, concurrency=4)
        with pytest.raises(EndpointError, match=message) as raised:
            label_with_ai(pairs(50), chosen, tell=lambda _: None)
    assert not any(part in str(raised.value) for part in ("sk-sec", "***", "1234"))
    assert isinstance(raised.value, UserError)
    assert len(judge.requests) <= 4


@pytest.mark.parametrize("status", ["401", "403"])
def test_an_endpoint_that_wants_a_key_where_there_is_none_is_told_where_it_goes(tmp_path, status):
    with LocalJudge(fault=lambda name, tries: status) as judge:
        message = f"status {status}.*; the environment variable OPENAI_API_KEY is not set; right would be the endpoint"
        with pytest.raises(EndpointError, match=message):
            label(pairs(1), settings(judge, tmp_path))


def ended(tasks, chosen: JudgeSettings, error: type[BaseException], first_wait_s: float = 0.01):
    """The error that ends a run, and all that the run tells."""
    told = []
    with pytest.raises(error) as raised:
        label_with_ai(tasks, chosen, tell=told.append, first_wait_s=first_wait_s)
    return raised.value, [json.loads(one.to_json()) for one in told]


def test_a_run_that_ends_at_its_first_question_has_no_report(tmp_path):
    """But where something was tried in vain it has: that may be paid."""
    for faults, told in ((["401"], 1), (["timeout", "401"], 2)):
        with LocalJudge(fault=lambda name, tries, faults=faults: faults[min(tries, len(faults) - 1)]) as judge:
            chosen = settings(judge, tmp_path, concurrency=1, timeout_s=0.3)
            _, found = ended(pairs(1), chosen, EndpointError)
        assert len(found) == told
        assert "estimate" in found[0]


def test_what_was_under_way_when_a_run_ends_is_kept_and_counted(tmp_path):
    tasks = pairs(3)
    with LocalJudge(fault=lambda name, tries: "401" if len(judge.requests) == 6 else None) as judge:
        _, (_, report) = ended(
            tasks, settings(judge, tmp_path, concurrency=6, price_in=2e4, price_out=0.0), EndpointError
        )
        answered = sum(judge.answered.values())
        found = (report["this_run"]["answers"], report["all_runs"]["answers"], report["all_runs"]["cost"])
        assert found == (answered, answered, 2 * answered)
        assert report["output"] is None
        assert not (tmp_path / "labels.jsonl").exists()
        judge.fault = lambda name, tries: None
        assert label(tasks, settings(judge, tmp_path))["this_run"]["answers"] == 6 - answered
    assert set(judge.answered.values()) == {1}


@pytest.fixture
def interruptible():
    """As in a terminal, also where the tests run in a shell's background and their SIGINT is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.usefixtures("interruptible")
def test_a_signal_ends_a_run_when_what_is_under_way_is_kept(tmp_path, number, code):
    together, came = threading.Barrier(4), itertools.count()  # four answers are under way when the signal comes

    def fault(name: str, tries: int) -> None:
        if 8 <= next(came) < 12 and together.wait(timeout=20) == 0:
            os.kill(os.getpid(), number)
            time.sleep(0.1)

    handlers = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    with LocalJudge(fault=fault) as judge:
        error, (_, report) = ended(pairs(20), settings(judge, tmp_path, concurrency=4), EndedBySignalError)
        assert (error.exit_code, f"{error}".partition(";")[0]) == (code, f"ended by {number.name}")
        assert handlers == [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
        answered = sum(judge.answered.values())
        assert 12 <= answered < 40
        assert report["this_run"] == report["all_runs"]
        assert (report["this_run"]["answers"], report["output"]) == (answered, None)
        assert label(pairs(20), settings(judge, tmp_path))["this_run"]["answers"] == 40 - answered
        assert set(judge.answered.values()) == {1}


@pytest.mark.usefixtures("interruptible")
def test_a_second_ctrl_c_waits_for_nothing(tmp_path):
    def fault(name: str, tries: int) -> str:
        if len(judge.requests) == 4:
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.3)
        return "timeout"

    with LocalJudge(fault=fault) as judge:
        judge.timeout_s = 30.0
        began = time.monotonic()
        ended(pairs(2), settings(judge, tmp_path, concurrency=4, timeout_s=40.0), KeyboardInterrupt)
    assert time.monotonic() - began < 15


@pytest.mark.usefixtures("interruptible")
def test_a_run_that_a_signal_ends_sleeps_out_no_wait_between_tries(tmp_path):
    def fault(name: str, tries: int) -> str:
        if len(judge.requests) == 2:
            threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGTERM)).start()
        return "503"

    with LocalJudge(fault=fault) as judge:
        began = time.monotonic()
        ended(pairs(1), settings(judge, tmp_path), EndedBySignalError, first_wait_s=50.0)
    assert time.monotonic() - began < 15


def test_what_may_be_paid_though_it_brought_nothing_is_counted(tmp_path):
    faults = ["not a completion", "truncated", "timeout", "cut off", "503"]
    with LocalJudge(fault=lambda name, tries: (faults + [None] * 9)[len(judge.requests) - 1]) as judge:
        judge.timeout_s = 3.0
        report = label(pairs(1), settings(judge, tmp_path, concurrency=1, timeout_s=2.0))
    assert report["failed_tries"] == {"malformed answer": 2, "timeout": 1, "connection": 1, "status 503": 1}
    assert (report["perhaps_paid"], report["all_runs"]["answers"]) == (4, 2)


def test_where_no_connection_was_made_nothing_may_be_paid(tmp_path):
    with LocalJudge() as judge:
        chosen = settings(judge, tmp_path, tries=2, concurrency=1)
    _, (_, report) = ended(pairs(1), chosen, ReportedError)
    assert (report["failed_tries"], report["perhaps_paid"]) == ({"no connection": 4}, 0)


def test_an_endpoint_that_goes_down_ends_the_run_and_leaves_what_was_paid(tmp_path):
    with LocalJudge(fault=lambda name, tries: "503" if len(judge.requests) > 20 else None) as judge:
        chosen = settings(judge, tmp_path, concurrency=4, tries=2)
        with pytest.raises(EndpointDownError, match=r"10 questions in a row got no answer; of the last: .*status 503"):
            label(pairs(50), chosen)
        assert len(judge.requests) <= 20 + 2 * (10 + 4)
        judge.fault = lambda name, tries: None
        assert label(pairs(50), chosen)["this_run"]["answers"] == 80


def test_a_question_that_is_refused_is_left_out_and_the_others_are_not(tmp_path):
    with LocalJudge(fault=lambda name, tries: "400" if len(judge.requests) == 1 else None) as judge:
        chosen = settings(judge, tmp_path, concurrency=1)
        report = label(pairs(3), chosen)
        assert (report["judged"], report["left_out"], report["this_run"]["answers"]) == (2, 1, 5)
        report = label(pairs(3), chosen)
    assert (report["judged"], report["left_out"], report["this_run"]["answers"]) == (3, 0, 1)


def test_openai_itself_needs_a_key(tmp_path):
    chosen = JudgeSettings(model="m", dimension="d", constitution="c", output=str(tmp_path / "x.jsonl"))
    with pytest.raises(UserError, match="OPENAI_API_KEY is not set"):
        JudgeClient(chosen)


@pytest.mark.parametrize("key", ["sk-secret\n1234", "sk-secret\u00e9"])
def test_a_key_that_no_header_can_hold_is_refused_unseen(tmp_path, monkeypatch, key):
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with LocalJudge() as judge, pytest.raises(UserError, match="OPENAI_API_KEY holds") as raised:
        JudgeClient(settings(judge, tmp_path))
    assert "sk-secret" not in str(raised.value)


def test_what_is_asked_is_as_the_protocol_has_it(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret\n")  # as from a file
    with LocalJudge() as judge:
        ask(settings(judge, tmp_path, max_tokens=5))
        ask(settings(judge, tmp_path, logprobs=False, max_tokens_name="max_completion_tokens"))
    (first, headers), (second, _) = judge.requests
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": USER}]
    common = {"model": "local", "messages": messages, "temperature": 1.0}
    assert first == common | {"max_tokens": 5, "logprobs": True, "top_logprobs": judge_client.TOP_LOGPROBS}
    assert second == common | {"max_completion_tokens": 8}
    assert headers["authorization"] == "Bearer sk-secret"


def test_a_run_that_ends_waits_for_no_retry_after(tmp_path):
    def fault(name: str, tries: int) -> str:
        if len(judge.requests) < 4:
            return "429"
        time.sleep(0.3)  # by when the others wait
        return "401"

    with LocalJudge(fault=fault) as judge:
        judge.retry_after = "1000"
        began = time.monotonic()
        with pytest.raises(EndpointError):
            label(pairs(2), settings(judge, tmp_path, concurrency=4))
        assert len(judge.requests) == 4
    assert time.monotonic() - began < 10
