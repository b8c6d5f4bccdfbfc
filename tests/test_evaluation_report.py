"""Laws of measurements, pictures and the report."""

import dataclasses
import json
import re

import matplotlib
import numpy as np
import pytest

from rmjax.evaluation import plots, report
from rmjax.evaluation.measure import Evaluation, JudgedPairs, measure

RUN = {"run": "0", "step": 1234}
PNG = b"\x89PNG\r\n\x1a\n"


def pairs(seed: int, count: int, known: bool = True) -> tuple[np.ndarray, JudgedPairs]:
    rng = np.random.default_rng(seed)
    utilities = rng.normal(size=2 * count)
    left, right = np.arange(0, 2 * count, 2), np.arange(1, 2 * count, 2)
    true = 1 / (1 + np.exp(utilities[right] - utilities[left]))
    nothing = np.full(2 * count, np.nan)
    judged = JudgedPairs(
        left=left,
        right=right,
        head=np.zeros(count, np.int32),
        probability=(rng.random(count) < true).astype(float),
        true_probability=true if known else nothing[:count],
        prompts=np.arange(count) // 2,
        characters=rng.integers(0, 30, size=2 * count),
        utilities=utilities if known else nothing,
    )
    return (utilities + rng.normal(size=2 * count)).astype(np.float32)[:, None], judged


def evaluation(model: str, data: str, seed: int = 0, count: int = 40, known: bool = True) -> Evaluation:
    fields = RUN | {"dimension": "help<b>fulness", "source": "human", "comparisons": count, "skipped": 3}
    return Evaluation(model=model, data=data, **fields, measurement=measure(*pairs(seed, count, known)))


def curve(model: str, count: int = 30) -> plots.TrainingCurve:
    steps = np.arange(1, count + 1)
    few = np.array([10, 20, 30])
    return plots.TrainingCurve(
        model=model,
        steps=steps,
        loss=1 / steps,
        accuracy_steps=steps,
        accuracy=1 - 1 / steps,
        validation_steps=few,
        validation_accuracy=few / 30,
    )


def test_a_line_has_every_number_and_the_truth_only_where_it_is_known():
    line = json.loads(evaluation("a", "b").to_json())
    always = {
        "model", *RUN, "data", "dimension", "source", "comparisons", "skipped", "decided", "accuracy", "accuracy_low",
        "accuracy_high", "length_controlled_accuracy", "length_controlled_accuracy_low",
        "length_controlled_accuracy_high", "nll", "ece", "ece_if_calibrated", "overconfidence",
        "length_baseline_accuracy", "accuracy_by_length_quartile",
    }  # fmt: skip
    assert set(line) == always | {"bayes_accuracy", "spearman"}
    assert set(json.loads(evaluation("a", "b", known=False).to_json())) == always
    assert line["accuracy_low"] < line["accuracy"] < line["accuracy_high"]


@pytest.mark.parametrize("seed", range(3))
def test_the_measurement_does_not_depend_on_the_order_of_the_pairs(seed):
    rewards, judged = pairs(seed, 50)
    order = np.random.default_rng(seed).permutation(50)
    fields = ("left", "right", "head", "probability", "true_probability", "prompts")
    moved = {name: getattr(judged, name)[order] for name in fields}
    again = JudgedPairs(**moved, characters=judged.characters, utilities=judged.utilities)
    numbers = measure(rewards, judged).numbers
    numbers.pop("ece_if_calibrated")  # drawn anew for each comparison
    found = measure(rewards, again).numbers
    for name, value in numbers.items():
        assert found[name] == pytest.approx(value), name


def test_preferred_and_other_rewards_are_told_by_the_label():
    rewards, judged = pairs(0, 30)
    found = measure(rewards, judged)
    assert found.correct.mean() == np.mean(found.preferred > found.other)
    assert found.numbers["accuracy"] == found.correct.mean()


def undecided(*, known: bool = True) -> Evaluation:
    """Of two comparisons that are ties."""
    rewards, judged = pairs(0, 2, known=known)
    ties = dataclasses.replace(judged, probability=np.full(2, 0.5))
    return Evaluation(
        model="a",
        **RUN,
        data="b",
        dimension="d",
        source="ai",
        comparisons=2,
        skipped=0,
        measurement=measure(rewards, ties),
    )


def test_numbers_that_do_not_exist_are_null_and_the_line_is_json():
    entry = undecided()
    line = json.loads(entry.to_json(), parse_constant=pytest.fail)
    assert line["accuracy"] is None
    assert "accuracy_by_length_quartile" not in line
    assert line["decided"] == 0
    assert line["nll"] > 0


def test_the_accuracy_by_length_is_there_only_with_all_four_quarters(tmp_path):
    rewards, judged = pairs(0, 40)
    fields = {name: getattr(judged, name) for name in judged.__slots__}
    lines = {}
    for name, characters in (("all", fields["characters"]), ("equal", np.full(80, 7))):
        found = measure(rewards, JudgedPairs(**fields | {"characters": characters}))
        entry = Evaluation(
            model="a", **RUN, data="b", dimension="d", source="ai", comparisons=40, skipped=0, measurement=found
        )  # fmt: skip
        lines[name] = json.loads(entry.to_json())
        page = report.write_report(tmp_path, [entry], []).read_text()
        assert ("by length difference" in page) == (name == "all")
    assert lines["all"].keys() - lines["equal"].keys() == {"accuracy_by_length_quartile"}
    assert None not in lines["all"]["accuracy_by_length_quartile"]


