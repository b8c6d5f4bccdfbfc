"""The scripts for Cloud TPU, with a gcloud that notes its arguments and runs what it is given for a worker here."""

import json
import os
import pathlib
import signal
import stat
import subprocess
import time

import pytest

SCRIPTS = pathlib.Path(__file__).parents[1] / "scripts" / "tpu"
COMMANDS = sorted(path for path in SCRIPTS.glob("*.sh") if path.name != "common.sh")
WHERE = ["--zone=here-1", "--project=mine"]
FLAGS = ["--config=experiments/helpfulness.py", "--workdir=gs://bucket/a run", "--config.data.train='a;b',"]

# The cloud is a folder: a file for the state of the queued resource, of the VM, and a home folder for the workers.
GCLOUD = """#!/usr/bin/env python3
import json, os, pathlib, shutil, subprocess, sys

cloud, arguments = pathlib.Path(os.environ["CLOUD"]), sys.argv[1:]
with (cloud / "calls").open("a") as file:
    file.write(json.dumps(arguments) + "\\n")
failing = cloud / "failing"
if failing.exists():
    failing.unlink()
    sys.exit(1)
queued, vm, home = cloud / "queued", cloud / "vm", cloud / "home"
match arguments[2:4] if arguments[0] == "compute" else arguments:
    case ["queued-resources", "create"]:
        queued.write_text("WAITING_FOR_RESOURCES ACTIVE")
        vm.write_text("READY")
        shutil.copytree(cloud / "image", home)
    case ["queued-resources", "list"] if queued.exists():
        state, *later = queued.read_text().split()
        print(state)
        queued.write_text(" ".join(later or [state]))
    case ["queued-resources", "delete"]:
        queued.unlink()
        vm.unlink()
        shutil.rmtree(home)
    case ["tpu-vm", "list"] if vm.exists():
        print(vm.read_text())
    case ["tpu-vm", "ssh"]:
        command = next(argument for argument in arguments if argument.startswith("--command="))
        environment = {**os.environ, "HOME": str(home)}
        sys.exit(subprocess.run(["bash", "-c", command[10:]], cwd=home, env=environment).returncode)
"""
# In place of rmjax.train's Python: notes how it was called and ends with the next of the codes that it is to end with.
PYTHON = """#!/usr/bin/env python3
import json, os, pathlib, sys, time

cloud = pathlib.Path(os.environ["CLOUD"])
with (cloud / "runs").open("a") as file:
    file.write(json.dumps([os.environ.get("A_VARIABLE"), *sys.argv[1:]]) + "\\n")
print("step 1", flush=True)
while (cloud / "endless").exists():
    time.sleep(0.05)
code, *later = (cloud / "codes").read_text().split()
(cloud / "codes").write_text(" ".join(later))
if code == "143":
    (cloud / "vm").write_text("PREEMPTED")
sys.exit(int(code))
"""
NOTING = '#!/usr/bin/env bash\nprintf "%s %s\\n" "$(basename "$0")" "$*" >> "$CLOUD/installed"\n'


