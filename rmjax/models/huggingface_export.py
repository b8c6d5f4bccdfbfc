"""A reward model as a folder of Hugging Face's: ``config.json`` and the weights of a ``…ForSequenceClassification``.

The architecture is the first of those that compute what the model computes: what each would be read back as says so.
"""

import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from safetensors.numpy import save_file

from rmjax.model_config import NOT_ARCHITECTURE, Activation, ModelConfig, Norm, RopeScaling
from rmjax.models.huggingface_config import ACTIVATIONS, FULL, SLIDING, HuggingFaceError, model_config_of
from rmjax.models.huggingface_names import FAMILIES, HEAD, INDEX, LAYERS, SINGLE, Family, Names, Stored, fuse
from rmjax.models.lora import Adapters, leaves_of, merged_leaf
from rmjax.models.reward import Params, head_kernel

Theirs = dict[str, Any]
SHARD_BYTES = 2_000_000_000  # they are in memory until they are written
_NAMES = {kind: name for name, kind in reversed(ACTIVATIONS.items())} | {Activation.GELU_TANH: "gelu_pytorch_tanh"}


def theirs_of(config: ModelConfig, vocabulary_size: int, *, longest: int) -> Theirs:
    """The ``config.json`` of the architecture that the model has; ``longest`` is that of the texts it is for.

    Raises:
      HuggingFaceError: where none of them computes what the model computes.
    """
    positions = max(longest, config.max_positions or 0)
    common = {"vocab_size": vocabulary_size, "max_position_embeddings": positions, "tie_word_embeddings": False}
    plain = dataclasses.replace(config, **{name: getattr(ModelConfig(), name) for name in NOT_ARCHITECTURE})
    for kind, (name, describe) in _ARCHITECTURES.items():
        theirs = common | describe(config) | {"model_type": kind, "architectures": [f"{name}ForSequenceClassification"]}
        try:
            if model_config_of(theirs) == plain:
                return theirs
        except HuggingFaceError:
            continue  # it has nothing like it
    raise HuggingFaceError(
        f"no architecture of {', '.join(_ARCHITECTURES)} computes what this model computes, so transformers can't: "
        f"{json.dumps(dataclasses.asdict(config), default=lambda value: value.value)}"
    )


def _shape(config: ModelConfig) -> Theirs:
    epsilon = "rms_norm_eps" if config.norm is Norm.RMS else "layer_norm_eps"
    rope: Theirs = {"rope_type": "default", "rope_theta": config.rope_theta}
    if config.rope_scaling is not RopeScaling.NONE:
        rope |= {"rope_type": config.rope_scaling.value, "factor": config.rope_factor}
    if config.rope_scaling is RopeScaling.LLAMA3:
        rope |= {"low_freq_factor": config.rope_low_frequency, "high_freq_factor": config.rope_high_frequency}
        rope |= {"original_max_position_embeddings": config.rope_original_length}
    return {
        "hidden_size": config.width,
        "intermediate_size": config.mlp_width,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.attention_heads,
        "num_key_value_heads": config.key_value_heads,
        "head_dim": config.head_size,
        "hidden_act": _NAMES[config.activation],
        epsilon: config.norm_epsilon,
        "rope_parameters": rope,
        "rope_theta": config.rope_theta,  # transformers before 5 reads these two
        "rope_scaling": None if config.rope_scaling is RopeScaling.NONE else {**rope, "type": rope["rope_type"]},
    }


def _llama(config: ModelConfig) -> Theirs:
    return _shape(config) | {"attention_bias": config.projection_bias, "mlp_bias": config.mlp_bias}


def _mistral(config: ModelConfig) -> Theirs:
    return _shape(config) | {"sliding_window": config.attention_window}


def _qwen2(config: ModelConfig) -> Theirs:
    windowed = config.attention_window is not None
    return _shape(config) | {"use_sliding_window": windowed} | (_windows(config) if windowed else {})


def _qwen3(config: ModelConfig) -> Theirs:
    return _qwen2(config) | {"attention_bias": config.projection_bias}


def _gemma(config: ModelConfig) -> Theirs:
    return _shape(config) | {"hidden_activation": _NAMES[config.activation], "attention_bias": config.projection_bias}


def _gemma2(config: ModelConfig) -> Theirs:
    squared = config.head_size if config.attention_scale is None else round(config.attention_scale**-2, 9)
    return (
        _gemma(config)
        | {"query_pre_attn_scalar": squared}
        | {"attn_logit_softcapping": config.attention_softcap}
        | _windows(config)
    )


def _gemma3(config: ModelConfig) -> Theirs:
    theirs = _gemma2(config)
    local = {"rope_type": "default", "rope_theta": config.local_rope_theta or config.rope_theta}
    old = {"rope_local_base_freq": local["rope_theta"]}  # of transformers before 5
    return theirs | old | {"rope_parameters": {FULL: theirs["rope_parameters"], SLIDING: local}}


def _gpt2(config: ModelConfig) -> Theirs:
    return {
        "n_embd": config.width,
        "n_layer": config.layers,
        "n_head": config.attention_heads,
        "n_inner": config.mlp_width,
        "n_positions": config.position_embeddings,
        "layer_norm_epsilon": config.norm_epsilon,
        "activation_function": _NAMES[config.activation],
    }


