"""A CPU as several devices."""

import dataclasses
import os
import subprocess
import sys

import pytest

from rmjax.config import ConfigError, ExperimentConfig, Strategy
from rmjax.training.machine import use_machine
from rmjax.training.processors import MOST, available, device_count

SHOWN = """
import sys, jax
from rmjax.config import ExperimentConfig
from rmjax.training.processors import use_processors
config = ExperimentConfig()
config.batch.rows = int(sys.argv[1])
use_processors(config)
print(jax.local_device_count(), int(jax.jit(lambda: 6 * 7)()))
"""


def config(rows: int, **parallel: object) -> ExperimentConfig:
    made = ExperimentConfig()
    made.batch.rows = rows
    made.parallel = dataclasses.replace(made.parallel, **parallel)
    return made


@pytest.mark.parametrize("processors", [1, 2, 3, 4, 64])
@pytest.mark.parametrize("microbatches", [1, 2, 3])
@pytest.mark.parametrize("processes", [1, 2])
def test_rows_go_round_evenly_over_as_many_devices_as_they_can(processors: int, microbatches: int, processes: int):
    for rows in range(1, 25):
        count = device_count(processors, config(rows, microbatches=microbatches), processes=processes)
        assert 1 <= count <= min(processors, MOST)
        assert count == 1 or rows % (count * microbatches * processes) == 0
        larger = range(count + 1, min(processors, MOST) + 1)
        assert all(rows % (more * microbatches * processes) for more in larger)


def test_a_config_that_cant_be_right_is_an_error_that_names_the_field():
    with pytest.raises(ConfigError, match=r"config\.parallel\.microbatches is 0; it must be at least 1"):
        use_machine(config(16, microbatches=0))


def test_other_strategies_have_the_devices_that_they_are_given():
    assert device_count(8, config(16, strategy=Strategy.JIT)) == 1
    assert device_count(8, config(16, strategy=Strategy.MESH)) == 1


def test_rewards_are_computed_on_as_many_devices_as_processors_allow():
    assert [device_count(processors) for processors in (1, 2, 3, 64)] == [1, 2, 3, MOST]


@pytest.mark.parametrize(
    ("variables", "rows", "devices"),
    [
        ({}, 12, min(available(), MOST)),
        ({}, 7, 1),
        ({"JAX_NUM_CPU_DEVICES": "3"}, 7, 3),
        ({"XLA_FLAGS": "--xla_force_host_platform_device_count=5"}, 12, 5),
    ],
)
def test_what_the_user_has_chosen_stays(variables: dict[str, str], rows: int, devices: int):
    kept = {name: value for name, value in os.environ.items() if name not in ("XLA_FLAGS", "JAX_NUM_CPU_DEVICES")}
    found = subprocess.run(
        [sys.executable, "-c", SHOWN, str(rows)], env=kept | variables, capture_output=True, text=True, check=True
    )
    assert found.stdout.split() == [str(devices), "42"]
