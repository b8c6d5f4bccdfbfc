"""Every experiment is a config that can be run, its own pairs once they are named."""

import importlib
from pathlib import Path

import pytest

from experiments import own_pairs
from rmjax.config import ConfigError, validate

ROOT = Path(__file__).parents[1]
NAMES = sorted(path.stem for path in (ROOT / "experiments").glob("*.py"))
EXPERIMENTS = [name for name in NAMES if name not in ("__init__", "from_json", "own_pairs")]


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_can_be_run_and_names_its_own_command(name):
    module = importlib.import_module(f"experiments.{name}")
    validate(module.get_config())
    commands = (f"--config=experiments/{name}.py", f"python -m studies.{name} --workdir=runs/{name}")
    assert name.endswith("base") or any(command in module.__doc__ for command in commands)


def test_own_pairs_run_once_they_are_named():
    config = own_pairs.get_config()
    with pytest.raises(ConfigError, match=r"config\.data\.train is \(\); .*--config\.data\.train=pairs\.jsonl"):
        validate(config)
    config.data.train = ("pairs.jsonl",)
    validate(config)
    assert config.batch.row_length is None
    assert "--config=experiments/own_pairs.py" in own_pairs.__doc__
