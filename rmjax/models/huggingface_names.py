"""Which tensor of a Hugging Face checkpoint each parameter is, as data: one table for each family.

A table has no prefix (``model.``, ``transformer.``): a base model's own file has none, one of a model with a head has.
Kernels of ours are [in, out]; a torch Linear holds [out, in], and GPT-2's Conv1D [in, out].
"""

import enum
from dataclasses import dataclass

import numpy as np

from rmjax.model_config import ModelConfig

Names = tuple[str, ...]  # of a parameter, from the root of the tree
LAYERS: Names = ("backbone", "layers")


class Fused(enum.Enum):
    """How query, key and value lie in one tensor."""

    COLUMNS = "columns"  # after each other along the last axis
    HEADS = "heads"  # along the first axis, the three of each head beside each other


@dataclass(frozen=True)
class Stored:
    """Where a parameter lies in their files.

    Attributes:
      name: of the tensor, ``{}`` standing for the number of the layer.
      transposed: as a Linear's weight is.
      fused, part: of a tensor that holds three.
    """

    name: str
    transposed: bool = False
    fused: Fused | None = None
    part: int = 0


@dataclass(frozen=True, kw_only=True)
class Family:
    """The names of an architecture.

    Attributes:
      prefix: of all tensors but the head's, in the file of a model with a head.
      layer, rest: parameters of a layer (below ``backbone/layers``), and all others but the reward head.
      unused: endings of tensors that hold no parameter of a reward model: the output matrix, buffers.
    """

    prefix: str
    layer: dict[Names, Stored]
    rest: dict[Names, Stored]
    unused: tuple[str, ...]


HEAD = "score.weight"  # of every ...ForSequenceClassification of these families
INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"


def _linear(theirs: str, *ours: str, transposed: bool = True) -> dict[Names, Stored]:
    return {(*ours, "kernel"): Stored(f"{theirs}.weight", transposed), (*ours, "bias"): Stored(f"{theirs}.bias")}


def _norm(theirs: str, *ours: str) -> dict[Names, Stored]:
    return {(*ours, "scale"): Stored(f"{theirs}.weight"), (*ours, "bias"): Stored(f"{theirs}.bias")}


_LLAMA_LAYER = (
    _linear("layers.{}.self_attn.q_proj", "attention_branch", "query")
    | _linear("layers.{}.self_attn.k_proj", "attention_branch", "key")
    | _linear("layers.{}.self_attn.v_proj", "attention_branch", "value")
    | _linear("layers.{}.self_attn.o_proj", "attention_branch", "output")
    | _norm("layers.{}.self_attn.q_norm", "attention_branch", "query_norm")
    | _norm("layers.{}.self_attn.k_norm", "attention_branch", "key_norm")
    | _linear("layers.{}.mlp.gate_proj", "mlp_branch", "gate")
    | _linear("layers.{}.mlp.up_proj", "mlp_branch", "up")
    | _linear("layers.{}.mlp.down_proj", "mlp_branch", "down")
    | _norm("layers.{}.input_layernorm", "attention_norm")
)
_LLAMA_REST = {
    ("backbone", "embedding", "embedding"): Stored("embed_tokens.weight"),
    **_norm("norm", "final_norm"),
}
_UNUSED = ("lm_head.weight", "rotary_emb.inv_freq")
LLAMA = Family(
    prefix="model.",
    layer=_LLAMA_LAYER | _norm("layers.{}.post_attention_layernorm", "mlp_norm"),
    rest=_LLAMA_REST,
    unused=_UNUSED,
)
GEMMA2 = Family(
    prefix="model.",
    layer=_LLAMA_LAYER
    | _norm("layers.{}.post_attention_layernorm", "attention_post_norm")
    | _norm("layers.{}.pre_feedforward_layernorm", "mlp_norm")
    | _norm("layers.{}.post_feedforward_layernorm", "mlp_post_norm"),
    rest=_LLAMA_REST,
    unused=_UNUSED,
)


