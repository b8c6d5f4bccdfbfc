"""The command that has pairs judged, by a rule and by an AI judge's dry run; what its labels may replace."""

import dataclasses
import json
import shutil

import pytest
from local_judge import LocalJudge
from tokenizers import Tokenizer, models, pre_tokenizers

from rmjax.config import ConfigError
from rmjax.labeling.judge.job import label_with_ai
from rmjax.labeling.judge.settings import JudgeSettings
from rmjax.labeling.judge.store import AnswerStore
from rmjax.labeling.labeled import label_with
from rmjax.labeling.rule import brevity
from rmjax.preferences.groups import RowDefaults
from rmjax.preferences.read import read_preferences
from rmjax.preferences.record import Source
from rmjax.preferences.write import write_preferences

ROWS = [
    {"prompt": "p", "responses": ["one two three four", "incomprehensibilities please"]},
    {"prompt": "q", "responses": ["please, please", "no"]},
]


@pytest.fixture
def tasks(tmp_path):
    file = tmp_path / "tasks.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return file


def probabilities(path) -> list[float]:
    found = read_preferences(path, defaults=RowDefaults("x")).preferences
    assert {one.source for one in found} == {Source.RULE}
    return [one.comparisons[0].probability for one in found]


def words(path) -> None:
    """A tokenizer whose tokens are words."""
    tokenizer = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(path))


def test_a_rule_judges_by_characters_tokens_or_a_pattern(tmp_path, tasks, server):
    words(tmp_path / "tokenizer.json")
    for flags, wanted in [
        ((), [1.0, 0.0]),
        (("--tie_margin=11",), [0.5, 0.0]),
        ((f"--tokenizer={tmp_path}/tokenizer.json",), [0.0, 0.0]),
        (("--pattern=please",), [0.0, 1.0]),
        (("--pattern=please", "--unwanted"), [1.0, 0.0]),
    ]:
        output = tmp_path / "labels.jsonl"
        done = server.run("-m", "rmjax.label", "--judge=rule", f"--tasks={tasks}", "--dimension=brevity",
                          f"--output={output}", *flags)  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert probabilities(output) == wanted
        counts = {"left": wanted.count(1.0), "right": wanted.count(0.0), "ties": wanted.count(0.5)}
        assert json.loads(done.stdout) == {"tasks": 2, "pairs": 2, **counts, "output": str(output)}


@pytest.mark.parametrize("judge", [["--judge=rule"], ["--judge=openai", "--model=m", "--dry_run"]])
def test_machines_judge_the_pairs_that_the_rule_of_people_chooses(tmp_path, server, judge):
    rows = [{"prompt": f"p{n}", "responses": ["x" * (place + 1) for place in range(4)], "rewards": [0, 1, 1.5, 4]}
            for n in range(3)]  # fmt: skip
    (tmp_path / "tasks.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = server.run("-m", "rmjax.label", *judge, f"--tasks={tmp_path}/tasks.jsonl", "--dimension=brevity",
                      f"--output={tmp_path}/out.jsonl", "--pairs=least_sure", "--pairs_per_task=2")  # fmt: skip
    assert done.returncode == 0, done.stderr
    if "--dry_run" in judge:
        assert json.loads(done.stdout)["estimate"]["pairs"] == 6
        return
    for one in read_preferences(tmp_path / "out.jsonl", defaults=RowDefaults("x")):
        assert [(pair.left, pair.right, pair.weight) for pair in one.comparisons] == [(1, 2, 0.5), (0, 1, 0.5)]


RULES = ["--pairs=least_sure", "--pairs=round_robin", "--pairs=all"]


