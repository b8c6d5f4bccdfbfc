"""Which implementation of attention a model runs on."""

import functools
from typing import Protocol, runtime_checkable

from rmjax.config import AttentionKind, ConfigError
from rmjax.models.attention import Attention, dense_attention
from rmjax.models.blocked_attention import blocked_attention
from rmjax.models.blocks import Order
from rmjax.models.gpu_attention import gpu_attention
from rmjax.models.tpu_attention import tpu_attention

WIDE_BLOCK = 128  # of a device that takes all query blocks at once: as long as a side of its matrix unit

ANYWHERE: dict[AttentionKind, Attention] = {
    AttentionKind.DENSE: dense_attention,
    AttentionKind.LISTED: blocked_attention,
    AttentionKind.ABREAST: functools.partial(blocked_attention, block=WIDE_BLOCK, order=Order.ABREAST),
}
KERNELS: dict[str, Attention] = {"gpu": gpu_attention, "tpu": tpu_attention}


@runtime_checkable
class Device(Protocol):
    """What is asked of a ``jax.Device``; a GPU has a ``compute_capability`` too."""

    @property
    def platform(self) -> str: ...


def has_kernels(device: Device) -> bool:
    """Whether attention's kernels run there: on a TPU, and on NVIDIA's GPUs since Ampere (compute capability 8.0)."""
    if device.platform != "gpu":
        return device.platform in KERNELS
    generation = str(getattr(device, "compute_capability", "")).partition(".")[0]
    return generation.isdigit() and int(generation) >= 8  # AMD's are named otherwise, as gfx942


def choose_attention(kind: AttentionKind, device: Device) -> Attention:
    """The implementation of that kind; of ``AUTO`` the fastest on the device.

    ConfigError for kernels on a device that has none.
    """
    if kind is AttentionKind.AUTO:
        without = AttentionKind.LISTED if device.platform == "cpu" else AttentionKind.ABREAST
        kind = AttentionKind.PALLAS if has_kernels(device) else without
    if kind is not AttentionKind.PALLAS:
        return ANYWHERE[kind]
    if not has_kernels(device):
        raise ConfigError(
            f"config.model.attention is {kind.value!r}, which runs on TPU and on NVIDIA GPUs since Ampere; here, on "
            f"{_name(device)}, it must be {AttentionKind.AUTO.value!r} or another"
        )
    return KERNELS[device.platform]


def _name(device: Device) -> str:
    kind = getattr(device, "device_kind", device.platform)
    return kind if kind == device.platform else f"{device.platform} ({kind})"
