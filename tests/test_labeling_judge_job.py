"""Labels by an AI judge: both orders averaged, every failure survived, no answer paid for twice."""

import dataclasses
import json
import math
import random
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from local_judge import FAULTS, THINKING, LocalJudge

from rmjax.config import ConfigError
from rmjax.errors import ReportedError
from rmjax.labeling.judge.client import EndpointError
from rmjax.labeling.judge.job import label_with_ai
from rmjax.labeling.judge.settings import JudgeSettings
from rmjax.preferences.groups import RowDefaults
from rmjax.preferences.read import read_preferences
from rmjax.preferences.record import Comparison, Preference, Side, Source

DEFAULTS = RowDefaults("x")


def pairs(count: int, seed: int = 0) -> list[Preference]:
    rng = np.random.default_rng(seed)
    return [
        Preference(
            prompt=f"question {place}",
            responses=tuple(f"{side} worth={rng.normal():.3f}" for side in ("one", "two")),
            comparisons=(Comparison(left=0, right=1, probability=0.5),),
            dimension="helpfulness",
            source=Source.HUMAN,
            origin=f"tasks, line {place + 1}",
        )
        for place in range(count)
    ]


def settings(judge: LocalJudge, folder: Path, **changes) -> JudgeSettings:
    values = {
        "model": "local", "dimension": "helpfulness", "constitution": "The higher worth is better.",
        "output": str(folder / "labels.jsonl"), "base_url": judge.url, "timeout_s": 20.0,
    }  # fmt: skip
    return JudgeSettings(**(values | changes))


def label(preferences, chosen: JudgeSettings) -> dict:
    """Labels, with hardly a wait between tries; gives the report."""
    told = []
    label_with_ai(preferences, chosen, tell=told.append, first_wait_s=0.01)
    return json.loads(told[-1].to_json())


def labels(chosen: JudgeSettings) -> tuple[Preference, ...]:
    return read_preferences(chosen.output, defaults=DEFAULTS).preferences


def worth(text: str) -> float:
    return float(text.partition("worth=")[2])


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def expected(preference: Preference, bias: float) -> float:
    """The mean of P(left) over both orders."""
    difference = worth(preference.responses[0]) - worth(preference.responses[1])
    return (sigmoid(difference + bias) + sigmoid(difference - bias)) / 2


def planted(tasks: list[Preference], bias: float) -> float:
    """The mean over pairs of the probability that the first shown wins, less 1/2, by a bias in logits."""
    differences = [worth(one.responses[0]) - worth(one.responses[1]) for one in tasks]
    return float(np.mean([(sigmoid(d + bias) + sigmoid(bias - d)) / 2 - 0.5 for d in differences]))


