"""TPU chips by their published figures, and slices of them as the TPU compiler describes them, without a TPU.

The figures are those of the system architecture pages of Cloud TPU (docs.cloud.google.com/tpu/docs: v5e, v5p, v6e).
Bandwidths between chips are published for both directions together; half of it is what a chip can send. Which axes are
closed to a ring is told by "How to Scale Your Model" (jax-ml.github.io/scaling-book/tpus).
"""

import importlib.util
import os
from dataclasses import dataclass
from typing import Any

from jax.experimental import topologies

from rmjax.errors import UserError

GIB = 2**30


@dataclass(frozen=True, kw_only=True)
class Chip:
    """What one chip can do.

    Attributes:
      flops: bfloat16 operations a second.
      hbm_bytes: the memory's size.
      hbm_bandwidth: bytes a second to or from memory.
      interconnect_bandwidth: bytes a second that a chip can send to its neighbours, over all links together.
      links: to how many neighbours: two along each axis of the interconnect.
      ring: an axis of a multiple of so many chips is closed to a ring, if ``rings_alone`` or all axes are.
      rings_alone: whether one axis can be.
    """

    flops: float
    hbm_bytes: int
    hbm_bandwidth: float
    interconnect_bandwidth: float
    links: int
    ring: int
    rings_alone: bool


CHIPS = {
    "v5e": Chip(
        flops=197e12, hbm_bytes=16 * GIB, hbm_bandwidth=819e9, interconnect_bandwidth=200e9, links=4, ring=16,
        rings_alone=True,
    ),
    "v5p": Chip(
        flops=459e12, hbm_bytes=95 * GIB, hbm_bandwidth=2765e9, interconnect_bandwidth=600e9, links=6, ring=4,
        rings_alone=False,
    ),
    "v6e": Chip(
        flops=918e12, hbm_bytes=32 * GIB, hbm_bandwidth=1638e9, interconnect_bandwidth=400e9, links=4, ring=16,
        rings_alone=True,
    ),
}  # fmt: skip


class TopologyError(UserError):
    """A topology that can't be described: the message says what was found and what would be right."""


def chip_of(topology: str) -> Chip:
    """The chip of a topology such as ``v5e:4x4``."""
    name = topology.partition(":")[0]
    if name not in CHIPS:
        raise TopologyError(f"--topology is {topology!r}; it must begin with one of {', '.join(CHIPS)}, as in v5e:4x4")
    return CHIPS[name]


def sending_bandwidth(topology: str) -> float:
    """The bytes a second that the chips at a slice's corners can send: over the links to neighbours that they have.

    All chips send as much as these, so none of them is done sooner. A corner has one neighbour along each axis of more
    than one chip, and two where the axis is closed to a ring.
    """
    chip = chip_of(topology)
    sizes = [int(size) for size in topology.partition(":")[2].split("x")]
    rings = [size % chip.ring == 0 for size in sizes]
    if not chip.rings_alone:
        rings = [all(rings)] * len(rings)
    neighbours = sum(0 if size == 1 else 1 + ring for size, ring in zip(sizes, rings, strict=True))
    return chip.interconnect_bandwidth * neighbours / chip.links


def devices_of(topology: str) -> tuple[Any, ...]:
    """The devices of a slice, for which programs can be compiled and on which none can run.

    ``v5e:4x4`` is a v5litepod-16, ``v5p:2x2x1`` a v5p-8 (whose names count cores, two to a chip).
    """
    chip_of(topology)
    if importlib.util.find_spec("libtpu") is None:
        raise TopologyError(
            "the TPU compiler is not installed; `pip install -r requirements-tpu.txt` brings it, and it needs no TPU"
        )
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")  # else it asks the network which Cloud TPU VM this is
    os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")  # the compiler takes no chips, so several may run at once
    try:
        return tuple(topologies.get_topology_desc(platform="tpu", topology_name=topology).devices)
    except Exception as error:  # jaxlib raises a bare RuntimeError subclass of its own, whose name differs by version
        raise TopologyError(
            f"--topology is {topology!r}, which the TPU compiler does not know ({error}); right would be the chips "
            "along each axis of a slice, as in v5e:4x4, v6e:2x4 or v5p:2x2x1"
        ) from error
