"""Several processes as one run, one on each host: how they find each other, and who writes first.

A run over several processes is started by the same command on every host, with a workdir that all of them see. Nothing
here asks for a device before ``connect`` has been called, and nothing else may.
"""

import contextlib
import glob
import importlib.util
import os
import re
import sys
from collections.abc import Callable, Iterator

import jax
from absl import logging
from jax.experimental import multihost_utils

from rmjax.config import ConfigError

_TPU_CHIPS = ("/dev/accel*", "/dev/vfio/[0-9]*")  # a Cloud TPU VM shows its chips as one or the other

# A process that has not been heard of for so long is taken for dead, and jax ends the others. Heartbeats come from a
# thread that nothing in Python holds up, so a minute of silence means a machine or a network that is gone.
HEARTBEAT_SECONDS = 60
# In what jax says where another process doesn't answer; over TCP it is told at once, without waiting for heartbeats.
_LOST = re.compile(
    r"Gloo|NCCL|[Cc]onnection|[Ss]ocket closed|[Hh]eartbeat|[Cc]oordination|UNAVAILABLE|DEADLINE_EXCEEDED"
)


def connect(*, coordinator_address: str | None, process_count: int | None, process_id: int | None) -> None:
    """Joins the processes of a run; to be called first, before any device is touched.

    Without arguments the process is alone, but on a Cloud TPU VM, where jax asks the platform for the other hosts of
    the slice. (Slurm and Open MPI, which jax would recognise too, are left to the arguments: a single process there
    must not wait for others that were never started, nor lose sight of all GPUs but one.)

    Args:
      coordinator_address: host and port of process 0, the same for all.
      process_count, process_id: how many processes there are, and which one this is, from 0.

    Raises:
      ConfigError: if some of the arguments are given and some are not, or they can't be right.
    """
    given = {"coordinator_address": coordinator_address, "process_count": process_count, "process_id": process_id}
    if missing := [f"--{name}" for name, value in given.items() if value is None]:
        if len(missing) < len(given):
            raise ConfigError(
                f"{' and '.join(missing)} missing; --coordinator_address, --process_count and --process_id must be "
                "given together, or none of them"
            )
        if _on_cloud_tpu():
            _connect_as_detected()
        return
    assert coordinator_address is not None
    assert process_count is not None
    assert process_id is not None
    host, _, port = coordinator_address.rpartition(":")
    if not host or not port.isdecimal():
        raise ConfigError(f"--coordinator_address is {coordinator_address!r}; it must be HOST:PORT of process 0")
    if process_count < 1:
        raise ConfigError(f"--process_count is {process_count}; it must be at least 1")
    if not 0 <= process_id < process_count:
        raise ConfigError(f"--process_id is {process_id}; it must be in 0..{process_count - 1} (--process_count - 1)")
    jax.distributed.initialize(
        coordinator_address=coordinator_address,
        num_processes=process_count,
        process_id=process_id,
        cluster_detection_method="deactivate",
        heartbeat_timeout_seconds=HEARTBEAT_SECONDS,
    )


@contextlib.contextmanager
def process_zero_first(name: str) -> Iterator[None]:
    """Process 0 runs the block while the others wait, then they run it: what it wrote they find.

    All processes must come here. An error of process 0 lets the others in too, so that they meet it themselves.

    Args:
      name: of the occasion, the same on all processes.
    """
    if jax.process_count() == 1:
        yield
        return
    if jax.process_index() > 0:
        multihost_utils.sync_global_devices(name)
    try:
        yield
    finally:
        if jax.process_index() == 0:
            multihost_utils.sync_global_devices(name)


@contextlib.contextmanager
def ended_by_a_lost_process(last_good: Callable[[], str]) -> Iterator[None]:
    """Where another process of the run is found to have ended, says so and ends this one too, with exit code 1.

    At once, not by an exception: on its way out that would wait for the lost process wherever all of them meet, such as
    at a checkpoint that is being written. Where this process isn't told, because it waits for nobody or the network is
    silent, jax ends it after ``HEARTBEAT_SECONDS``.

    Args:
      last_good: what there is to go back to, in words.
    """
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if jax.process_count() == 1 or not _LOST.search(str(error)):
            raise
        print(
            f"error: process {jax.process_index()} of {jax.process_count()} can't reach another process of this run, "
            f"which has ended or lost its network ({str(error).splitlines()[0]}); {last_good()}. The same command on "
            "every host resumes from there; the log of the lost process may say why it ended.",
            file=sys.stderr,
            flush=True,
        )
        os._exit(1)


def _connect_as_detected() -> None:
    try:
        jax.distributed.initialize(heartbeat_timeout_seconds=HEARTBEAT_SECONDS)
    except ValueError as error:
        if "coordinator_address" not in str(error):  # of which jax says so where it recognises no cluster
            raise
        logging.info("this machine has TPU chips, but jax recognises no cluster; the run is one process")


def _on_cloud_tpu() -> bool:
    """Whether jax is going to run on the chips of a Cloud TPU VM; asks no device."""
    wanted = os.environ.get("JAX_PLATFORMS", "").split(",")
    if wanted != [""] and "tpu" not in wanted:
        return False
    return importlib.util.find_spec("libtpu") is not None and any(glob.glob(pattern) for pattern in _TPU_CHIPS)
