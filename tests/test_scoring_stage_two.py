"""The reward as stage two calls it: what a scorer gives alone, wherever it is, in the order of the completions."""

import json
import logging
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from reward_server import RefusalError, serving
from untrained import random_text, untrained_config, write_run

import rmjax
from rmjax import RewardScorer, reward_function
from rmjax.errors import UserError
from rmjax.preferences.record import RowError
from rmjax.scoring.rows import parse_request
from rmjax.scoring.stage_two import CompletionTooLongError, OnTooLong, grouped

ROOT = Path(__file__).parents[1]
LONG = "rains " * 200
BASES = "in process", "served"


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("run"), untrained_config())


@pytest.fixture(scope="module")
def scorer(workdir):
    return RewardScorer.from_workdir(workdir)


@pytest.fixture(scope="module")
def server(scorer):
    def score(prompt, responses):
        try:
            request = parse_request({"prompt": prompt, "responses": responses}, origin="the request")
            return scorer.score_many([request], origins=["the request"])[0]
        except RowError as error:
            raise RefusalError.of(error) from error

    with serving(score) as server:
        yield server


@pytest.fixture(params=BASES)
def source(request, workdir, server):
    return workdir if request.param == "in process" else server.url


def random_completions(seed, *, messages, count=14):
    """Prompts that come again and again, out of order, with their completions."""
    rng = np.random.default_rng(seed)
    texts = [random_text(rng, 9) for _ in range(4)]
    prompts = [texts[place] for place in rng.integers(0, 4, count)]
    completions = [" " + random_text(rng, 9) for _ in prompts]
    if not messages:
        return prompts, completions
    return (
        [[{"role": "user", "content": prompt, "name": None}] for prompt in prompts],
        [[{"role": "assistant", "content": text}] for text in completions],
    )


@pytest.mark.parametrize(("messages", "seed"), [(False, 0), (True, 1)])
def test_rewards_are_those_alone_and_in_order(source, scorer, messages, seed):
    prompts, completions = random_completions(seed, messages=messages)
    found = reward_function(source)(prompts=prompts, completions=completions, completion_ids=[[1]] * 14, answer=["x"])
    alone = [scorer.score(prompt, [text])[0] for prompt, text in zip(prompts, completions, strict=True)]
    assert np.std(alone) > 1e-3
    np.testing.assert_allclose(found, alone, rtol=0, atol=1e-5)
    shuffled = np.random.default_rng(seed).permutation(14)
    again = reward_function(source)([prompts[i] for i in shuffled], [completions[i] for i in shuffled])
    np.testing.assert_allclose(again, [found[i] for i in shuffled], rtol=0, atol=1e-5)


def test_a_prompt_is_asked_for_once_with_all_of_its_completions(server):
    prompts, completions = random_completions(2, messages=False)
    server.asked.clear()
    reward_function(server.url)(prompts, completions)
    assert sorted(body["prompt"] for body in server.asked) == sorted(set(prompts))
    assert sum(len(body["responses"]) for body in server.asked) == len(prompts)


def test_grouping_keeps_every_completion_once():
    prompts, completions = random_completions(3, messages=True)
    groups, places = grouped(prompts, completions)
    assert sorted(place for where in places for place in where) == list(range(len(prompts)))
    for group, where in zip(groups, places, strict=True):
        assert [list(reply) for reply in group.responses] == [completions[place] for place in where]
        assert {json.dumps(prompts[place]) for place in where} == {json.dumps([group.prompt[0] | {"name": None}])}
    with pytest.raises(UserError, match="2 prompts and 1 completions"):
        grouped(["p", "q"], ["a"])


def test_a_completion_that_is_too_long_has_no_reward_and_is_counted(source, scorer, caplog):
    prompts, completions = ["why", "asks", "why"], [" it rains", " rains", LONG]
    function, told = reward_function(source), []
    with caplog.at_level(logging.WARNING, logger="rmjax.scoring.stage_two"):
        found = function(prompts, completions, log_metric=lambda name, value: told.append((name, value)))
        function(prompts, completions)
    expected = [scorer.score(prompt, [text])[0] for prompt, text in zip(prompts[:2], completions[:2], strict=True)]
    assert found[2] is None
    assert found[:2] == pytest.approx(expected, abs=1e-5)
    assert told == [("rmjax_reward/too_long", 1.0)]
    assert function.too_long == 2
    first, second = (record.getMessage() for record in caplog.records if record.name == "rmjax.scoring.stage_two")
    assert "1 of 3 completions are too long for the model and get the reward None (1 so far)" in first
    assert "completions[2]: response too long: found 401 tokens" in first
    assert "limit text.max_response_tokens is 40" in first
    assert "(2 so far)" in second


