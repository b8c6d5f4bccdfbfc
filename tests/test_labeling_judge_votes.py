"""What is to be asked, by the estimate and by the run, what was asked and stays without an answer, and what is left."""

import json

import pytest
from local_judge import THINKING, LocalJudge
from test_labeling_judge_client import ended
from test_labeling_judge_job import label, pairs, settings

from rmjax.errors import ReportedError
from rmjax.labeling.judge.client import EndpointError
from rmjax.labeling.judge.job import label_with_ai
from rmjax.labeling.judge.settings import JudgeSettings

KINDS = ("nonsense", None, THINKING, None, None, "nonsense", None, None)  # of the questions, in order
COUNTS = ("questions", "settled", "given_up", "calls", "most_calls")


def told(chosen: JudgeSettings) -> tuple[dict, dict]:
    """The estimate of a run and its report."""
    found: list = []
    label_with_ai(pairs(4), chosen, tell=found.append, first_wait_s=0.01)
    (estimate, report) = (json.loads(one.to_json()) for one in found)
    return estimate["estimate"], report


@pytest.fixture(autouse=True)
def no_key(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def test_the_estimate_counts_no_question_whose_tries_are_used_up(tmp_path):
    kinds: dict[str, str | None] = {}
    with LocalJudge(fault=lambda name, tries: kinds.setdefault(name, KINDS[len(kinds) % 8])) as judge:
        for tries, max_tokens, settled, given_up, calls, answers in [
            (2, 8, 0, 0, 8, 5 + 3 * 2), (2, 8, 5, 3, 0, 0), (2, 16, 5, 2, 1, 1), (3, 8, 6, 0, 2, 2), (3, 8, 6, 2, 0, 0),
            (2, 8, 6, 2, 0, 0),
        ]:  # fmt: skip
            chosen = settings(judge, tmp_path, concurrency=1, nonsense_tries=tries, max_tokens=max_tokens)
            estimate, report = told(chosen)
            assert [estimate[name] for name in COUNTS] == [8, settled, given_up, calls, calls]
            assert (estimate["prompt_tokens"] > 0) == (calls > 0)
            assert report["this_run"]["answers"] == answers


def test_one_vote_that_stays_nonsense_gives_up_its_question(tmp_path):
    with LocalJudge(logprobs=False, fault=lambda name, tries: "nonsense" if tries == 1 else None) as judge:
        chosen = settings(judge, tmp_path, votes=2, nonsense_tries=1)
        for settled, given_up, calls in [(0, 0, 8), (0, 8, 0)]:
            found: list = []
            with pytest.raises(
                ReportedError, match="none of 4 pairs could be judged; the first: no letter in 1 answers"
            ):
                label_with_ai(pairs(4), chosen, tell=found.append, first_wait_s=0.01)
            assert [getattr(found[0], name) for name in COUNTS] == [8, settled, given_up, calls, 2 * calls]
        assert len(judge.requests) == 16


def test_what_an_ended_run_did_not_ask_is_not_left_out(tmp_path):
    """One pair has an answer and nonsense, one has both answers, one is refused the key in its second order."""
    faults = [None, "nonsense", "nonsense", None, None, None, "401"]
    with LocalJudge(fault=lambda name, tries: faults[len(judge.requests) - 1]) as judge:
        chosen = settings(judge, tmp_path, concurrency=1, nonsense_tries=2, price_in=1e4, price_out=0.0)
        _, (_, report) = ended(pairs(7), chosen, EndpointError)
        counts = {name: report[name] for name in ("pairs", "judged", "left_out", "unfinished")}
        assert counts == {"pairs": 7, "judged": 1, "left_out": 1, "unfinished": 5}
        judge.fault = lambda name, tries: None
        report = label(pairs(7), chosen)
    assert (report["judged"], report["left_out"], report["unfinished"]) == (6, 1, 0)
    this, every = report["this_run"], report["all_runs"]
    assert (this["answers"], this["nonsense"], this["prompt_tokens"], this["cost"]) == (9, 0, 900, 9.0)
    assert (every["answers"], every["nonsense"], every["prompt_tokens"], every["cost"]) == (15, 2, 1500, 15.0)
