"""Parameters out of a folder in Hugging Face's format: a causal language model, or a reward model.

They are read layer by layer into arrays that lie where they are to be, so that beside these the host never holds more
than a tensor, and each process reads only what lies on its devices.
"""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax.traverse_util import flatten_dict, unflatten_dict
from jax.nn.initializers import Initializer
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Shaped
from safetensors import safe_open

from rmjax.arrays import Array
from rmjax.model_config import ModelConfig
from rmjax.models.huggingface_config import HuggingFaceError, max_positions_of, model_config_of
from rmjax.models.huggingface_names import (
    FAMILIES,
    HEAD,
    INDEX,
    LAYERS,
    SINGLE,
    Names,
    Stored,
    part_of,
    stored_shape,
)  # fmt: skip
from rmjax.models.lora import A, is_adapter, leaves_of, start_of_a
from rmjax.models.reward import HEAD_INITIALIZER, HEAD_KERNEL, Params

_EMBEDDING = ("backbone", "embedding", "embedding")
_ROWS_COMPARED = 64
_PART_BYTES = 64 << 20  # so much of a parameter that isn't stacked is read at once
Slices = tuple[slice, ...]


class HuggingFaceModel:
    """A folder with ``config.json`` and safetensors files, whole or in shards.

    Attributes:
      config: the architecture, and how many positions it is good for.
      vocabulary_size: rows of its embedding.

    Raises:
      HuggingFaceError: for a folder without these files, or an architecture that isn't supported.
    """

    def __init__(self, folder: Path | str):
        self.folder = Path(folder)
        self.theirs = _read_json(self.folder / "config.json")
        self.config: ModelConfig = model_config_of(self.theirs)
        self.config.max_positions = max_positions_of(self.theirs)
        self.vocabulary_size = int(self.theirs["vocab_size"])
        self._family = FAMILIES[self.theirs["model_type"]]
        self._files = _files_of_tensors(self.folder)
        headed = any(name.startswith(self._family.prefix) for name in self._files)
        self._prefix = self._family.prefix if headed else ""

    @property
    def has_reward_head(self) -> bool:
        """Whether it is a reward model; a causal language model gets a fresh head."""
        return HEAD in self._files

    def load(self, template: Params, key: Array) -> Params:
        """The parameters of a RewardModel of this config, each in the dtype and place that the template has for it.

        Args:
          template: abstract arrays, as ``Parallel.abstract_params`` gives them; one that has no place gets the default.
          key: of the fresh reward head of a language model, and of fresh adapters.

        Raises:
          HuggingFaceError: with the names of all tensors that are missing, that nothing takes, or that have another
            shape.
        """
        wanted = flatten_dict(template)
        self._check(wanted)
        loaded = {}
        for number, (names, leaf) in enumerate(wanted.items()):
            own = key if names == HEAD_KERNEL else jax.random.fold_in(key, number)
            loaded[names] = self._placed(names, leaf, own)
        return unflatten_dict(loaded)

    def holds(self, params: Params) -> bool:
        """Whether parameters of this architecture have these weights, adapters and reward head aside: by the first of
        the layers and the first rows of what isn't stacked.

        Raises:
          HuggingFaceError: for tensors that are missing, or that have another shape.
        """
        for names, leaf in leaves_of(params).items():
            if is_adapter(names) or names == HEAD_KERNEL:
                continue
            rows = slice(0, 1 if names[: len(LAYERS)] == LAYERS else min(_ROWS_COMPARED, leaf.shape[0]))
            index = (rows, *(slice(0, size) for size in leaf.shape[1:]))
            if not np.array_equal(self._read(names, leaf, index).astype(leaf.dtype), np.asarray(leaf[rows])):
                return False
        return True

    def _placed(self, names: Names, leaf: Any, key: Array) -> Array:
        if initializer := self._fresh(names):
            fresh = jax.jit(initializer, static_argnums=(1, 2), out_shardings=leaf.sharding)
            return fresh(key, leaf.shape, leaf.dtype)

        filled = jax.jit(jnp.zeros, static_argnums=(0, 1), out_shardings=leaf.sharding)(leaf.shape, leaf.dtype)
        fill = jax.jit(_fill, donate_argnums=0, out_shardings=leaf.sharding)
        many = 1 if names[: len(LAYERS)] == LAYERS else _rows_at_once(leaf)
        for first in range(0, leaf.shape[0], many):
            part = self._part(names, leaf, slice(first, min(first + many, leaf.shape[0])))
            filled = fill(filled, part, first).block_until_ready()  # or the host would hold what it reads ahead
        return filled

    def _part(self, names: Names, leaf: Any, rows: slice) -> Array:
        """Some rows of a parameter, or one of its stacked layers, split as the whole is along the other axes."""
        shape = (rows.stop - rows.start, *leaf.shape[1:])

        def read(index: Any) -> Shaped[np.ndarray, "..."]:
            return self._read(names, leaf, (rows, *index[1:])).astype(leaf.dtype, copy=False)

        if not isinstance(leaf.sharding, NamedSharding):
            return jax.device_put(read(tuple(map(slice, shape))), leaf.sharding)
        place = NamedSharding(leaf.sharding.mesh, PartitionSpec(None, *leaf.sharding.spec[1:]))
        return jax.make_array_from_callback(shape, place, read)

    def _fresh(self, names: Names) -> Initializer | None:
        """How a parameter begins that the folder has nothing for; None for the others."""
        if is_adapter(names):
            return start_of_a(stacked=True) if names[-1] == A else nn.initializers.zeros
        return HEAD_INITIALIZER if names == HEAD_KERNEL and not self.has_reward_head else None

    def _read(self, names: Names, leaf: Any, index: Slices) -> Shaped[np.ndarray, "..."]:
        """A slice of a parameter in the dtype of its tensor; of stacked layers, one of them."""
        stored, shape = self._stored(names), leaf.shape
        if names[: len(LAYERS)] == LAYERS:
            return self._tensor(stored, stored.name.format(index[0].start), shape[1:], index[1:])[None]
        if names != _EMBEDDING:
            return self._tensor(stored, stored.name, shape, index)
        first, end, _ = index[0].indices(shape[0])
        there = max(first, min(end, self.vocabulary_size))
        rows = (slice(first, there), *index[1:])
        found = self._tensor(stored, stored.name, (self.vocabulary_size, shape[1]), rows)
        # Rows of zeros for tokens that a tokenizer was given later.
        return np.pad(found, ((0, end - there), (0, 0))) if end > there else found

    def _tensor(self, stored: Stored, name: str, shape: tuple[int, ...], index: Slices) -> Shaped[np.ndarray, "..."]:
        """A slice of what a tensor holds for a parameter of ours, which has that shape.

        Its file is opened for it alone: while it is open all that was read of it stays in memory.
        """
        with safe_open(self.folder / self._files[name], framework="numpy") as file:
            tensor = file.get_slice(name)
            theirs, right = tuple(tensor.get_shape()), stored_shape(shape, stored)
            if theirs != right:
                raise HuggingFaceError(f"{name} has shape {theirs}; by config.json it would be {right}")
            if stored.fused is not None:
                return part_of(tensor[:], stored, self.config)[index]
            return tensor[index[::-1]].T if stored.transposed else tensor[index]

    def _stored(self, names: Names) -> Stored:
        """Where a parameter lies, by its name with the prefix."""
        if names == HEAD_KERNEL:
            return Stored(HEAD, transposed=True)
        below = names[: len(LAYERS)] == LAYERS
        found = self._family.layer[names[len(LAYERS) :]] if below else self._family.rest[names]
        return Stored(self._prefix + found.name, found.transposed, found.fused, found.part)

    def _check(self, wanted: dict[Names, Any]) -> None:
        """That every parameter has its tensor, and every tensor its parameter."""
        if self.has_reward_head:
            outputs = wanted[HEAD_KERNEL].shape[1]
            labels = _shape_of(self.folder, self._files, HEAD)[0]
            if labels != outputs:
                raise HuggingFaceError(f"{self.folder}: {HEAD} has {labels} rows, and the model {outputs} reward heads")
        needed = set(itertools.chain.from_iterable(self._tensors(names) for names in wanted))
        missing = sorted(needed - set(self._files))
        unknown = sorted(name for name in set(self._files) - needed if not name.endswith(self._family.unused))
        if missing or unknown:
            words = [f"there is no {', '.join(missing)}"] if missing else []
            words += [f"nothing takes {', '.join(unknown)}"] if unknown else []
            raise HuggingFaceError(f"{self.folder}: {'; '.join(words)}")

    def _tensors(self, names: Names) -> Iterator[str]:
        if self._fresh(names) is not None:
            return
        stored = self._stored(names)
        for layer in range(self.config.layers if "{}" in stored.name else 1):
            yield stored.name.format(layer)