def test_it_gets_a_number_or_ends_the_run_where_that_is_wanted(source):
    assert reward_function(source, too_long_reward=-3.0)(["why"], [LONG]) == [-3.0]
    with pytest.raises(CompletionTooLongError, match=r"1 of 2 completions are too long, the first: completions\[1\]"):
        reward_function(source, on_too_long=OnTooLong.ERROR)(["why", "why"], [" it", LONG])


def test_other_faults_are_raised_with_their_place(source):
    with pytest.raises(UserError, match=r"prompts\[1\].*empty field"):
        reward_function(source)(["why", ""], [" it", " it"])
    with pytest.raises(UserError, match="unknown role"):
        reward_function(source)([[{"role": "robot", "content": "Hi"}]], ["it"])


def test_verl_calls_it_one_by_one_and_in_batches(source, scorer):
    infos = [{"prompt": "why", "index": 3}, {"prompt": np.array([{"role": "user", "content": "why"}])}]
    expected = [scorer.score("why", [" it rains"])[0], scorer.score(infos[1]["prompt"].tolist(), ["rains"])[0]]
    function = reward_function(source)
    texts = [" it rains", "rains"]
    found = function.compute_scores(
        data_sources=np.array(["a", "b"]), solution_strs=texts, ground_truths=["", ""], extra_infos=np.array(infos)
    )
    assert found == pytest.approx(expected, abs=1e-5)
    alone = [
        function.compute_score(data_source="a", solution_str=text, ground_truth="", extra_info=info, further=1)
        for text, info in zip(texts, infos, strict=True)
    ]
    assert alone == pytest.approx(expected, abs=1e-5)
    named = reward_function(source, prompt_field="question")
    assert named.compute_score("a", " it rains", extra_info={"question": "why"}) == pytest.approx(expected[0], abs=1e-5)


def test_verl_without_a_prompt_or_with_a_response_that_is_too_long(source):
    function = reward_function(source)
    with pytest.raises(UserError, match=r"solution_strs\[0\]: found the fields 'index'; right would be the prompt in"):
        function.compute_score("a", "it", extra_info={"index": 1})
    with pytest.raises(UserError, match="found None"):
        function.compute_scores(["a"], ["it"])
    with pytest.raises(CompletionTooLongError, match=r"solution_strs\[0\] is too long .* as too_long_reward"):
        function.compute_score("a", LONG, extra_info={"prompt": "why"})
    penalised = reward_function(source, too_long_reward=-1.0)
    assert penalised.compute_score("a", LONG, extra_info={"prompt": "why"}) == -1.0


def test_one_of_several_heads(tmp_path):
    workdir = write_run(tmp_path / "run", untrained_config(heads=("honesty", "brevity")))
    expected = RewardScorer.from_workdir(workdir).score("why", [" it rains"])[0]
    assert isinstance(expected, dict)
    for head, value in expected.items():
        assert reward_function(workdir, head=head)(["why"], [" it rains"]) == pytest.approx([value], abs=1e-5)
    with pytest.raises(UserError, match="has several reward heads; head must be one of honesty, brevity"):
        reward_function(workdir)
    with pytest.raises(UserError, match="has no reward head 'wit'"):
        reward_function(workdir, head="wit")


def test_options_that_do_not_fit_are_said(workdir):
    with pytest.raises(UserError, match="step is 5, and http://a is a server"):
        reward_function("http://a", step=5)
    with pytest.raises(UserError, match="the spread of its rewards isn't known"):
        reward_function(workdir, normalized=True)
    with pytest.raises(UserError, match="concurrency is 0"):
        reward_function("http://a", concurrency=0)


def test_names_are_those_that_trainers_read(server):
    assert reward_function(server.url).__name__ == "rmjax_reward"
    assert reward_function(server.url, name="helpfulness").__name__ == "helpfulness"
    assert rmjax.reward_function is rmjax.scoring.reward_function is reward_function


def test_it_can_be_sent_to_another_process(server):
    function = pickle.loads(pickle.dumps(reward_function(server.url)))
    assert function(["why"], [" it"]) == reward_function(server.url)(["why"], [" it"])


def test_of_a_server_it_needs_neither_jax_nor_anything_but_requests(server):
    """The other requirements are made impossible to import, as if they weren't installed."""
    requirements = (ROOT / "requirements.txt").read_text().splitlines()
    names = [
        line.split("=")[0].rstrip("<>").split("[")[0] for line in requirements if not line.startswith(("#", "req"))
    ]
    others = [*(name.replace("-", "_") for name in names), "absl", "grain", "orbax", "jaxlib", "torch"]
    assert {"jax", "flax", "etils", "numpy", "ml_collections"} <= set(others)
    code = (
        f"import sys\nfor name in {others!r}: sys.modules[name] = None\n"
        f"import rmjax\nprint(rmjax.reward_function({server.url!r})(['why'], [' it rains'])[0])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == reward_function(server.url)(["why"], [" it rains"])[0]