@pytest.fixture(autouse=True)
def no_key(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


SECONDS = {"timeout": 0.8, "429": 0.6}  # the weights of what costs seconds


def faulty(name: str, tries: int, weights: Mapping[str, float] = SECONDS) -> str | None:
    """Half of the questions fail once or twice, each in its own way; seldom in the ways that cost seconds."""
    rng = random.Random(name)
    faults = rng.choices(FAULTS, [weights.get(fault, 12) for fault in FAULTS], k=2)
    tries_that_fail = rng.choice([0, 0, 1, 2])
    return faults[tries] if tries < tries_that_fail else None


def test_with_every_failure_each_pair_is_judged_in_both_orders_exactly_once(tmp_path):
    bias = 0.7
    tasks = pairs(250)
    with LocalJudge(bias=bias, fault=faulty) as judge:
        judge.timeout_s = 6.0  # far from the time that a good answer takes, however busy the machine is
        chosen = settings(judge, tmp_path, timeout_s=4.0, nonsense_tries=3)
        report = label(tasks, chosen)
        judged = labels(chosen)
        assert [(one.prompt, one.responses) for one in judged] == [(one.prompt, one.responses) for one in tasks]
        for task, one in zip(tasks, judged, strict=True):
            (comparison,) = one.comparisons
            assert comparison.probability == pytest.approx(expected(task, bias), abs=1e-9)
            assert (one.source, one.dimension, comparison.annotator) == (Source.AI, "helpfulness", "local")
            assert comparison.shown_first is None
        orders = read_preferences(chosen.orders_path, defaults=DEFAULTS).preferences
        assert all([c.shown_first for c in one.comparisons] == [Side.LEFT, Side.RIGHT] for one in orders)
        for one, both in zip(judged, orders, strict=True):
            there, back = both.comparisons
            difference = worth(one.responses[0]) - worth(one.responses[1])
            assert there.probability == pytest.approx(sigmoid(difference + bias), abs=1e-9)
            assert back.probability == pytest.approx(sigmoid(difference - bias), abs=1e-9)
            assert there.weight + back.weight == one.comparisons[0].weight == 1.0
        # Answers that came after a time-out are not counted by the server; all others were paid for once.
        assert len(judge.answered) == 500
        assert set(judge.answered.values()) == {1}
        assert {"status 429", "status 500", "status 503", "timeout", "connection", "malformed answer"} == set(
            report["failed_tries"]
        )
        assert report["this_run"]["nonsense"] > 0
        assert (report["pairs"], report["judged"], report["left_out"]) == (250, 250, 0)
        assert report["this_run"]["answers"] == 500 + report["this_run"]["nonsense"]
        found = report["position_bias"]
        assert found["value"] == pytest.approx(planted(tasks, bias), abs=1e-9)
        assert 0 < found["low"] < found["value"] < found["high"]
        assert judge.most_running <= chosen.concurrency


def test_a_planted_bias_is_within_the_interval_that_votes_give(tmp_path):
    bias = 0.8
    tasks = pairs(200, seed=3)
    with LocalJudge(bias=bias, logprobs=False) as judge:
        chosen = settings(judge, tmp_path, votes=2)
        report = label(tasks, chosen)
        assert set(judge.answered.values()) == {2}
    found = report["position_bias"]
    assert found["low"] < planted(tasks, bias) < found["high"]
    assert found["low"] > 0
    assert found["high"] - found["low"] < 0.2
    assert (report["by_logprobs"], report["by_votes"]) == (0, 400)
    assert {one.comparisons[0].probability for one in labels(chosen)} <= {0.0, 0.25, 0.5, 0.75, 1.0}


def test_without_bias_the_interval_holds_zero(tmp_path):
    with LocalJudge() as judge:
        found = label(pairs(40), settings(judge, tmp_path))["position_bias"]
    assert found["value"] == pytest.approx(0, abs=1e-9)
    assert found["consistent"] == 1


def test_a_run_over_what_is_settled_asks_nothing_and_writes_the_same_bytes(tmp_path):
    tasks = pairs(20)
    with LocalJudge(bias=0.5) as judge:
        chosen = settings(judge, tmp_path)
        label(tasks, chosen)
        first = Path(chosen.output).read_bytes()
        asked = len(judge.requests)
        Path(chosen.output).unlink()
        assert label(tasks, chosen)["this_run"]["answers"] == 0
        assert len(judge.requests) == asked
        assert Path(chosen.output).read_bytes() == first
        label(tasks, settings(judge, tmp_path, constitution="The lower worth is better."))
        assert len(judge.requests) == 2 * asked


def test_a_pair_without_an_answer_is_left_out_and_told_of(tmp_path, caplog):
    tasks = pairs(6)

    def fault(name: str, tries: int) -> str | None:
        return "nonsense" if name in hopeless else None

    hopeless: set[str] = set()
    with LocalJudge(fault=fault) as judge:
        label(tasks[:1], settings(judge, tmp_path))
        hopeless = set(list(judge.asked)[:1])
        others = {"model": "other", "output": str(tmp_path / "others.jsonl")}
        chosen = settings(judge, tmp_path, **others)
        with caplog.at_level("WARNING"):
            report = label(tasks, chosen)
        assert (report["pairs"], report["judged"], report["left_out"], report["this_run"]["nonsense"]) == (6, 5, 1, 3)
        assert [one.prompt for one in labels(chosen)] == [one.prompt for one in tasks[1:]]
        assert "tasks, line 1: responses 0 and 1 left out: no letter in 3 answers" in caplog.text
        asked = len(judge.requests)
        assert label(tasks, chosen)["this_run"]["answers"] == 0
        assert len(judge.requests) == asked
        label(tasks, settings(judge, tmp_path, **others, nonsense_tries=5))
        assert len(judge.requests) == asked + 2


def test_more_tokens_ask_again_where_answers_were_cut_off_and_nowhere_else(tmp_path, caplog):
    kinds: dict[str, str | None] = {}

    def fault(name: str, tries: int) -> str | None:
        return kinds.setdefault(name, (THINKING, None, "nonsense", None, None, None)[len(kinds) % 6])

    with LocalJudge(fault=fault) as judge:
        for max_tokens, calls, left_out in [(8, 20, 4), (8, 0, 4), (16, 2, 2), (16, 0, 2), (8, 0, 2)]:
            chosen = settings(judge, tmp_path, max_tokens=max_tokens, concurrency=1)
            report = label(pairs(6), chosen)
            assert (report["this_run"]["answers"], report["left_out"]) == (calls, left_out)
        assert (
            "no letter in 3 answers (--nonsense_tries), the last, cut off after 8 tokens (--max_tokens)" in caplog.text
        )
        assert report["all_runs"]["answers"] == 22


def test_where_no_pair_can_be_judged_it_is_an_error(tmp_path):
    said = "none of 2 pairs could be judged; the first: no letter in 3 answers"
    with LocalJudge(fault=lambda name, tries: "nonsense") as judge, pytest.raises(ReportedError, match=said):
        label(pairs(2), settings(judge, tmp_path))
    assert not (tmp_path / "labels.jsonl").exists()


def test_several_judgments_of_a_pair_are_one_question_with_their_weights(tmp_path):
    (task,) = pairs(1)
    made = (
        Comparison(left=1, right=0, weight=0.5, annotator="mia"), Comparison(left=0, right=1, weight=0.25, margin=3.0),
    )  # fmt: skip
    task = dataclasses.replace(task, comparisons=made, utilities=(1.0, 2.0), known_answer=Side.RIGHT)
    with LocalJudge() as judge:
        chosen = settings(judge, tmp_path)
        label([task], chosen)
        (comparison,) = labels(chosen)[0].comparisons
        assert (labels(chosen)[0].utilities, labels(chosen)[0].known_answer) == ((1.0, 2.0), Side.RIGHT)
        other = settings(judge, tmp_path, dimension="honesty", output=str(tmp_path / "honest.jsonl"))
        label([task], other)
        assert (labels(other)[0].utilities, labels(other)[0].known_answer) == (None, None)
    assert (comparison.left, comparison.right, comparison.weight, comparison.margin) == (1, 0, 0.75, 0.0)
    assert comparison.probability == pytest.approx(1 - expected(task, 0.0), abs=1e-9)


def test_fewer_pairs_are_a_run_of_its_own_that_a_longer_one_goes_on_from(tmp_path):
    tasks = pairs(10)
    with LocalJudge() as judge:
        chosen = settings(judge, tmp_path)
        assert label(tasks[:4], chosen)["pairs"] == 4
        assert len(labels(chosen)) == 4
        assert len(judge.requests) == 8
        label(tasks, chosen)
        assert len(judge.requests) == 20


def test_fewer_pairs_than_the_output_has_are_an_error_before_anything_is_asked(tmp_path):
    """Of either file; whatever order the pairs come in, and however often."""
    tasks = pairs(10)
    with LocalJudge() as judge:
        chosen = settings(judge, tmp_path)
        label(tasks, chosen)
        label([*tasks[::-1], tasks[0]], chosen)
        before = Path(chosen.output).read_bytes()
        new = dataclasses.replace(tasks[0], prompt="another")
        said = r"labels.jsonl is there already, and 7 of its 10 pairs are not among the 4 that this run would write; "
        for dry_run in (True, False):
            with pytest.raises(ConfigError, match=said + r"right would be .*larger --limit.* another --output with "
                               rf"--store={chosen.store_path}, "):  # fmt: skip
                label([*tasks[:3], new], dataclasses.replace(chosen, dry_run=dry_run))
        assert Path(chosen.output).read_bytes() == before
        Path(chosen.output).unlink()
        with pytest.raises(ConfigError, match=r"labels.orders.jsonl is there already, and 9 of its 10 pairs"):
            label(tasks[:1], chosen)
        other = dataclasses.replace(chosen, output=str(tmp_path / "few.jsonl"), store=chosen.store_path)
        label(tasks[:3], other)
        assert len(labels(other)) == 3
        assert len(judge.requests) == 20


def test_a_dry_run_asks_nothing_and_writes_nothing(tmp_path):
    with LocalJudge() as judge:
        chosen = settings(judge, tmp_path / "new", dry_run=True, price_in=2.0, price_out=8.0, votes=3)
        found = label(pairs(10), chosen)["estimate"]
        assert not judge.requests
        assert not list(tmp_path.iterdir())
        label(pairs(4), settings(judge, tmp_path / "new", votes=3))
        assert label(pairs(10), chosen)["estimate"]["settled"] == 8
    assert (found["pairs"], found["questions"], found["calls"], found["most_calls"]) == (10, 20, 20, 60)
    assert found["cost"] == pytest.approx((found["prompt_tokens"] * 2 + found["completion_tokens"] * 8) / 1e6)
    assert found["most_cost"] == pytest.approx(3 * found["cost"])


@pytest.mark.parametrize(("path", "said"), [("", "'/'"), ("/v2/", "'/v2'"), ("/v1/chat", "'/v1/chat'")])
def test_an_address_that_does_not_end_in_v1_is_told_that_most_do(tmp_path, path, said):
    with LocalJudge() as judge:
        chosen = settings(judge, tmp_path, base_url=judge.url.removesuffix("/v1") + path)
        with pytest.raises(EndpointError, match=rf"the address has the path {said}, and most endpoints want /v1 at"):
            label(pairs(1), chosen)
