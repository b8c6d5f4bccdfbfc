"""A CPU as several devices, so that a step uses all of its processors.

XLA runs a program for one CPU device much as one thread would, but for products that are large enough to share. Over
as many devices as processors everything is shared, small operations and loops too.
"""

import os
import re
import sys

import jax

from rmjax.config import ExperimentConfig, Strategy

MOST = 4  # each device has the whole state, and large products of a few devices are shared among all processors
_FORCED = re.compile(r"--xla_force_host_platform_device_count\b")


def use_processors(config: ExperimentConfig | None = None, *, processes: int = 1) -> None:
    """Makes of the CPU as many devices as this process may use processors, ``MOST`` at the most.

    To be called before jax is used: later it is a RuntimeError. What the user has chosen stays, by
    ``JAX_NUM_CPU_DEVICES`` or in ``XLA_FLAGS``. On a machine with accelerators nothing is computed on these devices.

    Args:
      config: of a run that trains; its rows are split evenly over the devices, which are as many as that allows. Under
        ``Strategy.PMAP`` alone: a mesh has the devices that it is laid out for.
      processes: that share the rows.
    """
    if jax.config.jax_num_cpu_devices != -1 or _FORCED.search(os.environ.get("XLA_FLAGS", "")):  # pyright: ignore[reportAttributeAccessIssue] jax adds it by name
        return
    jax.config.update("jax_num_cpu_devices", device_count(available(), config, processes=processes))


def available() -> int:
    """The processors that this process may use; where the system doesn't say, all of the machine."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def device_count(processors: int, config: ExperimentConfig | None = None, *, processes: int = 1) -> int:
    """How many devices ``use_processors`` makes of so many processors, for a config that is valid."""
    most = min(processors, MOST)
    if config is None:
        return most
    if config.parallel.strategy is not Strategy.PMAP:
        return 1
    rows, parts = config.batch.rows, config.parallel.microbatches * processes
    return max((count for count in range(1, most + 1) if rows % (count * parts) == 0), default=1)
