"""The matrix from one model: every data set is read on each head that is named."""

import json

import numpy as np
import pytest
from test_evaluation_evaluate import pairs
from untrained import untrained_config, write_run

from rmjax.evaluation.evaluate import EvaluationError, evaluate
from rmjax.models.reward import HEAD_KERNEL
from rmjax.training.trained import load_trained
from rmjax.training.workdir import WorkdirError

HEADS = ("helpfulness", "brevity")


@pytest.fixture(scope="module")
def specs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    return [
        pairs(folder / f"{name}.jsonl", dimension=name, seed=seed, count=40)
        for seed, name in enumerate((*HEADS, "wit"))
    ]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("runs") / "heads", untrained_config(heads=HEADS, response_tokens=60))


def by_cell(found) -> dict:
    return {(entry.head, entry.data): entry.measurement.numbers for entry in found}


@pytest.mark.parametrize("members", [1, 3])
def test_heads_that_change_places_change_the_rows_of_the_matrix(specs, tmp_path, members):
    config = untrained_config(heads=HEADS, response_tokens=60)
    config.model.ensemble = members
    run = write_run(tmp_path / "run", config)
    trained = load_trained(run)
    group, name = HEAD_KERNEL
    kernel = np.asarray(trained.params[group][name])
    exchanged = np.concatenate(np.split(kernel, 2, axis=1)[::-1], axis=1)
    assert not np.array_equal(kernel, exchanged)
    params = trained.params | {group: {name: exchanged}}
    other = write_run(tmp_path / "other", trained.config, checkpoints={5: (params, 0.6)})
    here, there = (by_cell(evaluate([folder], specs, heads=HEADS)) for folder in (run, other))
    assert here.keys() == there.keys() == {(head, spec) for head in HEADS for spec in specs}
    for spec in specs:
        for head, place in zip(HEADS, HEADS[::-1], strict=True):
            assert here[head, spec].keys() == there[place, spec].keys()
            for key, value in here[head, spec].items():
                assert value == pytest.approx(there[place, spec][key], abs=1e-6), key
        assert here["brevity", spec]["nll"] != pytest.approx(here["helpfulness", spec]["nll"], abs=1e-6)


def test_the_diagonal_is_what_is_found_without_choosing_a_head(run, specs):
    found = evaluate([run], specs[:2], heads=HEADS)
    for entry in evaluate([run], specs[:2]):
        numbers = dict(entry.measurement.numbers)
        numbers.pop("heads")
        (chosen,) = [one for one in found if (one.head, one.data) == (entry.dimension, entry.data)]
        assert (chosen.measurement.numbers, chosen.comparisons, chosen.kept) == (numbers, entry.comparisons, entry.kept)


def test_the_heads_stand_in_the_order_in_which_they_are_named_and_all_stands_for_every_one(run, specs):
    found, reverse, every = (evaluate([run], specs, heads=heads) for heads in (HEADS, HEADS[::-1], ["all"]))
    assert [(one.data, one.head) for one in found] == [(spec, head) for spec in specs for head in HEADS]
    assert [(one.data, one.head) for one in reverse] == [(spec, head) for spec in specs for head in HEADS[::-1]]
    assert [one.to_json() for one in every] == [one.to_json() for one in found]
    assert {one.dimension for one in found if one.data == specs[2]} == {"wit"}  # of which there is no head


def test_a_line_has_the_head_and_a_report_the_label(run, specs, tmp_path):
    found = evaluate([run], specs, heads=HEADS, report=tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert [(line["model"], line["head"]) for line in lines] == [(run, head) for _ in specs for head in HEADS]
    assert [one.label for one in found[:2]] == [f"{run} [helpfulness]", f"{run} [brevity]"]
    page = (tmp_path / "report.html").read_text()
    assert all(page.count(f"{run} [{head}]") == len(specs) for head in HEADS)
    (plain,) = evaluate([run], specs[:1])
    assert plain.label == run
    assert "head" not in json.loads(plain.to_json())


@pytest.mark.parametrize("heads", [(), ("brevity",)])
def test_a_single_head_is_called_by_its_name_or_by_what_it_was_trained_on(tmp_path, specs, heads):
    folder = write_run(tmp_path / "one", untrained_config(heads=heads, dimension="brevity", response_tokens=60))
    chosen, every, plain = (evaluate([folder], specs, heads=given) for given in (["brevity"], ["all"], None))
    assert [one.measurement.numbers for one in chosen] == [one.measurement.numbers for one in plain]
    assert [one.to_json() for one in every] == [one.to_json() for one in chosen]


def test_what_is_no_head_of_a_model_is_an_error_that_says_which_there_are(run, specs, tmp_path):
    said = "has no reward head {!r}; --head must be one of helpfulness, brevity, or all alone"
    for heads, wrong in ((["brevity", "honesty"], "honesty"), (["all", "brevity"], "all")):
        with pytest.raises(EvaluationError, match=said.format(wrong)):
            evaluate([run], specs, heads=heads)
    single = write_run(tmp_path / "one", untrained_config(dimension="wit", response_tokens=60))
    with pytest.raises(EvaluationError, match=r"one has no reward head 'brevity'; --head must be one of wit, or all"):
        evaluate([single], specs, heads=["brevity"])
    for heads in ([], ["brevity", "brevity"], [""]):
        with pytest.raises(EvaluationError, match=r"--head is .* one or more that differ"):
            evaluate([run], specs, heads=heads)
    with pytest.raises(EvaluationError, match=r"judged on wit; right would be data of .*, or --head"):
        evaluate([run], specs[2:])


def test_what_is_wrong_with_the_last_model_is_found_before_the_first_is_evaluated(run, specs, tmp_path):
    single = write_run(tmp_path / "one", untrained_config(dimension="wit", response_tokens=60))
    each: list = []
    with pytest.raises(EvaluationError, match=r"one has no reward head 'brevity'; --head must be one of wit"):
        evaluate([run, single], specs, heads=["brevity"], each=each.append)
    with pytest.raises(WorkdirError, match=r"there is no workdir .*nowhere"):
        evaluate([run, str(tmp_path / "nowhere")], specs[:2], each=each.append)
    assert not each


def test_the_command_takes_heads_without_a_benchmark(run, specs, server, cached):
    command = [
        "-m",
        "rmjax.evaluate",
        f"--workdir={run}",
        f"--data={','.join(specs)}",
        "--head=brevity",
        "--head=helpfulness",
    ]
    done = server.run(*command, **cached)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(line["data"], line["head"]) for line in lines] == [(spec, head) for spec in specs for head in HEADS[::-1]]
