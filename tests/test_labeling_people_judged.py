"""What is exported is what stands, and what was said of gold pairs, in a file of its own."""

import json

import pytest
from labeling_cases import Annotator, Clock, make_store, make_tasks
from live_labeling import write_tasks

from rmjax.config import ConfigError
from rmjax.errors import ReportedError
from rmjax.labeling.people.gold import GoldPair, read_gold
from rmjax.labeling.people.handing import Answer, Rules, enter, find_progress, hand_out, judge, undo
from rmjax.labeling.people.judged import export_judged, gold_path, read_judged
from rmjax.labeling.people.page import PageSettings
from rmjax.labeling.report.report import report_labels
from rmjax.preferences.groups import RowDefaults
from rmjax.preferences.read import read_preferences
from rmjax.preferences.record import FileError, Side, Source
from rmjax.preferences.tasks import Task

HELPFULNESS = RowDefaults("helpfulness")
GOLD = [{"prompt": f"Question {n}?", "chosen": f"Answer {n}.1", "rejected": f"Answer {n}.2"} for n in range(100, 104)]
GOLD[0]["id"], GOLD[2]["id"] = "the first", "gold:2"


@pytest.fixture
def clock():
    return Clock()


def test_gold_judgments_are_exported_apart_and_reported(tmp_path, clock):
    gold, output = str(write_tasks(tmp_path / "gold.jsonl", GOLD)), str(tmp_path / "people.jsonl")
    store = make_store(tmp_path / "job.sqlite", make_tasks(30), read_gold(gold, "helpfulness"))
    settings = PageSettings(question="Which?", rules=Rules(annotators_per_pair=2, gold_rate=1.0))
    annotators = {name: Annotator(store, settings, clock, name) for name in ("mia", "ben")}
    for _ in range(20):
        for name, annotator in annotators.items():
            right = annotator.shown()[0].endswith(".1")  # of gold pairs, which mia reads and ben doesn't
            annotator.judge("first" if right or name == "ben" else "second")
    export_judged(store, output)
    people, said = (read_preferences(path, defaults=HELPFULNESS) for path in (output, gold_path(output)))
    assert sum(len(one.comparisons) for one in people) == 32
    assert not {one.prompt for one in people} & {row["prompt"] for row in GOLD}
    assert {one.prompt for one in said} == {row["prompt"] for row in GOLD}
    assert {one.source for one in said} == {Source.HUMAN}
    assert [one.id for one in people] == [f"t{number}" for number in range(30) if number < len(people)]
    assert [one.id for one in said] == [row.get("id") for row in GOLD]
    assert {one.known_answer for one in said} == {Side.LEFT}
    assert {one.known_answer for one in people} == {None}
    assert {comparison.weight for one in said for comparison in one.comparisons} == {1.0}
    known = read_preferences(gold, defaults=HELPFULNESS)
    (group,) = report_labels([people, said], gold=[known], samples=20).numbers["groups"]
    assert report_labels([people, said], samples=20).numbers["groups"] == [group]  # the rows say it themselves
    found = {entry["name"]: (entry["gold"]["value"] * 4, entry["gold"]["count"]) for entry in group["annotators"]}
    assert found == read_judged(store).gold
    assert found["mia"] == (4, 4)
    assert found["ben"][1] == 4


def test_without_gold_pairs_there_is_no_file_for_them(tmp_path, clock):
    store = make_store(tmp_path / "job.sqlite", make_tasks(1))
    Annotator(store, PageSettings(question="Which?"), clock, "mia").judge("first")
    export_judged(store, str(tmp_path / "out.jsonl.gz"))
    assert {path.name for path in tmp_path.glob("out*")} == {"out.jsonl.gz"}
    assert gold_path("deep/out.jsonl.gz") == "deep/out.gold.jsonl.gz"


def test_the_first_answer_to_a_gold_pair_counts_also_where_it_was_taken_back(tmp_path, clock):
    """Who sees from the counts that it was one, and answers it again with more care, gains nothing."""
    task = Task(id="gold:0", prompt="q", responses=("good", "bad"))
    store = make_store(tmp_path / "job.sqlite", make_tasks(3), (GoldPair(task=task, answer=Side.LEFT),))
    rules, said = Rules(gold_rate=1.0), []
    enter(store, "mia", clock())
    for good in (None, False, True):
        lease = hand_out(store, "mia", rules, clock())
        assert lease.task.id == "gold:0"
        answer = Answer.FIRST if good is (lease.shown_first is Side.LEFT) else Answer.SECOND
        said.append(Answer.SKIP if good is None else answer)
        judge(store, "mia", lease.key, said[-1], now=clock())
        if good is not True:
            assert undo(store, "mia", find_progress(store, "mia", rules).last, rules, clock())
    judged = read_judged(store)
    assert judged.gold == {"mia": (0, 1)}  # a skip is no answer
    ((one,),) = (preference.comparisons for preference in judged.gold_preferences)
    assert one.probability == 0.0
    assert "mia: median" in judged.in_words()


