"""Which implementation of attention a model runs on."""

import functools

from rmjax.config import AttentionKind, ConfigError
from rmjax.models.attention import Attention, dense_attention
from rmjax.models.blocked_attention import blocked_attention
from rmjax.models.blocks import Order
from rmjax.models.tpu_attention import tpu_attention

WIDE_BLOCK = 128  # of a device that takes all query blocks at once: as long as a side of its matrix unit

IMPLEMENTATIONS: dict[AttentionKind, Attention] = {
    AttentionKind.DENSE: dense_attention,
    AttentionKind.LISTED: blocked_attention,
    AttentionKind.ABREAST: functools.partial(blocked_attention, block=WIDE_BLOCK, order=Order.ABREAST),
    AttentionKind.PALLAS: tpu_attention,
}
_BY_PLATFORM = {"cpu": AttentionKind.LISTED, "tpu": AttentionKind.PALLAS}


def choose_attention(kind: AttentionKind, platform: str) -> Attention:
    """The implementation of that kind; of ``AUTO`` the fastest on the platform ("cpu", "gpu", "tpu").

    ConfigError for TPU kernels on another platform.
    """
    if kind is AttentionKind.AUTO:
        kind = _BY_PLATFORM.get(platform, AttentionKind.ABREAST)
    if kind is AttentionKind.PALLAS and platform != "tpu":
        raise ConfigError(
            f"config.model.attention is {kind.value!r}, which runs on TPU; it must be 'auto' on {platform}"
        )
    return IMPLEMENTATIONS[kind]
