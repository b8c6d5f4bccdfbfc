"""Does exactly what docs/extending.md says, on a copy of the package, and runs its commands."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "extending.md").read_text()
# The commands of the page as they stand, with a model and a number of steps that suit a test.
SMALL = [
    "--config.steps=2",
    "--config.batch.rows=4",
    "--config.text.vocabulary_size=280",
    "--config.model.layers=1",
    "--config.model.width=16",
    "--config.data.validation_fraction=0.2",
    "--config.data.data_dir=prepared",
]


def blocks(language: str, text: str = PAGE) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package with all that the page adds."""
    copy = tmp_path_factory.mktemp("extended")
    for folder in ("rmjax", "experiments"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for block in blocks("python"):
        path, text = re.fullmatch(r"# (\S+)\n(.*)", block, flags=re.DOTALL).groups()
        assert not (copy / path).exists()
        (copy / path).write_text(text)
    for block in blocks("diff"):
        # Line numbers may have moved; the lines around a change must stand as the page has them.
        subprocess.run(["git", "apply", "-"], input=block, text=True, cwd=copy, check=True)
    rows = [
        {"question": f"Where is door {n}?", "better": f" Up there, please, door {n}.", "worse": f" Find door {n}."}
        for n in range(40)
    ]
    (copy / "politeness.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return copy


@pytest.mark.parametrize("number", [0, 1])
def test_the_commands_of_the_page_run_on_what_it_adds(extended: Path, number: int):
    commands = blocks("console")
    assert len(commands) == 2
    python, *arguments = shlex.split(commands[number])
    assert python == "python"
    one_device = os.environ["XLA_FLAGS"].replace("--xla_force_host_platform_device_count=4", "")
    environment = dict(os.environ, PYTHONPATH=str(extended), JAX_PLATFORMS="cpu", XLA_FLAGS=one_device)
    done = subprocess.run(
        [sys.executable, *arguments, *SMALL], cwd=extended, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    workdir = extended / ("runs/politeness", "runs/courtesy")[number]
    config = json.loads((workdir / "config.json").read_text())
    assert config["dimension"] == "politeness"
    assert config["loss"]["reward_decay"] == (0.01, 0.0)[number]
    assert config["model"]["embedding_norm"] is (False, True)[number]
    assert "0 comparisons skipped" in done.stderr
    assert len([line for line in (workdir / "metrics.jsonl").read_text().splitlines() if '"loss"' in line]) == 2


def lines_of_code(text: str) -> int:
    """What a section adds: the lines of its Python files, but for blank ones and the docstring, and those of diffs."""
    count = len(re.findall(r"^\+(?!\+\+).*\S.*", "\n".join(blocks("diff", text)), flags=re.MULTILINE))
    for block in blocks("python", text):
        code = re.fullmatch(r'# \S+\n"""[^"]*"""\n(.*)', block, flags=re.DOTALL)[1]
        count += sum(bool(line.strip()) for line in code.splitlines())
    return count


def test_the_page_has_all_six_and_each_is_as_short_as_it_says():
    sections = re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", PAGE, flags=re.DOTALL | re.MULTILINE)
    assert [title for title, _ in sections] == [
        "A dimension", "A row form", "A loss term", "A data set", "A labeler", "A backbone variant", "Using them",
    ]  # fmt: skip
    counts = {title: lines_of_code(text) for title, text in sections[:-1]}
    assert all(counts.values()), counts
    longest = int(re.search(r"fewer than ten lines of code but for a data set, which takes (\d+),", PAGE)[1])
    assert counts.pop("A data set") == longest
    assert max(counts.values()) < 10, counts
