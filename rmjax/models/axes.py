"""Names for the axes of parameters and activations, so that a strategy of training can split them over devices.

A model says here what an axis is; what is split over which devices is for ``rmjax.training.sharding`` to say. Where
nobody says anything the names do nothing.

Axes of parameters: ``layers``, ``vocabulary``, ``positions`` (learned ones), ``width`` (of the residual stream),
``embedding_width`` (the same, in the embeddings), ``heads`` and ``key_value_heads`` (times the head size), ``mlp``,
``norm`` (a scale), ``rank`` (of an adapter), ``read`` (the width, where the reward head reads it), ``reward``.
Axes of activations: ``rows``, ``length``, ``features`` (the residual stream), ``mlp``; ``lookup_rows``,
``embedding_width`` and ``width`` where tokens are looked up in the embedding.
"""

from typing import Any

import jax
from flax import linen as nn
from flax.linen.spmd import with_logical_constraint
from jax.nn.initializers import Initializer

from rmjax.arrays import Array

LAYERS = {nn.PARTITION_NAME: "layers"}  # for nn.scan: the name of the axis that it stacks parameters on


def named(initializer: Initializer, *axes: str) -> Initializer:
    """The initializer of a parameter whose axes have these names."""
    return nn.with_logical_partitioning(initializer, axes)  # pyright: ignore[reportReturnType] Flax unpacks the box


def laid_out(values: Array, *axes: str) -> Array:
    """The same values, split over devices as activations with these axes are."""
    return with_logical_constraint(values, axes)


def laid_out_like(axes: Any, tree: Any) -> Any:
    """The same tree, split over devices as parameters are; ``axes`` is a tree of their axis names."""
    return jax.tree.map(lambda names, values: laid_out(values, *names), axes, tree)
