"""The report on labels: what is planted is found, what is known is said, and the page holds it."""

import dataclasses
import itertools
import json
import re
from collections.abc import Sequence

import numpy as np
import pytest
from label_cases import mirrored, record

from rmjax.errors import UserError
from rmjax.labeling.report import plots, statistics
from rmjax.labeling.report.report import LabelReport, report_labels
from rmjax.preferences.record import Comparison, Preference, PreferenceSet, Side, Source, Strength
from rmjax.preferences.write import write_preferences

PNG = b"\x89PNG\r\n\x1a\n"
SAMPLES = 400


def planted(
    seed: int, prompts: int = 150, names: Sequence[str] = ("ann", "<b>en"), source=Source.HUMAN
) -> PreferenceSet:
    """Annotators who see a true utility; the last one of them mostly what is shown first."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(prompts):
        worth = np.random.default_rng(number).normal(size=3)
        responses = tuple(f"response {'x' * (7 * place)} {number}" for place in range(3))
        comparisons = []
        for (left, right), name in itertools.product(itertools.combinations(range(3), 2), names):
            first = rng.choice([1, -1])
            lean = 2.0 * first if name == names[-1] else 0.0
            likely = 1 / (1 + np.exp(-2 * (worth[left] - worth[right]) - lean))
            comparisons.append(
                Comparison(
                    left=left,
                    right=right,
                    probability=float(rng.random() < likely),
                    annotator=name,
                    strength=Strength.CLEARLY,
                    shown_first=Side.LEFT if first > 0 else Side.RIGHT,
                    seconds=10.0 + number,
                )
            )
        found.append(
            Preference(
                prompt=f"prompt {number}",
                responses=responses,
                comparisons=tuple(comparisons),
                dimension="helpfulness",
                source=source,
            )
        )
    return PreferenceSet(spec=f"{source.value}.jsonl", preferences=tuple(found))


def report(*sets: PreferenceSet, **options) -> LabelReport:
    return report_labels(sets, samples=SAMPLES, **options)


def group(found: LabelReport, source: str) -> dict:
    return next(entry for entry in found.numbers["groups"] if entry["source"] == source)


def test_who_follows_the_place_on_the_page_is_found():
    people = group(report(planted(0)), "human")
    by_name = {entry["name"]: entry for entry in people["annotators"]}
    fair, leaning = (by_name[name]["shown_first_preferred"] for name in ("ann", "<b>en"))
    assert fair["low"] < 0.5 < fair["high"]
    assert leaning["low"] > 0.5
    assert people["seconds"]["median"] == 10 + 149 / 2
    assert people["strength"] == {"clearly": people["judgments"]} == {"clearly": 900}
    assert people["agreement"]["pairs_judged_by_several"] == people["pairs"] == 450
    assert people["cycles"]["within_annotators"]["count"] == 300
    assert people["cycles"]["of_the_mean"]["count"] <= 150  # a mean may be a tie
    kappa = people["annotator_pairs"][0]["cohen_kappa"]
    assert 0 < kappa["low"] < kappa["value"] < kappa["high"] < 1


def test_sources_meet_on_the_same_pairs_however_these_are_laid():
    people = planted(0)
    same = tuple(mirrored(one) for one in planted(0, source=Source.AI))
    both = report(people, PreferenceSet(spec="judge.jsonl", preferences=same[::-1]))
    (between,) = both.numbers["between_sources"]
    assert (between["first"], between["second"], between["pairs"]) == ("ai", "human", 450)
    ones = ("percent", "cohen_kappa", "pearson")
    assert [between[key]["value"] for key in ones] == pytest.approx([1, 1, 1])
    assert between["spearman"] == pytest.approx(1)
    assert np.trace(between["confusion"]) == np.sum(between["confusion"]) == 450
    against = tuple(
        record(one.prompt, *((one.responses[old.left], one.responses[old.right], 1 - old.probability, old.annotator)
                             for old in one.comparisons), source=Source.AI)
        for one in people
    )  # fmt: skip
    (between,) = report(people, PreferenceSet(spec="judge.jsonl", preferences=against)).numbers["between_sources"]
    assert between["pearson"]["value"] == pytest.approx(-1)
    assert between["spearman"] == pytest.approx(-1)
    assert between["confusion"][0][0] == between["confusion"][2][2] == 0


def test_the_order_of_the_rows_and_of_the_responses_changes_nothing():
    people = planted(1, prompts=40)
    moved = PreferenceSet(spec=people.spec, preferences=tuple(map(mirrored, people.preferences[::-1])))
    one, other = report(people).numbers, report(moved).numbers

    def values(entry):
        """All but bounds by redrawn prompts, whose draws belong to numbers of prompts, and names' order."""
        if isinstance(entry, dict):
            kept = {key: value for key, value in entry.items() if key not in ("low", "high", "strength")}
            return {key: values(value) for key, value in kept.items()}
        if isinstance(entry, list):
            return sorted((values(part) for part in entry), key=str)
        return round(entry, 9) if isinstance(entry, float) else entry

    assert values(one) == values(other)


