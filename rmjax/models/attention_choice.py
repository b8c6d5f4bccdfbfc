"""Which implementation of attention a model runs on."""

import functools

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


def choose_attention(kind: AttentionKind, platform: str) -> Attention:
    """The implementation of that kind; of ``AUTO`` the fastest on the platform ("cpu", "gpu", "tpu").

    ConfigError for kernels on a platform that has none.
    """
    if kind is AttentionKind.AUTO:
        kind = AttentionKind.PALLAS if platform in KERNELS else AttentionKind.LISTED
    if kind is not AttentionKind.PALLAS:
        return ANYWHERE[kind]
    if platform not in KERNELS:
        raise ConfigError(
            f"config.model.attention is {kind.value!r}, which runs on GPU and TPU; it must be 'auto' on {platform}"
        )
    return KERNELS[platform]