@pytest.mark.parametrize("rule", RULES)
def test_a_limit_takes_the_first_pairs_in_the_rule_s_order_and_a_higher_one_goes_on(tmp_path, server, rule):
    worths = [(0.0, 9.0, 20.0, 20.5), (0.0, 1.0, 8.5, 30.0), (0.0, 0.25, 7.0, 50.0)]
    rows = [{"prompt": f"p{place}", "responses": [f"worth={worth}" for worth in each], "rewards": each}
            for place, each in enumerate(worths)]  # fmt: skip
    (tmp_path / "tasks.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def judged(limit: int) -> list[tuple[int, float]]:
        """The prompt of each pair, and how far its rewards are apart."""
        done = server.run("-m", "rmjax.label", "--judge=openai", "--model=m", f"--base_url={judge.url}", rule,
                          f"--limit={limit}", f"--tasks={tmp_path}/tasks.jsonl", "--dimension=brevity",
                          f"--output={tmp_path}/out.jsonl")  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout.splitlines()[0])["estimate"]["pairs"] == limit
        found = read_preferences(tmp_path / "out.jsonl", defaults=RowDefaults("x")).preferences
        for one in found:
            assert sum(pair.weight for pair in one.comparisons) == pytest.approx(1)
        known = [(int(one.prompt[1:]), pair) for one in found for pair in one.comparisons]
        return [(place, abs(worths[place][pair.left] - worths[place][pair.right])) for place, pair in known]

    with LocalJudge() as judge:
        few, many = judged(3), judged(5)
        assert len(judge.requests) == 10
    assert set(few) < set(many)
    if rule == RULES[0]:
        assert sorted(few) == [(0, 0.5), (1, 1.0), (2, 0.25)]
        assert set(many) - set(few) == {(2, 6.75), (2, 7.0)}
    else:
        assert [place for place, _ in few] == [0, 1, 2]
        assert [place for place, _ in many] == [0, 0, 1, 1, 2]


@pytest.mark.parametrize(("flags", "message"), [
    (["--judge=openai"], "--model is not given"),
    (["--judge=openai", "--model=m", "--dimension=wit"], "there is no constitution for the dimension 'wit'"),
    (["--judge=openai", "--model=m", "--votes=0"], "votes is 0"),
    (["--judge=openai", "--model=m", "--gold=g.jsonl"], "--gold does nothing with --judge=openai, only with"),
    (["--judge=rule", "--unwanted"], "--unwanted is given without the --pattern"),
    (["--judge=rule", "--dimension=wit"], "--dimension is 'wit'; without --pattern the rule is that the briefer"),
    (["--judge=rule", "--pattern=("], r"'\(' is no regular expression"),
    (["--judge=rule", "--tie_margin=-1"], "tie_margin is -1.0"),
    (["--judge=rule", "--pattern=x", "--tokenizer=y"], "--pattern and --tokenizer are both given"),
    (["--judge=rule", "--scorer_workdir=runs/x"], "only --pairs=least_sure chooses by a model"),
    (["--judge=rule", "--pairs=least_sure"], "--pairs=least_sure needs a reward for each response"),
    (["--judge=rule", "--tokenizer=nowhere.json"], "nowhere.json: found no tokenizer"),
])  # fmt: skip
def test_what_cannot_be_is_one_message(tmp_path, tasks, server, flags, message):
    given = ["--dimension=brevity", *flags]
    done = server.run("-m", "rmjax.label", f"--tasks={tasks}", f"--output={tmp_path}/labels.jsonl", *given)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert message.replace("\\", "") in done.stderr
    assert "Traceback" not in done.stderr


def test_a_dry_run_needs_neither_key_nor_endpoint(tmp_path, tasks, server):
    done = server.run("-m", "rmjax.label", "--judge=openai", "--model=m", f"--tasks={tasks}", "--dimension=honesty",
                      f"--output={tmp_path}/labels.jsonl", "--dry_run", OPENAI_API_KEY="")  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["estimate"]
    assert (found["pairs"], found["calls"], found["cost"]) == (2, 4, None)


@pytest.fixture
def people(tmp_path):
    """What people have judged."""
    file = tmp_path / "people.jsonl"
    row = {"prompt": "p", "responses": ["x", "y y"], "dimension": "d", "source": "human",
           "comparisons": [{"left": 0, "right": 1, "probability": 0.0}]}  # fmt: skip
    file.write_text(json.dumps(row) + "\n")
    return file


JUDGES = (["--judge=rule"], ["--judge=openai", "--model=m", "--dimension=brevity", "--dry_run"])


@pytest.mark.parametrize("judge", JUDGES)
def test_what_is_judged_is_never_replaced(tmp_path, people, server, judge):
    (tmp_path / "link.jsonl").symlink_to(people)
    shutil.copy(people, tmp_path / "l.orders.jsonl")
    before = people.read_bytes()
    for tasks, output in [("people", "people"), ("people", "link"), ("p*", "people"), ("l.orders", "l")]:
        if output == "l" and judge == JUDGES[0]:
            continue  # a rule has one file
        done = server.run("-m", "rmjax.label", f"--tasks={tmp_path}/{tasks}.jsonl", "--dimension=d",
                          f"--output={tmp_path}/{output}.jsonl", *judge)  # fmt: skip
        assert done.returncode == 2
        assert "which is judged; right would be another file" in done.stderr
        assert people.read_bytes() == before


