"""The walk from a language model to a served reward: its notebook is run from top to bottom, with a tiny model."""

import os
import re
import socket
import tomllib
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from pretrained_folders import write_pretrained
from test_datasets_hh_rlhf import write_published

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "finetuning.md").read_text()
NOTEBOOK = ROOT / "docs" / "finetuning.ipynb"
SMALL = (
    "--config.steps=4 --config.evaluate_every=2 --config.batch.rows=4 --config.batch.row_length=256 "
    "--config.text.max_prompt_tokens=128 --config.text.max_response_tokens=64 --config.tuning.lora_rank=2 "
    "--config.data.validation_fraction=0.2 --config.parallel.strategy=JIT --config.model.attention=DENSE"
)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.fixture
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cached: dict[str, str]) -> Path:
    """What the notebook reads from the environment."""
    write_pretrained(tmp_path / "base", "qwen")
    one_device = os.environ["XLA_FLAGS"].replace("--xla_force_host_platform_device_count=4", "")
    variables = {
        "BASE": str(tmp_path / "base"),
        "RUN": str(tmp_path / "run"),
        "EXPORTED": str(tmp_path / "exported"),
        "HH": str(write_published(tmp_path / "hh", rows=40)),
        "PORT": str(free_port()),
        "MORE": f"{SMALL} --config.data.data_dir={tmp_path / 'prepared'}",
        "XLA_FLAGS": one_device,
        "IPYTHONDIR": str(tmp_path / "ipython"),
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        **cached,
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return tmp_path


def test_the_notebook_runs_from_top_to_bottom(surroundings: Path):
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    client = NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": NOTEBOOK.parent}}
    )
    client.execute()
    card = (surroundings / "exported" / "README.md").read_text()
    (row,) = (row for row in card.splitlines() if row.startswith("| `hh_rlhf/helpful-base:train` |"))
    spec, judged, *counts, license = row.strip("| ").split(" | ")
    assert (spec, judged, license) == ("`hh_rlhf/helpful-base:train`", "helpfulness/human", "MIT")
    assert sum(map(int, counts)) == 40  # trained on, held out, skipped
    assert "base_model" not in card  # which is an id on the hub
    printed = "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", ()))
    assert "# A reward model of helpfulness" in printed
    assert "hh_rlhf/helpful-base:test" in card


def test_the_notebook_is_stored_without_what_a_run_leaves_in_it():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for cell in notebook.cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


def test_the_page_says_what_the_notebook_adds_where_nothing_can_be_downloaded():
    source = "\n".join(cell.source for cell in nbformat.read(NOTEBOOK, as_version=4).cells)
    added = re.findall(r"f\"(--[\w.]+)=\{HH\}\"", source)
    assert len(added) == 2
    for flag in added:
        assert f"`{flag}=FOLDER`" in PAGE


def test_a_newcomer_is_told_which_python_before_the_first_command():
    lowest = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"].removeprefix(">=")
    readme = (ROOT / "README.md").read_text()
    (said,) = re.findall(r"Python 3\.\d+ to 3\.\d+", readme[: readme.index("make train ")])
    assert said.startswith(f"Python {lowest} to ")
    assert said in (ROOT / "BUILD.md").read_text()
    assert "pip install -e ." in PAGE[: PAGE.index("```python")]


def test_the_page_and_the_notebook_have_the_same_commands():
    source = "\n".join(cell.source for cell in nbformat.read(NOTEBOOK, as_version=4).cells)
    names = {"Qwen/Qwen3-0.6B": "{BASE}", "runs/finetune": "{RUN}", "=exported": "={EXPORTED}", "8000": "{PORT}"}
    commands = re.findall(r"^```console\n(.*?)\n```", PAGE, flags=re.DOTALL | re.MULTILINE)
    assert len(commands) == 4
    for command in commands:
        for value, name in names.items():
            command = command.replace(value, name)
        assert f'"{command}"' in source