class Cloud:
    """The folder, and the scripts run with it."""

    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        bin_ = folder / "bin"
        venv = folder / "image" / "rmjax" / ".venv" / "bin"
        for place, text in (
            (bin_ / "gcloud", GCLOUD), (bin_ / "git", NOTING), (bin_ / "make", NOTING),
            (venv / "python", PYTHON), (venv / "pip", NOTING),
        ):  # fmt: skip
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
            place.chmod(place.stat().st_mode | stat.S_IXUSR)
        self.environment = {
            **os.environ, "PATH": f"{bin_}{os.pathsep}{os.environ['PATH']}", "CLOUD": str(folder), "POLL_SECONDS": "0",
            "TPU_NAME": "rm", "TPU_ZONE": "here-1", "TPU_PROJECT": "mine", "TPU_TYPE": "v5litepod-16",
            "TPU_VERSION": "v2", "RMJAX_REPOSITORY": "https://example.com/r m.git", "RMJAX_REVISION": "abc",
        }  # fmt: skip

    def run(self, script: str, *arguments: str, code: int = 0, **variables: str) -> str:
        """What a script said on stderr."""
        done = subprocess.run([SCRIPTS / script, *arguments], env=self.environment | variables, capture_output=True,
                              text=True, check=False, timeout=60)  # fmt: skip
        assert done.returncode == code, done.stderr
        return done.stderr

    def lines(self, name: str) -> list:
        return [json.loads(line) for line in (self.folder / name).read_text().splitlines()]

    def calls(self, *verb: str) -> list[list[str]]:
        """The calls of gcloud compute tpus whose first words are these, without them."""
        calls = [call[2:] for call in self.lines("calls") if call[:2] == ["compute", "tpus"]]
        return [call[len(verb) :] for call in calls if tuple(call[: len(verb)]) == verb]

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)


@pytest.fixture
def cloud(tmp_path: pathlib.Path) -> Cloud:
    return Cloud(tmp_path)


@pytest.mark.parametrize("script", [*COMMANDS, SCRIPTS / "common.sh"], ids=lambda path: path.name)
def test_each_script_is_bash_and_says_how_it_is_used(script: pathlib.Path):
    subprocess.run(["bash", "-n", script], check=True)
    text = script.read_text()
    assert "set -euo pipefail" in text or 'source "$(dirname "${BASH_SOURCE[0]}")/common.sh"' in text
    if script in COMMANDS:
        assert f"\n#   scripts/tpu/{script.name}" in text
        assert os.access(script, os.X_OK)


def test_a_missing_setting_is_named(cloud: Cloud):
    for name in ("TPU_NAME", "TPU_ZONE", "TPU_TYPE", "TPU_VERSION"):
        assert f"{name}: must be" in cloud.run("create.sh", code=1, **{name: ""})
    assert "--workdir" in cloud.run("start.sh", "--config=a.py", code=2)
    assert "scripts/tpu/fetch.sh gs://BUCKET" in cloud.run("fetch.sh", "runs/a", "runs/b", code=2)
    assert not (cloud.folder / "calls").exists()


def test_a_vm_is_asked_for_in_the_queue_or_directly(cloud: Cloud):
    cloud.run("create.sh", "--direct", TPU_SPOT="true")
    kind = ["rm", "--accelerator-type=v5litepod-16"]
    assert cloud.calls("tpu-vm", "create") == [[*kind, "--version=v2", "--spot", *WHERE]]
    assert "ACTIVE" in cloud.run("create.sh")
    cloud.run("create.sh")  # it is there
    queued = ["rm", "--node-id=rm", kind[1], "--runtime-version=v2", *WHERE]
    assert cloud.calls("queued-resources", "create") == [queued]
    cloud.write("queued", "FAILED")
    assert "rm is FAILED and won't become active" in cloud.run("create.sh", code=2)


def test_all_workers_are_installed_the_same_revision(cloud: Cloud):
    cloud.run("create.sh")
    cloud.run("install.sh")
    assert [call[:2] for call in cloud.calls("tpu-vm", "ssh")] == [["rm", "--worker=all"]]
    installed = (cloud.folder / "installed").read_text()
    assert "git fetch --quiet --depth=1 https://example.com/r m.git abc\n" in installed
    assert "make setup PYTHON=" in installed
    assert "pip install --quiet -r requirements-tpu.txt -r requirements-gcs.txt\n" in installed
    for line in (SCRIPTS / "install.sh").read_text().split("-r ")[1:]:
        assert (SCRIPTS.parents[1] / line.split()[0].rstrip('"')).exists()