def _fused(theirs: str, fused: Fused, *, transposed: bool) -> dict[Names, Stored]:
    found: dict[Names, Stored] = {}
    for part, name in enumerate(("query", "key", "value")):
        found["attention_branch", name, "kernel"] = Stored(f"{theirs}.weight", transposed, fused, part)
        found["attention_branch", name, "bias"] = Stored(f"{theirs}.bias", False, fused, part)
    return found


GPT2 = Family(
    prefix="transformer.",
    layer=_fused("h.{}.attn.c_attn", Fused.COLUMNS, transposed=False)
    | _linear("h.{}.attn.c_proj", "attention_branch", "output", transposed=False)
    | _linear("h.{}.mlp.c_fc", "mlp_branch", "up", transposed=False)
    | _linear("h.{}.mlp.c_proj", "mlp_branch", "down", transposed=False)
    | _norm("h.{}.ln_1", "attention_norm")
    | _norm("h.{}.ln_2", "mlp_norm"),
    rest={
        ("backbone", "embedding", "embedding"): Stored("wte.weight"),
        ("backbone", "position_embedding", "embedding"): Stored("wpe.weight"),
        **_norm("ln_f", "final_norm"),
    },
    unused=("lm_head.weight", ".attn.bias", ".attn.masked_bias"),
)
GPT_NEOX = Family(
    prefix="gpt_neox.",
    layer=_fused("layers.{}.attention.query_key_value", Fused.HEADS, transposed=True)
    | _linear("layers.{}.attention.dense", "attention_branch", "output")
    | _linear("layers.{}.mlp.dense_h_to_4h", "mlp_branch", "up")
    | _linear("layers.{}.mlp.dense_4h_to_h", "mlp_branch", "down")
    | _norm("layers.{}.input_layernorm", "attention_norm")
    | _norm("layers.{}.post_attention_layernorm", "mlp_norm"),
    rest={("backbone", "embedding", "embedding"): Stored("embed_in.weight"), **_norm("final_layer_norm", "final_norm")},
    unused=("embed_out.weight", ".attention.bias", ".attention.masked_bias", ".attention.rotary_emb.inv_freq"),
)
FAMILIES = {
    "llama": LLAMA,
    "mistral": LLAMA,
    "qwen2": LLAMA,
    "qwen3": LLAMA,
    "gemma": LLAMA,
    "gemma2": GEMMA2,
    "gemma3_text": GEMMA2,
    "gpt2": GPT2,
    "gpt_neox": GPT_NEOX,
}


def part_of(tensor: np.ndarray, stored: Stored, config: ModelConfig) -> np.ndarray:
    """A parameter of one layer, out of the tensor that it lies in; a view where that can be."""
    if stored.fused is Fused.COLUMNS:
        tensor = np.split(tensor, 3, axis=-1)[stored.part]
    elif stored.fused is Fused.HEADS:
        by_head = tensor.reshape(config.attention_heads, 3, config.head_size, *tensor.shape[1:])
        tensor = by_head[:, stored.part].reshape(-1, *tensor.shape[1:])
    return tensor.T if stored.transposed else tensor


def stored_shape(shape: tuple[int, ...], stored: Stored) -> tuple[int, ...]:
    """Of the tensor that holds a parameter of that shape, and two others of the same where it is fused."""
    if stored.fused is not None:
        shape = (*shape[:-1], 3 * shape[-1])
    return shape[::-1] if stored.transposed else shape


def fuse(parts: list[np.ndarray], fused: Fused, heads: int) -> np.ndarray:
    """The tensor that holds query, key and value, which are transposed already: the inverse of ``part_of``."""
    if fused is Fused.COLUMNS:
        return np.concatenate(parts, axis=-1)
    by_head = [part.reshape(heads, 1, -1, *part.shape[1:]) for part in parts]
    return np.concatenate(by_head, axis=1).reshape(-1, *parts[0].shape[1:])
