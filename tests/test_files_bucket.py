"""A bucket works wherever a folder does: the commands with the clients of Google Cloud Storage, and buckets here."""

import json
import pathlib
import re
import signal
import time
from collections.abc import Iterator

import pytest
from fake_bucket import Buckets, serving
from forked import Forked, Server
from test_training_metrics_writer import read_events
from test_training_resume import read_lines
from tiny_run import tiny_config, write_rows

from rmjax.config import to_json
from rmjax.errors import UserError
from rmjax.evaluation.evaluate import evaluate
from rmjax.evaluation.validation import make_evaluator
from rmjax.files import GrowingObject
from rmjax.labeling.people.job import PeopleJob, serve
from rmjax.labeling.people.store import Store
from rmjax.scoring.scored_files import score_file
from rmjax.scoring.scorer import RewardScorer
from rmjax.training.loop import train
from rmjax.training.workdir import WorkdirError, open_workdir

pytest.importorskip("gcsfs", reason="requirements-gcs.txt is not installed")
pytest.importorskip("google.cloud.storage", reason="requirements-gcs.txt is not installed")

STEPS, EVALUATE_EVERY = 12, 4
SCORED = "".join(json.dumps({"prompt": f"Question {n}: bird? ", "response": "cloud"}) + "\n" for n in range(5))


class Machine:
    """Commands in processes whose gs:// is the fake one."""

    def __init__(self, folder: pathlib.Path, buckets: Buckets, server: Server, variables: dict[str, str]):
        self.folder, self.buckets, self._server, self._variables = folder, buckets, server, variables
        self.out, self.err = folder / "out", folder / "err"

    def start(self, command: str, *flags: str) -> Forked:
        return self._server.start(["-m", f"rmjax.{command}", *flags], out=self.out, err=self.err, **self._variables)

    def run(self, command: str, *flags: str) -> str:
        code = self.start(command, *flags).wait(timeout=300)
        assert code == 0, self.err.read_text()
        return self.out.read_text()

    def train_flags(self) -> list[str]:
        return [
            "train",
            f"--config=experiments/from_json.py:{self.folder / 'config.json'}",
            "--workdir=gs://bucket/run",
        ]

    def bring_back(self, prefix: str) -> pathlib.Path:
        """A folder with what is in the bucket below a name."""
        target = self.folder / "brought" / prefix
        for (_, name), (content, _) in self.buckets.objects.items():
            if name.startswith(f"{prefix}/"):
                path = target / name.removeprefix(f"{prefix}/")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
        return target


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory, server: Server, cached: dict[str, str]) -> Iterator[Machine]:
    """The same rows and configs in a folder and in a bucket, and a run that was trained in the folder."""
    folder = tmp_path_factory.mktemp("bucket")
    write_rows(folder / "rows.jsonl")
    (folder / "scored.jsonl").write_text(SCORED)
    here, there = [
        tiny_config(rows, steps=STEPS, evaluate_every=EVALUATE_EVERY)
        for rows in (f"{folder}/rows.jsonl", "gs://bucket/rows.jsonl")
    ]
    (folder / "config.json").write_text(to_json(there))
    with serving() as (buckets, variables):
        for name in ("rows.jsonl", "scored.jsonl"):
            buckets.put("bucket", name, (folder / name).read_bytes())
        train(here, folder / "run", make_evaluator=make_evaluator)
        yield Machine(folder, buckets, server, variables | cached)


def kill_after_checkpoint(machine: Machine, step: int, number: signal.Signals) -> int:
    """Starts the run in the bucket and ends it once that checkpoint is whole; its exit code."""
    process = machine.start(*machine.train_flags())
    whole = ("bucket", f"run/checkpoints/{step}/commit_success.txt")
    while whole not in machine.buckets.objects and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(number)
    return process.wait(timeout=300)


def test_a_run_is_trained_and_resumed_in_a_bucket(machine: Machine):
    assert kill_after_checkpoint(machine, EVALUATE_EVERY, signal.SIGKILL) == -signal.SIGKILL
    machine.run(*machine.train_flags())
    workdir, expected = machine.bring_back("run"), machine.folder / "run"
    assert read_lines(workdir) == read_lines(expected)
    for name in ("tokenizer.json", "template.json"):
        assert (workdir / name).read_bytes() == (expected / name).read_bytes()
    noted = [json.loads((folder / "data.json").read_text()) for folder in (workdir, expected)]
    assert all(noted[0][name] == noted[1][name] for name in ("train", "validation"))  # what was read, not from where
    assert len(json.loads((workdir / "environment.json").read_text())["starts"]) == 2
    steps = {event.step for path in workdir.glob("events.*") for event in read_events(path) if event.summary.value}
    assert steps == set(range(1, STEPS + 1))
    checkpoints = {int(path.name) for path in (workdir / "checkpoints").iterdir()}
    assert checkpoints == {int(path.name) for path in (expected / "checkpoints").iterdir() if path.name.isdecimal()}
    names = {path.name for path in workdir.iterdir() if not path.name.startswith(("events", "."))}
    assert names == {"checkpoints", "config.json", "data.json", "environment.json", "metrics.jsonl", "template.json",
                     "tokenizer.json"}  # fmt: skip


