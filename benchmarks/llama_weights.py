"""A reward model's parameters as the state dict of a ``LlamaForSequenceClassification`` with one label, and back.

Both turn number k of a head against number k + size/2 by the same angle and norm by the root mean square, so weights
move as they are; a kernel [in, out] is the transpose of a torch weight [out, in], and rmjax stacks those of all layers.
Plain numpy: the arrays travel between the two environments in an ``.npz`` file.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from rmjax.batches.tokenizer import END_TOKEN, PAD_TOKEN
from rmjax.model_config import ModelConfig
from rmjax.models.reward import Params

Arrays = dict[str, np.ndarray]

_MATRICES = {
    "self_attn.q_proj": ("attention_branch", "query"),
    "self_attn.k_proj": ("attention_branch", "key"),
    "self_attn.v_proj": ("attention_branch", "value"),
    "self_attn.o_proj": ("attention_branch", "output"),
    "mlp.gate_proj": ("mlp_branch", "gate"),
    "mlp.up_proj": ("mlp_branch", "up"),
    "mlp.down_proj": ("mlp_branch", "down"),
}
_NORMS = {"input_layernorm": "attention_norm", "post_attention_layernorm": "mlp_norm"}


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
    backbone = params["backbone"]
    layers = backbone["layers"]
    arrays = {
        "model.embed_tokens.weight": _copied(backbone["embedding"]["embedding"]),
        "model.norm.weight": _copied(params["final_norm"]["scale"]),
        "score.weight": _copied(np.asarray(params["reward_head"]["kernel"]).T),
    }
    for theirs, (branch, ours) in _MATRICES.items():
        for number, kernel in enumerate(np.asarray(layers[branch][ours]["kernel"])):
            arrays[f"model.layers.{number}.{theirs}.weight"] = _copied(kernel.T)
    for theirs, ours in _NORMS.items():
        for number, scale in enumerate(np.asarray(layers[ours]["scale"])):
            arrays[f"model.layers.{number}.{theirs}.weight"] = _copied(scale)
    return arrays


def from_llama(arrays: Mapping[str, np.ndarray]) -> Params:
    """The inverse of ``to_llama``."""
    count = 1 + max(int(name.split(".")[2]) for name in arrays if name.startswith("model.layers."))

    def stacked(theirs: str) -> np.ndarray:
        return np.stack([arrays[f"model.layers.{number}.{theirs}.weight"] for number in range(count)])

    layers: dict[str, Any] = {ours: {"scale": stacked(theirs)} for theirs, ours in _NORMS.items()}
    for theirs, (branch, ours) in _MATRICES.items():
        layers.setdefault(branch, {})[ours] = {"kernel": _copied(stacked(theirs).transpose(0, 2, 1))}
    return {
        "backbone": {"embedding": {"embedding": arrays["model.embed_tokens.weight"]}, "layers": layers},
        "final_norm": {"scale": arrays["model.norm.weight"]},
        "reward_head": {"kernel": _copied(arrays["score.weight"].T)},
    }


def _copied(array: Any) -> np.ndarray:
    return np.ascontiguousarray(array, np.float32)