def test_gold_pairs_check_attention_and_count_nowhere_else(tmp_path):
    people = planted(2)
    golden = tuple(
        record(one.prompt, (one.responses[0], one.responses[1], one.comparisons[0].probability, None))
        for one in people.preferences[:20]
    )
    found = group(report(people, gold=[PreferenceSet(spec="gold.jsonl", preferences=golden)], folder=tmp_path), "human")
    by_name = {entry["name"]: entry for entry in found["annotators"]}
    assert by_name["ann"]["gold"] | {"low": 0} == {"value": 1.0, "low": 0, "high": 1.0, "count": 20}
    assert 0.8 < by_name["ann"]["gold"]["low"] < 1
    assert by_name["<b>en"]["gold"]["value"] < 1
    assert found["gold"]["count"] == 40
    assert "<p>Known answers: gold.jsonl</p>" in (tmp_path / "report.html").read_text()
    assert found["judgments"] == 900 - 40
    assert found["pairs"] == 450 - 20


def test_judgments_that_say_that_the_answer_was_known_are_counted_apart(tmp_path):
    """Whichever way round the texts' hashes have the pair; a --gold that has it too goes before."""
    people = planted(2)
    checks = [
        dataclasses.replace(record(f"c{place}", ("good", "bad", 1.0, "ann"), ("good", "bad", 0.0, "cem")),
                            known_answer=Side.LEFT)
        for place in range(30)
    ]  # fmt: skip
    said = PreferenceSet(spec="said.gold.jsonl", preferences=(*checks, *map(mirrored_check, checks)))
    found = group(report(people, said), "human")
    assert found["judgments"] == 900
    by_name = {entry["name"]: entry["gold"] for entry in found["annotators"]}
    assert [(by_name[name]["value"], by_name[name]["count"]) for name in ("ann", "cem")] == [(1, 60), (0, 60)]
    other = PreferenceSet(spec="gold.jsonl", preferences=tuple(
        record(f"c{place}", ("bad", "good", 1.0, None)) for place in range(30)))  # fmt: skip
    found = group(report(people, said, gold=[other]), "human")
    assert {entry["name"]: entry["gold"]["value"] for entry in found["annotators"]}["ann"] == 0


def mirrored_check(one: Preference) -> Preference:
    return dataclasses.replace(mirrored(one), known_answer=Side.RIGHT)


def test_gold_that_fits_nothing_or_everything_is_an_error():
    people = planted(0, prompts=3)
    strange = PreferenceSet(spec="gold.jsonl", preferences=(record("another", ("a", "b", 1.0, None)),))
    check = dataclasses.replace(record("c", ("good", "bad", 1.0, "ann")), known_answer=Side.LEFT)
    said = PreferenceSet(spec="said.gold.jsonl", preferences=(check,))  # it says its answer itself, whatever --gold is
    for sets, names in (([people], r"human\.jsonl"), ([people, said], r"human\.jsonl and said\.gold\.jsonl")):
        with pytest.raises(UserError, match=rf"^{names}: found no judgment of a pair of gold\.jsonl; right would be"):
            report(*sets, gold=[strange])
    with pytest.raises(UserError, match=r"found 18 judgments, all of them of pairs with a known answer"):
        report(people, gold=[people])


def test_soft_labels_have_a_ceiling_of_their_own():
    hard = group(report(planted(0, prompts=10)), "human")["ceiling"]
    nothing = {"value": None, "low": None, "high": None}
    assert hard["soft"] == hard["least_nll"] == nothing
    judged = tuple(record(f"p{place}", ("a", "b", 0.8, "judge"), source=Source.AI) for place in range(9))
    soft = group(report(PreferenceSet(spec="judge.jsonl", preferences=judged)), "ai")["ceiling"]
    assert soft["soft"]["value"] == pytest.approx(0.8)
    assert soft["agreement"]["value"] is None