@pytest.mark.parametrize(("sides", "there"), [((1, 1), False), ((2, 1), False), ((1, 2), False), (None, True)])
def test_where_length_says_nothing_or_all_there_is_no_length_controlled_accuracy_and_the_report_says_so(
    tmp_path, sides, there
):
    """Left is preferred always; of ``sides`` are the lengths of left and right."""
    rewards, judged = pairs(0, 40)
    if sides is not None:
        judged = dataclasses.replace(judged, probability=np.ones(40), characters=np.tile(sides, 40))
    entry = dataclasses.replace(evaluation("run", "x/a:test"), measurement=measure(rewards, judged))
    line = json.loads(entry.to_json())
    names = [f"length_controlled_accuracy{end}" for end in ("", "_low", "_high")]
    value, low, high = (line[name] for name in names)
    page = report.write_report(tmp_path, [entry, evaluation("run", "y/b:test")], []).read_text()
    assert ("There is none where one of the two kinds has no pair: run on x/a:test." in page) != there
    if there:
        assert low < value < high
        assert f"{value:.3f} <small>{low:.3f} to {high:.3f}</small>" in page
    else:
        assert [value, low, high] == [None] * 3
        assert line["accuracy"] is not None


@pytest.mark.parametrize(("counts", "smooth"), [((30,), False), ((99,), False), ((100,), True), ((30, 400), True)])
def test_the_report_speaks_of_smoothing_only_where_there_is_some(tmp_path, counts, smooth):
    curves = [curve(f"run{count}", count) for count in counts]
    page = report.write_report(tmp_path, [evaluation("run30", "b")], curves).read_text()
    assert ("Smoothed over a fiftieth" in page) == smooth
    assert ("The values of every step." in page) != smooth
    assert smooth == any(not np.allclose(plots.smoothed(entry.loss), entry.loss) for entry in curves)


def test_the_report_is_whole_self_contained_and_escaped(tmp_path):
    models, data = ["/runs/<script>x", "/runs/b&b$_{$"], ["x/a:test", "y/a:test"]
    entries = [evaluation(model, spec, seed) for seed, model in enumerate(models) for spec in data]
    page = report.write_report(tmp_path / "out", entries, [curve(model) for model in models]).read_text()
    pictures = {"matrix.png", "reliability.png", "rewards.png", "training_curves.png"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == pictures | {"report.html", "results.jsonl"}
    for name in pictures:
        assert (tmp_path / "out" / name).read_bytes().startswith(PNG)
    assert (tmp_path / "out" / "results.jsonl").read_text() == "".join(entry.to_json() + "\n" for entry in entries)
    assert "<script" not in page
    assert "&lt;script&gt;x" in page
    assert "<th>step</th>" in page
    assert "<td>1,234</td>" in page
    assert "help&lt;b&gt;fulness" in page
    assert page.count("data:image/png;base64,") == 4
    assert all(link.startswith("data:") for link in re.findall(r"(?:src|href)=\W*(\w+:?)", page))
    assert "http" not in page


def test_one_model_without_curves_and_with_nothing_decided_has_a_report(tmp_path):
    entry = undecided(known=False)
    report.write_report(tmp_path, [entry], [])
    assert not (tmp_path / "training_curves.png").exists()
    assert "Bayes" not in (tmp_path / "report.html").read_text()


def test_an_error_leaves_an_earlier_report_as_it_was(tmp_path, monkeypatch):
    report.write_report(tmp_path, [evaluation("a", "b")], [])
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def fail(*_):
        raise RuntimeError("the third picture")

    monkeypatch.setattr(plots, "rewards_picture", fail)
    with pytest.raises(RuntimeError, match="third picture"):
        report.write_report(tmp_path, [evaluation("other", "b", 5)], [])
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_drawing_leaves_matplotlib_as_it_was():
    before = dict(matplotlib.rcParams)
    plots.training_picture([curve("a")], {"a": "a"})
    assert dict(matplotlib.rcParams) == before
    assert "matplotlib.pyplot" not in vars(plots)


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["/runs/a", "/runs/b/"], ["a", "b"]),
        (["/x/run", "/y/run"], ["x/run", "y/run"]),
        (["only"], ["only"]),
        (["a/b", "b"], ["a/b", "b"]),
        (["synthetic/a:test", "hh/a:test@brevity"], ["a:test", "a:test@brevity"]),
    ],
)
def test_short_names_are_the_shortest_ends_that_differ(paths, names):
    assert list(report.short_names(paths).values()) == names


def test_a_curve_is_read_from_metrics_and_a_torn_last_line_is_left_out(tmp_path):
    lines = [
        {"step": 1, "loss": 0.7, "accuracy": None},
        {"step": 2, "loss": 0.6, "accuracy": 0.8},
        {"step": 2, "validation": {"accuracy": 0.75, "nll": 0.6}},
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (tmp_path / "metrics.jsonl").write_text(text + '{"step": 3, "lo')
    found = report.read_curve(str(tmp_path))
    assert found is not None
    assert found.steps.tolist() == [1, 2]
    assert found.loss.tolist() == [0.7, 0.6]
    assert found.accuracy.tolist() == [0.8]
    assert found.accuracy_steps.tolist() == [2]
    assert found.validation_accuracy.tolist() == [0.75]
    assert report.read_curve(str(tmp_path / "none")) is None


@pytest.mark.parametrize("count", [0, 1, 7, 400])
def test_smoothing_keeps_constants_and_length(count):
    assert plots.smoothed(np.full(count, 3.0)) == pytest.approx(np.full(count, 3.0))