def test_a_rule_replaces_what_a_rule_wrote_and_nothing_else(tmp_path, people):
    rule, (mine,) = brevity(dimension="d"), read_preferences(people, defaults=RowDefaults("d")).preferences
    output = tmp_path / "out.jsonl"
    label_with(rule, [mine], str(output))
    rows = output.read_text()
    label_with(rule, [mine, mine], str(output))
    assert output.read_text() == 2 * rows
    for there, found in [
        (people.read_text(), "line 1 has source 'human'"), (rows + people.read_text(), "line 2 has source 'human'"),
        ('{"prompt": "p", "chosen": "x", "rejected": "y"}\n', "line 1 has no label"), ("{\n", "line 1 has no label"),
    ]:  # fmt: skip
        output.write_text(there)
        with pytest.raises(ConfigError, match=rf"out.jsonl is there already, and .*{found}; right would be a new file"):
            label_with(rule, [mine], str(output))
        assert output.read_text() == there
    output.write_text("")
    label_with(rule, [mine], str(output))
    assert output.read_text() == rows
    message = (
        rf"out.jsonl is there already, and {output}, line 1 has labels of dimension 'd', not 'wit'; right would be"
    )
    with pytest.raises(ConfigError, match=message):
        label_with(brevity(dimension="wit"), [mine], str(output))
    assert output.read_text() == rows


def test_an_ai_judge_replaces_labels_of_its_store_and_nothing_else(tmp_path, people, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    mine = read_preferences(people, defaults=RowDefaults("d")).preferences
    output, store = tmp_path / "out.jsonl", tmp_path / "out.answers.sqlite"
    chosen = JudgeSettings(model="m", dimension="d", constitution="c", output=str(output), dry_run=True)
    AnswerStore(store).__exit__(None, None, None)
    for path in (output, tmp_path / "out.orders.jsonl"):
        shutil.copy(people, path)
        with pytest.raises(ConfigError, match=rf"{path.name} is there already, and .*line 1 has source 'human'"):
            label_with_ai(mine, chosen, tell=lambda _: None)
        path.unlink()
    told = []
    mine = [dataclasses.replace(one, responses=("worth=1", "worth=2")) for one in mine]
    with LocalJudge() as judge:
        running = dataclasses.replace(chosen, base_url=judge.url, dry_run=False)
        for _ in range(2):
            label_with_ai(mine, running, tell=told.append)
        assert len(judge.requests) == 2
    before = output.read_bytes()
    for changes, found in [
        ({"dimension": "wit"}, "labels of dimension 'd', not 'wit'; right would be another --output"),
        ({"model": "n"}, "labels by 'm', not 'n'; right would be another --output"),
        (
            {"store": str(tmp_path / "other.sqlite")},
            f"labels that are not from {tmp_path}/other.sqlite; right would be ",
        ),
    ]:
        AnswerStore(tmp_path / "other.sqlite").__exit__(None, None, None)
        with pytest.raises(ConfigError, match=f"out.jsonl is there already, and {output}, line 1 has {found}"):
            label_with_ai(mine, dataclasses.replace(running, **changes), tell=told.append)
        assert output.read_bytes() == before
    write_preferences(output, [dataclasses.replace(one, source=Source.AI) for one in mine])
    with pytest.raises(ConfigError, match="line 1 has labels by another labeler, not 'm'"):
        label_with_ai(mine, chosen, tell=told.append)
    output.write_bytes(before)
    store.unlink()
    with pytest.raises(ConfigError, match=r"out.jsonl is there, but no store .*out.answers.sqlite"):
        label_with_ai(mine, chosen, tell=told.append)


def test_help_shows_the_flags_of_all_jobs(server):
    said = server.run("-m", "rmjax.label", "--help").stdout
    for flag in ("--tasks", "--annotators_per_pair", "--pairs", "--limit", "--pattern", "--data"):
        assert f"{flag}:" in said or f"{flag[:2]}[no]{flag[2:]}:" in said