def test_every_group_and_every_annotator_has_the_same_entries(tmp_path):
    """Of people, of judges with probabilities, of nobody named, and of checks of attention alone."""
    check = dataclasses.replace(record("c", ("good", "bad", 1.0, "ann"), source=Source.RULE), known_answer=Side.LEFT)
    judge = record("p", ("a", "b", 0.8, None), source=Source.AI)
    others = PreferenceSet(spec="others.jsonl", preferences=(judge, check))
    groups = report(planted(0, prompts=5), others, folder=tmp_path).numbers["groups"]
    assert [entry["judgments"] for entry in groups] == [1, 30, 0]

    def shape(entry):
        return {key: shape(value) for key, value in entry.items()} if isinstance(entry, dict) else None

    own = [{key: value for key, value in entry.items() if key != "strength"} for entry in groups]
    assert shape(own[0]) == shape(own[1]) == shape(own[2])
    assert shape(groups[1]["annotators"][0]) == shape(groups[2]["annotators"][0])
    assert groups[0]["agreement"]["with_themselves"]["percent"]["value"] is None


def test_the_page_holds_everything_and_nothing_of_a_name_is_markup(tmp_path):
    folder = tmp_path / "out"
    found = report(planted(0), planted(3, names=("judge",), source=Source.AI), folder=folder)
    names = {"annotators.png", "sources.png", "biases.png", "length.png", "seconds.png"}
    assert {path.name for path in folder.iterdir()} == names | {"labels.json", "report.html"}
    assert all((folder / name).read_bytes().startswith(PNG) for name in names)
    assert json.loads((folder / "labels.json").read_text()) == found.numbers == json.loads(found.to_json())
    page = (folder / "report.html").read_text()
    assert "&lt;b&gt;en" in page
    assert "<b>" not in page
    assert page.count("data:image/png;base64,") == len(names)
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    kappa = group(found, "human")["agreement"]["fleiss_kappa"]
    assert f"{kappa['value']:.3f} <small>{kappa['low']:.3f} to {kappa['high']:.3f}</small>" in page


def test_a_report_leaves_no_picture_of_an_earlier_one_and_nothing_else_is_removed(tmp_path):
    report(planted(0), planted(3, names=("judge",), source=Source.AI), folder=tmp_path)
    assert {path.name for path in tmp_path.glob("*.png")} == set(plots.NAMES)
    (tmp_path / "mine.png").write_bytes(PNG)
    report(planted(3, names=("judge",), source=Source.AI), folder=tmp_path)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"biases.png", "length.png", "seconds.png", "mine.png", "labels.json", "report.html"}


def test_a_file_in_the_place_of_the_folder_is_an_error(tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(UserError, match=r"--report: .*out is a file; right would be a folder"):
        report(planted(0), folder=tmp_path / "out")
    assert (tmp_path / "out").read_text() == "mine"


def test_names_that_the_pictures_font_lacks_are_drawn_all_the_same(tmp_path):
    """A warning would be an error here."""
    named = planted(0, prompts=20, names=("mia 🦋", "王伟"))
    judge = planted(3, prompts=20, names=("🧿",), source=Source.AI)
    sets = [
        dataclasses.replace(one, preferences=tuple(dataclasses.replace(row, dimension="🦋") for row in one))
        for one in (named, judge)
    ]
    report(*sets, folder=tmp_path)
    assert "mia 🦋" in (tmp_path / "report.html").read_text()
    assert len([*tmp_path.glob("*.png")]) == 5


def test_judgments_of_which_little_is_known_have_a_report(tmp_path):
    bare = PreferenceSet(spec="bare.jsonl", preferences=(record("p", ("a", "b", 0.5, None)),))
    found = group(report(bare, folder=tmp_path), "human")
    assert found["unnamed"] == 1
    assert found["agreement"]["fleiss_kappa"]["value"] is None
    assert found["length_slope"]["value"] is None
    assert "None" not in (page := (tmp_path / "report.html").read_text())
    assert "– to –" not in page
    assert {path.name for path in tmp_path.iterdir()} == {"labels.json", "report.html", "biases.png"}


def test_the_page_says_where_it_shows_only_some_annotators(tmp_path, monkeypatch):
    for most, said in ((3, False), (2, True)):
        monkeypatch.setattr(plots, "MOST_ANNOTATORS", most)
        report(planted(0, prompts=5, names=("a", "b", "c")), folder=tmp_path)
        assert ("annotators with the most judgments are shown" in (tmp_path / "report.html").read_text()) is said


def test_pairs_of_annotators_beyond_the_most_are_counted(monkeypatch):
    monkeypatch.setattr(statistics, "MOST_PAIRS", 2)
    found = group(report(planted(0, prompts=5, names=("a", "b", "c"))), "human")
    assert (len(found["annotator_pairs"]), found["annotator_pairs_left_out"]) == (2, 1)


def test_the_command_writes_one_line_and_the_folder(server, tmp_path):
    write_preferences(tmp_path / "people.jsonl", planted(0, prompts=20))
    flags = [f"--report={tmp_path / 'out'}", f"--data={tmp_path / 'people.jsonl'}"]
    done = server.run("-m", "rmjax.label", *flags)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads((tmp_path / "out" / "labels.json").read_text())
