"""Low-rank adapters (LoRA: Hu et al., 2021, arXiv 2106.09685): matrices that are trained beside those that stay.

A projection with an adapter computes ``x @ kernel + alpha / rank * (x @ a) @ b``. ``a`` starts as PEFT's does and ``b``
at zero, so a model starts as it would without.
"""

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict
from jax.nn.initializers import Initializer
from jaxtyping import Float

from rmjax.arrays import Array
from rmjax.models.axes import named

_ADAPTER, A, B = "_adapter", "a", "b"  # of query/kernel the adapter is query_adapter/a and query_adapter/b
Names = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Adapters:
    """Which projections of every layer have an adapter (by our names, ``query`` to ``down``), and of what rank."""

    rank: int
    alpha: float
    targets: tuple[str, ...]

    @property
    def scale(self) -> float:
        """Of what an adapter adds."""
        return self.alpha / self.rank


def start_of_a(*, stacked: bool) -> Initializer:
    """Uniform in ±1/sqrt(inputs), of [inputs, rank] or of such arrays stacked on a first axis: He's initializer with a
    negative slope of sqrt(5), which is torch's for a Linear."""
    return nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform", batch_axis=(0,) if stacked else ())


class Adapter(nn.Module):
    """What is added to a projection; its matrices are split over devices along the same axes as the kernel.

    Attributes:
      axes: the names of the kernel's axes.
      features: how many numbers the projection gives.
    """

    adapters: Adapters
    axes: tuple[str, str]
    features: int
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, inputs: Float[Array, "*rest inputs"]) -> Float[Array, "*rest outputs"]:
        into, out_of = self.axes
        rank, width = self.adapters.rank, inputs.shape[-1]
        a = self.param(A, named(start_of_a(stacked=False), into, "rank"), (width, rank), jnp.float32)
        b = self.param(B, named(nn.initializers.zeros, "rank", out_of), (rank, self.features), jnp.float32)
        low = inputs.astype(self.dtype).reshape(-1, width) @ a.astype(self.dtype)
        added = self.adapters.scale * (low @ b.astype(self.dtype))
        return added.reshape(*inputs.shape[:-1], self.features)


def adapter_name(projection: str) -> str:
    """Of the module beside that projection, with the parameters ``a`` and ``b``."""
    return projection + _ADAPTER


def is_adapter(names: Names) -> bool:
    """Whether the parameter of this path is one of an adapter."""
    return names[-2].endswith(_ADAPTER)


def leaves_of(tree: Any) -> dict[Names, Any]:
    """The leaves of nested dicts by their paths."""
    return flatten_dict(tree)  # pyright: ignore[reportReturnType] empty nodes aren't kept


def merged(params: Any, adapters: Adapters | None) -> Any:
    """The parameters of the model without adapters that gives the same rewards, the kernels with them in float32."""
    return params if adapters is None else unflatten_dict(dict(merging(leaves_of(params), adapters)))


def merging(leaves: dict[Names, Any], adapters: Adapters) -> Iterator[tuple[Names, Any]]:
    """The same one by one; ``leaves`` loses each as it goes, so that those nobody else holds are freed."""
    for names in [names for names in leaves if not is_adapter(names)]:
        yield names, merged_leaf(leaves, names, adapters)
        del leaves[names]


def merged_leaf(leaves: Mapping[Names, Any], names: Names, adapters: Adapters | None, layer: int | None = None) -> Any:
    """A parameter, or a layer of it, in float32 and with its adapter where it has one, and else as it is."""
    beside = (*names[:-2], adapter_name(names[-2]))
    wanted = [names]
    if adapters is not None and names[-1] == "kernel" and (*beside, A) in leaves:
        wanted += [(*beside, A), (*beside, B)]
    found = [leaves[name] if layer is None else leaves[name][layer] for name in wanted]
    return found[0] if adapters is None or len(found) == 1 else _merge(*found, adapters.scale)


@functools.partial(jax.jit, static_argnums=3)
def _merge(kernel: Array, a: Array, b: Array, scale: float) -> Array:
    product = jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)
    return kernel.astype(jnp.float32) + scale * product
