"""Which implementation of attention a model runs on."""

import functools

from rmjax.config import AttentionKind
from rmjax.models.attention import Attention, dense_attention
from rmjax.models.blocked_attention import blocked_attention
from rmjax.models.blocks import Order

_WIDE_BLOCK = 128  # of a device that takes all query blocks at once: as long as a side of its matrix unit

IMPLEMENTATIONS: dict[AttentionKind, Attention] = {
    AttentionKind.DENSE: dense_attention,
    AttentionKind.LISTED: blocked_attention,
    AttentionKind.ABREAST: functools.partial(blocked_attention, block=_WIDE_BLOCK, order=Order.ABREAST),
}
_BY_PLATFORM = {"cpu": AttentionKind.LISTED}


def choose_attention(kind: AttentionKind, platform: str) -> Attention:
    """The implementation of that kind; of ``AUTO`` the fastest on the platform ("cpu", "gpu", "tpu")."""
    if kind is AttentionKind.AUTO:
        kind = _BY_PLATFORM.get(platform, AttentionKind.ABREAST)
    return IMPLEMENTATIONS[kind]
