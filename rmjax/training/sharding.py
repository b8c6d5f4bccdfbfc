"""Which axis of a mesh each named axis of the model is split over, and attention over such a mesh.

Parameters are split twice: over ``fsdp`` along the width of the residual stream, over ``tensor`` along heads and MLP.
The embedding has no other axis that is sure to divide (a tokenizer has any number of words), so its width is split over
both. The scale of a norm and the reward head are whole everywhere: to gather them would cost more than they take. The
layers are gone through one after another, so their axis is never split.
"""

import dataclasses
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as Spec
from jaxtyping import Float, Int

from rmjax.arrays import Array
from rmjax.model_config import ModelConfig
from rmjax.models.attention import PLAIN, Attention, ScoreRule

DATA, FSDP, TENSOR = AXES = ("data", "fsdp", "tensor")
ROWS = (DATA, FSDP)  # what rows are split over
Rules = tuple[tuple[str, str | tuple[str, ...]], ...]


def axis_rules(model: ModelConfig, mesh: Mesh) -> Rules:
    """The mesh axes of each named axis (see ``rmjax.models.axes``); one that isn't listed is whole on every device.

    Key and value heads that are fewer than the devices of ``tensor`` aren't split: each device computes all of them.
    """
    rules: Rules = (
        ("rows", ROWS),
        ("lookup_rows", DATA),
        ("embedding_width", (FSDP, TENSOR)),
        ("width", FSDP),
        ("heads", TENSOR),
        ("mlp", TENSOR),
    )
    divides = model.key_value_heads % mesh.shape[TENSOR] == 0
    return (*rules, ("key_value_heads", TENSOR)) if divides else rules


def shardings_of(axes: Any, rules: Rules, mesh: Mesh) -> Any:
    """The place of each array in a tree, whose leaves are a PartitionSpec of the names of its axes."""
    places = dict(rules)
    return jax.tree.map(
        lambda names: NamedSharding(mesh, Spec(*(places.get(name) for name in names))),
        axes,
        is_leaf=lambda leaf: isinstance(leaf, Spec),
    )


@dataclasses.dataclass(frozen=True)
class ShardedAttention:
    """An attention implementation where each device of a mesh has its own rows and heads, and sees no others.

    So the implementation may be what XLA can't split by itself, such as a Pallas kernel. Equal ones are equal to jit,
    as functions made anew would not be.
    """

    attention: Attention
    mesh: Mesh

    def __call__(
        self,
        query: Float[Array, "rows length heads size"],
        key: Float[Array, "rows length groups size"],
        value: Float[Array, "rows length groups size"],
        visible_until: Int[Array, "rows length"],
        positions: Int[Array, "rows length"],
        rule: ScoreRule = PLAIN,
    ) -> Float[Array, "rows length heads size"]:
        groups, devices = key.shape[2], self.mesh.shape[TENSOR]
        split = groups % devices == 0

        def own(query: Array, key: Array, value: Array, visible_until: Array, positions: Array) -> Array:
            if not split:  # groups divide the devices, so all heads of a device read one and the same
                group = jax.lax.axis_index(TENSOR) * groups // devices
                key, value = (jax.lax.dynamic_slice_in_dim(heads, group, 1, axis=2) for heads in (key, value))
            return self.attention(query, key, value, visible_until, positions, rule)

        heads, rows = Spec(ROWS, None, TENSOR), Spec(ROWS)
        grouped = heads if split else rows
        places = (heads, grouped, grouped, rows, rows)
        # Kernels don't say over which axes their results vary, so that can't be checked.
        mapped = jax.shard_map(own, mesh=self.mesh, in_specs=places, out_specs=heads, check_vma=False)
        return mapped(query, key, value, visible_until, positions)


def shard_attention(attention: Attention, mesh: Mesh) -> Attention:
    """The same attention, for rows that are split over ``data`` and ``fsdp`` and heads that are over ``tensor``.

    The rows must be a multiple of the devices that they are split over, the query heads of those of ``tensor``; the key
    and value heads must be a multiple or a divisor of the latter.
    """
    return ShardedAttention(attention, mesh)
