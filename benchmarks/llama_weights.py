"""A reward model's parameters as the state dict of a ``LlamaForSequenceClassification`` with one label, and back.

Both turn number k of a head against number k + size/2 by the same angle and norm by the root mean square, so weights
move as they are; a kernel [in, out] is the transpose of a torch weight [out, in], and rmjax stacks those of all layers.
Plain numpy: the arrays travel between the two environments in an ``.npz`` file.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from flax.traverse_util import unflatten_dict

from rmjax.batches.tokenizer import END_TOKEN, PAD_TOKEN
from rmjax.model_config import ModelConfig
from rmjax.models.huggingface_export import tensors_of
from rmjax.models.huggingface_names import HEAD, LAYERS, LLAMA, Names
from rmjax.models.reward import Params

Arrays = dict[str, np.ndarray]


def llama_config(model: ModelConfig, vocabulary_size: int, *, longest: int) -> dict[str, Any]:
    """The arguments of ``transformers.LlamaConfig`` for a model of this shape; pad is token 0 and end is token 1."""
    return {
        "vocab_size": vocabulary_size,
        "hidden_size": model.width,
        "intermediate_size": model.mlp_width,
        "num_hidden_layers": model.layers,
        "num_attention_heads": model.attention_heads,
        "num_key_value_heads": model.key_value_heads,
        "head_dim": model.head_size,
        "max_position_embeddings": longest,
        "rms_norm_eps": model.norm_epsilon,
        "rope_parameters": {"rope_type": "default", "rope_theta": model.rope_theta},
        "attention_dropout": 0.0,
        "num_labels": 1,
        "pad_token_id": 0,
        "bos_token_id": None,
        "eos_token_id": 1,
    }


SPECIAL_TOKENS = {"pad_token": PAD_TOKEN, "eos_token": END_TOKEN}


def to_llama(params: Params) -> Arrays:
    """The parameters under Llama's names, float32."""
    layers = len(params["backbone"]["layers"]["attention_norm"]["scale"])
    return dict(tensors_of(LLAMA, ModelConfig(layers=layers), params, head=0, dtype=np.dtype(np.float32)))


def from_llama(arrays: Mapping[str, np.ndarray]) -> Params:
    """The inverse of ``to_llama``."""
    count = 1 + max(int(name.split(".")[2]) for name in arrays if name.startswith("model.layers."))
    found: dict[Names, np.ndarray] = {("reward_head", "kernel"): _copied(arrays[HEAD].T)}
    for names, stored in LLAMA.rest.items():
        if (name := LLAMA.prefix + stored.name) in arrays:
            found[names] = arrays[name]
    for names, stored in LLAMA.layer.items():
        name = LLAMA.prefix + stored.name
        if name.format(0) in arrays:
            layers = [arrays[name.format(number)] for number in range(count)]
            found[LAYERS + names] = _copied(np.stack([layer.T if stored.transposed else layer for layer in layers]))
    return unflatten_dict(found)


def _copied(array: Any) -> np.ndarray:
    return np.ascontiguousarray(array, np.float32)