def test_judgments_that_were_all_taken_back_do_not_stay_in_the_export_unsaid(tmp_path, clock):
    store, output = make_store(tmp_path / "job.sqlite", make_tasks(2)), tmp_path / "out.jsonl"
    mia = Annotator(store, PageSettings(question="Which?"), clock, "mia")
    export_judged(store, str(output))  # nothing yet, and no file: nothing to complain of
    mia.judge("first")
    export_judged(store, str(output))
    before = output.read_bytes()
    assert json.loads(before)["prompt"] == "Question 0?"
    mia.undo()
    with pytest.raises(ReportedError, match=r"out.jsonl has judgments, but none stands in .*job.sqlite"):
        export_judged(store, str(output))
    assert output.read_bytes() == before


def exported(folder, clock, name: str):
    """A store with a gold pair of which, as of a task, a judgment was taken back; and where it was exported then."""
    folder.mkdir()
    task = Task(id="gold:0", prompt="q", responses=("good", "bad"))
    store = make_store(folder / "job.sqlite", make_tasks(3), (GoldPair(task=task, answer=Side.LEFT),))
    annotator = Annotator(store, PageSettings(question="Which?", rules=Rules(gold_rate=1.0)), clock, name)
    annotator.judge("first")
    annotator.judge("second")
    export_judged(store, str(folder / "out.jsonl"))
    annotator.undo()
    annotator.judge("tie")
    return store, folder / "out.jsonl"


def test_an_export_replaces_what_the_store_has_judged_and_nothing_else(tmp_path, clock):
    store, output = exported(tmp_path / "mine", clock, "mia")
    gold = tmp_path / "mine" / "out.gold.jsonl"
    before = output.read_text()
    export_judged(store, str(output))  # also what was taken back since
    assert output.read_text() != before
    kept = {file: file.read_text() for file in (output, gold)}
    _, other = exported(tmp_path / "other", clock, "ben")
    known = json.loads(kept[gold])
    for comparison in known["comparisons"]:
        for name in ("annotator", "judged_at", "shown_first"):
            del comparison[name]
    for wrong in (
        json.dumps(GOLD[0] | {"source": "human"}) + "\n", json.dumps(known) + "\n", before + other.read_text(),
        json.dumps(known | {"comparisons": [3]}) + "\n", kept[output].replace('"human"', '"ai"'), "{\n",
    ):  # fmt: skip
        for file in (output, gold):
            file.write_text(wrong)
            there = {path: path.read_text() for path in (output, gold)}
            with pytest.raises(ConfigError, match=rf"--output: {file} is there already, and .*right would be a new f"):
                export_judged(store, str(output))
            assert {path: path.read_text() for path in (output, gold)} == there
            file.write_text(kept[file])
    export_judged(store, str(output))


def test_known_answers_are_no_judgments_of_their_pairs(tmp_path, clock):
    """With nothing else there, neither file is written."""
    store, _ = exported(tmp_path / "mine", clock, "mia")
    gold = write_tasks(tmp_path / "pairs.gold.jsonl", [GOLD[0] | {"source": "human"}])
    before = gold.read_bytes()
    with pytest.raises(ConfigError, match=r"pairs.gold.jsonl, line 1 has what was not judged in .*job.sqlite"):
        export_judged(store, str(tmp_path / "pairs.jsonl"))
    assert gold.read_bytes() == before
    assert not (tmp_path / "pairs.jsonl").exists()


@pytest.mark.parametrize("name", ["out.txt", "out", "out.json"])
def test_an_output_of_another_format_is_named_as_it_was_given(tmp_path, clock, name):
    store, _ = exported(tmp_path / "mine", clock, "mia")
    with pytest.raises(FileError, match=rf"^{tmp_path}/{name}: found the suffix of another format; right would be"):
        export_judged(store, f"{tmp_path}/{name}")
    assert not list(tmp_path.glob("out*"))