def test_evaluation_and_scores_are_those_of_the_folder(machine: Machine):
    folder = machine.folder
    if ("bucket", "run/config.json") not in machine.buckets.objects:
        machine.run(*machine.train_flags())
    flags = ["--workdir=gs://bucket/run", "--data=gs://bucket/rows.jsonl", "--report=gs://bucket/report"]
    ours = json.loads(machine.run("evaluate", *flags))
    (found,) = evaluate([str(folder / "run")], [str(folder / "rows.jsonl")])
    own = {"model": "", "data": "", "run": ""}  # the same training twice is two runs
    assert {**ours, **own} == {**json.loads(found.to_json()), **own}
    report = machine.bring_back("report")
    assert {path.name for path in report.iterdir()} == {
        "report.html", "results.jsonl", "matrix.png", "reliability.png", "rewards.png", "training_curves.png"
    }  # fmt: skip
    assert all(path.read_bytes()[:4] == b"\x89PNG" for path in report.glob("*.png"))
    machine.run(
        "score", "--workdir=gs://bucket/run", "--input=gs://bucket/scored.jsonl", "--output=gs://bucket/rewards.jsonl"
    )
    score_file(RewardScorer.from_workdir(folder / "run"), f"{folder}/scored.jsonl", f"{folder}/rewards")
    assert machine.buckets.objects["bucket", "rewards.jsonl"][0] == (folder / "rewards").read_bytes()


@pytest.fixture
def buckets(monkeypatch: pytest.MonkeyPatch) -> Iterator[Buckets]:
    """Buckets that this process reaches."""
    with serving() as (buckets, variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        yield buckets


def test_a_file_grows_by_what_is_new(buckets: Buckets):
    path, expected = "gs://bucket/run/metrics.jsonl", b""
    for start in range(3):  # each goes on where the one before it stopped
        growing = GrowingObject(path)
        growing.flush()
        for number in range(20):
            growing.write(line := f"{start} {number} {'x' * 50}\n".encode())
            expected += line
            growing.flush()
            assert buckets.objects["bucket", "run/metrics.jsonl"][0] == expected
        growing.close()
    assert sum(size for _, size in buckets.uploaded) == len(expected)
    assert [name for _, name in buckets.objects] == ["run/metrics.jsonl"]


def test_an_answer_that_was_lost_adds_nothing_twice(buckets: Buckets):
    growing = GrowingObject("gs://bucket/a")
    for piece in (b"a", b"b", b"c"):
        growing.write(piece)
        buckets.lost_answers = 1 if piece == b"b" else 0
        growing.flush()
    assert buckets.objects["bucket", "a"][0] == b"abc"
    assert buckets.lost_answers == 0


def test_what_another_process_wrote_is_an_error_and_stays(buckets: Buckets):
    growing = GrowingObject("gs://bucket/a")
    growing.write(b"a")
    growing.flush()
    buckets.put("bucket", "a", b"of another")
    growing.write(b"b")
    with pytest.raises(Exception, match="conditionNotMet"):
        growing.flush()
    assert buckets.objects["bucket", "a"][0] == b"of another"


def test_a_bucket_of_another_kind_is_refused():
    config = tiny_config("rows.jsonl")
    with pytest.raises(WorkdirError, match=re.escape("it must be a folder or gs://")):
        open_workdir("s3://bucket/run", config)


def test_what_people_judge_is_not_written_over_a_file_of_another_store(buckets: Buckets, tmp_path: pathlib.Path):
    job = PeopleJob(output="gs://bucket/out.jsonl", store=f"{tmp_path}/job.sqlite", dimension="brevity")
    buckets.put("bucket", "out.gold.jsonl", SCORED.encode())
    for message in ("is there, but no store", "is there already, and .*line 1 has no label"):
        with pytest.raises(UserError, match=f"gs://bucket/out.gold.jsonl {message}"):
            serve(job, lambda: pytest.fail("nothing may be opened"))
        Store(f"{tmp_path}/job.sqlite").close()