def _fill(whole: Array, part: Array, first: Array) -> Array:
    """The array with some of its rows replaced; where it is donated, in its place."""
    return jax.lax.dynamic_update_slice_in_dim(whole, part, first, axis=0)


def _rows_at_once(leaf: Any) -> int:
    return max(1, _PART_BYTES * leaf.shape[0] // (leaf.size * np.dtype(leaf.dtype).itemsize))


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise HuggingFaceError(f"{path} doesn't exist; right would be a folder in Hugging Face's format") from None
    except json.JSONDecodeError as error:
        raise HuggingFaceError(f"{path} is not JSON: {error}") from error


def _files_of_tensors(folder: Path) -> dict[str, str]:
    """The file that each tensor lies in."""
    if (folder / INDEX).exists():
        return dict(_read_json(folder / INDEX)["weight_map"])
    if not (folder / SINGLE).exists():
        raise HuggingFaceError(f"{folder} has neither {SINGLE} nor {INDEX}; other formats are not read")
    with safe_open(folder / SINGLE, framework="numpy") as file:
        return dict.fromkeys(file.keys(), SINGLE)


def _shape_of(folder: Path, files: dict[str, str], name: str) -> list[int]:
    with safe_open(folder / files[name], framework="numpy") as file:
        return file.get_slice(name).get_shape()