def test_a_run_goes_on_alone_with_the_arguments_as_they_were_given(cloud: Cloud):
    cloud.run("create.sh")
    cloud.write("codes", "3")
    cloud.write("endless", "")
    cloud.run("start.sh", "A_VARIABLE=x y", *FLAGS)
    assert "a run is going on here already" in cloud.run("start.sh", *FLAGS, code=3)
    (cloud.folder / "endless").unlink()
    ended = cloud.folder / "home" / "rmjax.exit"
    for _ in range(200):
        if ended.exists() and ended.read_text():
            break
        time.sleep(0.05)
    assert ended.read_text() == "3\n"
    assert cloud.lines("runs") == [["x y", "-m", "rmjax.train", *FLAGS]]
    assert (cloud.folder / "home" / "rmjax.log").read_text() == "step 1\n"


def test_a_run_is_carried_through_a_preemption(cloud: Cloud):
    cloud.write("codes", "143 0")
    said = cloud.run("run.sh", "A_VARIABLE=1", *FLAGS, TPU_SPOT="true")
    assert "rm was preempted; it is created anew" in said
    assert "the run has ended with code 0" in said
    assert cloud.lines("runs") == [["1", "-m", "rmjax.train", *FLAGS]] * 2
    assert len(cloud.calls("queued-resources", "create")) == 2
    assert cloud.calls("queued-resources", "delete") == [["rm", "--force", "--quiet", *WHERE]]
    assert (cloud.folder / "vm").read_text() == "READY"  # the VM of a run that has ended is left


def test_a_run_that_fails_ends_the_loop_and_may_be_started_again(cloud: Cloud):
    cloud.write("codes", "2 0")
    assert "the run has ended with code 2" in cloud.run("run.sh", *FLAGS, code=2)
    assert len(cloud.calls("queued-resources", "delete")) == 0
    cloud.run("run.sh", *FLAGS)
    assert len(cloud.lines("runs")) == 2


def test_gcloud_that_fails_once_deletes_nothing(cloud: Cloud):
    cloud.run("create.sh")
    cloud.write("codes", "0")
    cloud.write("failing", "")
    cloud.run("run.sh", *FLAGS)
    assert len(cloud.lines("runs")) == 1
    assert cloud.calls("queued-resources", "delete") == []


def test_an_installation_that_fails_once_is_tried_again(cloud: Cloud):
    """make ends with 2, which of rmjax.train, and of the scripts, means wrong settings."""
    cloud.write("bin/make", f"{NOTING}[ -e $CLOUD/made ] || {{ touch $CLOUD/made; exit 2; }}\n")
    cloud.write("codes", "0")
    cloud.run("run.sh", *FLAGS)
    assert (cloud.folder / "installed").read_text().count("make setup") == 2
    assert len(cloud.lines("runs")) == 1


def test_results_come_back_and_everything_is_deleted(cloud: Cloud):
    target = cloud.folder / "results" / "run"
    cloud.run("fetch.sh", "gs://bucket/run", str(target), "--exclude=checkpoints/.*")
    rsync = ["storage", "rsync", "gs://bucket/run", str(target), "--recursive", "--exclude=checkpoints/.*"]
    assert cloud.lines("calls") == [rsync]
    assert target.is_dir()
    cloud.run("delete.sh")
    assert cloud.calls("tpu-vm", "delete") == [["rm", "--quiet", *WHERE]]
    cloud.run("create.sh")
    cloud.run("delete.sh")
    assert cloud.calls("queued-resources", "delete") == [["rm", "--force", "--quiet", *WHERE]]


def test_the_log_of_a_worker_is_followed(cloud: Cloud):
    (cloud.folder / "home").mkdir()
    cloud.write("home/rmjax.log", "step 7\n")
    command = [SCRIPTS / "watch.sh", "3"]
    with subprocess.Popen(
        command, env=cloud.environment, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as watching:
        assert watching.stdout.readline() == "step 7\n"
        os.killpg(watching.pid, signal.SIGKILL)
    assert cloud.calls("tpu-vm", "ssh")[0][:2] == ["rm", "--worker=3"]