def _gpt_neox(config: ModelConfig) -> Theirs:
    theirs = _shape(config)
    share = (config.rotary_size or config.head_size) / config.head_size
    theirs["rope_parameters"] |= {"partial_rotary_factor": share}
    theirs |= {"rotary_pct": share, "rotary_emb_base": config.rope_theta}  # of transformers before 5
    return theirs | {"use_parallel_residual": config.parallel_branches, "attention_bias": config.projection_bias}


def _windows(config: ModelConfig) -> Theirs:
    every = config.attention_window is None
    kinds = [FULL if every or layer in config.global_layers else SLIDING for layer in range(config.layers)]
    return {"sliding_window": config.attention_window, "layer_types": kinds}


_ARCHITECTURES: dict[str, tuple[str, Callable[[ModelConfig], Theirs]]] = {
    "llama": ("Llama", _llama),
    "mistral": ("Mistral", _mistral),
    "qwen2": ("Qwen2", _qwen2),
    "qwen3": ("Qwen3", _qwen3),
    "gemma": ("Gemma", _gemma),
    "gemma2": ("Gemma2", _gemma2),
    "gemma3_text": ("Gemma3Text", _gemma3),
    "gpt2": ("GPT2", _gpt2),
    "gpt_neox": ("GPTNeoX", _gpt_neox),
}


def write_weights(
    folder: Path,
    kind: str,
    config: ModelConfig,
    params: Params,
    *,
    head: int,
    dtype: str,
    shard_bytes: int = SHARD_BYTES,
    adapters: Adapters | None = None,
) -> None:
    """Writes safetensors, in shards with an index where one of ``shard_bytes`` doesn't hold all.

    Each tensor is made when its turn comes, and no more of them than a shard's are in memory.

    Args:
      folder: that exists.
      kind: their ``model_type``.
      head: which reward head becomes ``score.weight``.
      dtype: of all tensors.
      adapters: of the parameters; they are merged.
    """
    tensors = tensors_of(FAMILIES[kind], config, params, head=head, dtype=jnp.dtype(dtype), adapters=adapters)
    held: list[list[str]] = []
    size = 0
    for number, shard in enumerate(_shards(tensors, shard_bytes), 1):
        write_tensors(folder / f"part-{number}", shard)
        held.append(list(shard))
        size += sum(tensor.nbytes for tensor in shard.values())
    files = [_file_name(number, len(held)) for number in range(1, len(held) + 1)]
    for number, file in enumerate(files, 1):
        (folder / f"part-{number}").rename(folder / file)
    if len(files) > 1:
        places = {name: file for names, file in zip(held, files, strict=True) for name in names}
        index = {"metadata": {"total_size": size}, "weight_map": places}
        (folder / INDEX).write_text(json.dumps(index, indent=2))


def write_tensors(path: Path, tensors: dict[str, np.ndarray]) -> None:
    """Writes a safetensors file, which may be read by whoever may read others that are made here: safetensors itself
    writes under another name that is the owner's alone, and renames it."""
    path.touch()
    mode = path.stat().st_mode
    save_file(tensors, path, metadata={"format": "pt"})
    path.chmod(mode)


def _file_name(number: int, count: int) -> str:
    return SINGLE if count == 1 else f"model-{number:05d}-of-{count:05d}.safetensors"


def _shards(tensors: Iterable[tuple[str, np.ndarray]], shard_bytes: int) -> Iterator[dict[str, np.ndarray]]:
    """The tensors in order, as many in one as it may hold, and at least one."""
    shard: dict[str, np.ndarray] = {}
    for name, tensor in tensors:
        if shard and sum(held.nbytes for held in shard.values()) + tensor.nbytes > shard_bytes:
            yield shard
            shard = {}
        shard[name] = tensor
    yield shard


def tensors_of(
    family: Family,
    config: ModelConfig,
    params: Params,
    *,
    head: int,
    dtype: jnp.dtype,
    adapters: Adapters | None = None,
) -> Iterator[tuple[str, np.ndarray]]:
    """Name and value of each tensor, layer by layer and last the reward head, each made when it is asked for."""
    found = leaves_of(params)
    yield from _of_table(family.prefix, family.rest, found.get, config, dtype)
    for layer in range(config.layers):

        def of_layer(names: Names, layer: int = layer) -> Any:
            there = LAYERS + names in found
            return merged_leaf(found, LAYERS + names, adapters, layer) if there else None

        yield from _of_table(family.prefix, family.layer, of_layer, config, dtype, layer)
    yield HEAD, head_kernel(params, head, config.ensemble)[None].astype(dtype)


def _of_table(
    prefix: str,
    table: Mapping[Names, Stored],
    param: Callable[[Names], Any],
    config: ModelConfig,
    dtype: jnp.dtype,
    layer: int | None = None,
) -> Iterator[tuple[str, np.ndarray]]:
    """The tensors of a table that the model has parameters for; ``param`` gives one by its names, or None."""
    fused: dict[str, list[np.ndarray]] = {}
    for names, stored in table.items():
        found = param(names)
        if found is None:
            continue
        array = np.asarray(found).astype(dtype)
        array, name = array.T if stored.transposed else array, prefix + stored.name.format(layer)
        if stored.fused is None:
            yield name, np.ascontiguousarray(array)
            continue
        parts = fused.setdefault(name, [])
        parts.append(array)
        if len(parts) == 3:
            yield name, np.ascontiguousarray(fuse(parts, stored.fused, config.attention_heads))
