"""Which implementation of attention a model runs on."""

import functools
from typing import Protocol, runtime_checkable

from rmjax.config import ConfigError
from rmjax.model_config import AttentionKind
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

    @property
    def device_kind(self) -> str: ...


def has_kernels(device: Device) -> bool:
    """Whether attention's kernels are for it: for TPUs, and for NVIDIA's GPUs since Ampere (compute capability 8.0)."""
    if device.platform != "gpu":
        return device.platform in KERNELS
    generation = str(getattr(device, "compute_capability", "")).partition(".")[0]
    return generation.isdigit() and int(generation) >= 8  # AMD's are named otherwise, as gfx942


def choose_attention(kind: AttentionKind, device: Device) -> Attention:
    """The implementation of that kind; of ``AUTO`` the one that BUILD.md's table gives the device.

    ConfigError for kernels on a device that has none.
    """
    kind = chosen_kind(kind, device)
    if kind is not AttentionKind.PALLAS:
        return ANYWHERE[kind]
    if not has_kernels(device):
        raise ConfigError(
            f"config.model.attention is {kind.value!r}, which runs on TPU and on NVIDIA GPUs since Ampere; on "
            f"{device.platform} ({device.device_kind}) it must be {AttentionKind.AUTO.value!r} or another"
        )
    return KERNELS[device.platform]


def chosen_kind(kind: AttentionKind, device: Device) -> AttentionKind:
    """The kind itself, and of ``AUTO`` the one that suits the device."""
    if kind is not AttentionKind.AUTO:
        return kind
    if has_kernels(device):
        return AttentionKind.PALLAS
    return AttentionKind.LISTED if device.platform == "cpu" else AttentionKind.ABREAST
