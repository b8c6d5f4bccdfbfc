"""The ``config.json`` of a Hugging Face model as a ModelConfig.

Every architecture is a function from theirs to ours. What it doesn't read changes nothing, or is checked to have the
one value that ours can compute.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from rmjax.errors import UserError
from rmjax.model_config import Activation, ModelConfig, Norm, RopeScaling

HfConfig = Mapping[str, Any]

ACTIVATIONS = {
    "silu": Activation.SILU,
    "swish": Activation.SILU,
    "gelu": Activation.GELU,
    "gelu_new": Activation.GELU_TANH,
    "gelu_fast": Activation.GELU_TANH,
    "gelu_pytorch_tanh": Activation.GELU_TANH,
}
SLIDING, FULL = "sliding_attention", "full_attention"  # kinds of layers


class HuggingFaceError(UserError):
    """A Hugging Face model that can't be taken over as it is; the message says what stands in the way."""


def model_config_of(theirs: HfConfig) -> ModelConfig:
    """Ours of theirs: the architecture alone, everything else as ModelConfig has it by default.

    Raises:
      HuggingFaceError: for an architecture that isn't known, a field that is missing, or one with a value that isn't
        supported.
    """
    kind = theirs.get("model_type")
    if kind not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise HuggingFaceError(f"config.json: model_type is {kind!r}; the architectures there are: {known}")
    try:
        return ARCHITECTURES[kind](theirs)
    except KeyError as error:
        raise HuggingFaceError(f"config.json of a {kind} model has no field {error.args[0]!r}") from error


def max_positions_of(theirs: HfConfig) -> int | None:
    """The longest text, in tokens, that a model with rotary positions is stated to be good for; None where nothing is.

    Scaling of the frequencies is taken to be counted in, as transformers advises.
    """
    stated = theirs.get("max_position_embeddings")
    return int(stated) if stated and theirs.get("model_type") != "gpt2" else None


def _llama(theirs: HfConfig) -> ModelConfig:
    config = _shape(theirs)
    config.projection_bias = config.output_bias = bool(theirs.get("attention_bias"))
    config.mlp_bias = bool(theirs.get("mlp_bias"))
    return config


def _mistral(theirs: HfConfig) -> ModelConfig:
    config = _shape(theirs)
    config.attention_window = theirs.get("sliding_window")
    return config


def _qwen2(theirs: HfConfig) -> ModelConfig:
    config = _shape(theirs)
    config.projection_bias = True
    if theirs.get("use_sliding_window"):
        first = theirs.get("max_window_layers", config.layers)
        _set_windows(config, theirs, [layer >= first for layer in range(config.layers)])
    return config


def _qwen3(theirs: HfConfig) -> ModelConfig:
    config = _qwen2(theirs)
    config.query_key_norm = True
    config.projection_bias = config.output_bias = bool(theirs.get("attention_bias"))
    return config


def _gemma(theirs: HfConfig) -> ModelConfig:
    config = _shape(theirs)
    config.scaled_embedding = config.norm_offset = True
    # Early files say "gelu" and mean the approximation, as their later field hidden_activation says.
    config.activation = _activation(theirs.get("hidden_activation") or "gelu_pytorch_tanh")
    config.projection_bias = config.output_bias = bool(theirs.get("attention_bias"))
    return config


def _gemma2(theirs: HfConfig) -> ModelConfig:
    config = _gemma(theirs)
    config.post_norms = True
    config.attention_softcap = theirs.get("attn_logit_softcapping")
    squared = theirs["query_pre_attn_scalar"]
    config.attention_scale = None if squared == config.head_size else squared**-0.5
    _set_windows(config, theirs, [layer % 2 == 0 for layer in range(config.layers)])
    return config


def _gemma3(theirs: HfConfig) -> ModelConfig:
    config = _gemma2(theirs)
    config.query_key_norm = True
    _only(theirs, "use_bidirectional_attention", None, False)
    every = theirs.get("sliding_window_pattern", 6)
    _set_windows(config, theirs, [(layer + 1) % every > 0 for layer in range(config.layers)])
    by_layer = theirs.get("rope_parameters") or {}
    local = by_layer.get(SLIDING, {}).get("rope_theta") if SLIDING in by_layer else theirs["rope_local_base_freq"]
    if SLIDING in by_layer:
        _only(by_layer[SLIDING], "rope_type", None, "default")
    config.local_rope_theta = float(local)
    return config


def _gpt2(theirs: HfConfig) -> ModelConfig:
    for name, right in (("scale_attn_by_inverse_layer_idx", False), ("scale_attn_weights", True)):
        _only(theirs, name, None, right)
    _only(theirs, "add_cross_attention", None, False)
    width, heads = theirs["n_embd"], theirs["n_head"]
    config = ModelConfig(
        width=width,
        layers=theirs["n_layer"],
        attention_heads=heads,
        key_value_heads=heads,
        head_size=width // heads,
        mlp_width=theirs.get("n_inner") or 4 * width,
        position_embeddings=theirs["n_positions"],
        norm=Norm.LAYER,
        norm_epsilon=theirs["layer_norm_epsilon"],
        activation=_activation(theirs["activation_function"]),
    )
    return dataclasses.replace(config, **_PLAIN_WITH_BIASES)


def _gpt_neox(theirs: HfConfig) -> ModelConfig:
    config = _shape(theirs, epsilon="layer_norm_eps")
    config.norm, config.key_value_heads = Norm.LAYER, config.attention_heads
    config.head_size = config.width // config.attention_heads
    config.parallel_branches = bool(theirs.get("use_parallel_residual", True))
    share = _rope(theirs).get("partial_rotary_factor", theirs.get("rotary_pct", 1.0))
    config.rotary_size = int(config.head_size * share)
    biased = bool(theirs.get("attention_bias", True))
    return dataclasses.replace(config, **_PLAIN_WITH_BIASES | {"projection_bias": biased, "output_bias": biased})


_PLAIN_WITH_BIASES = {"projection_bias": True, "output_bias": True, "mlp_bias": True, "gated_mlp": False}

ARCHITECTURES: dict[str, Callable[[HfConfig], ModelConfig]] = {
    "llama": _llama,
    "mistral": _mistral,
    "qwen2": _qwen2,
    "qwen3": _qwen3,
    "gemma": _gemma,
    "gemma2": _gemma2,
    "gemma3_text": _gemma3,
    "gpt2": _gpt2,
    "gpt_neox": _gpt_neox,
}


def _shape(theirs: HfConfig, *, epsilon: str = "rms_norm_eps") -> ModelConfig:
    """What all of them but GPT-2 name alike."""
    heads = theirs["num_attention_heads"]
    config = ModelConfig(
        width=theirs["hidden_size"],
        layers=theirs["num_hidden_layers"],
        attention_heads=heads,
        key_value_heads=theirs.get("num_key_value_heads") or heads,
        head_size=theirs.get("head_dim") or theirs["hidden_size"] // heads,
        mlp_width=theirs["intermediate_size"],
        norm_epsilon=theirs[epsilon],
        activation=_activation(theirs.get("hidden_act") or "gelu_pytorch_tanh"),
    )
    _set_rope(config, theirs)
    return config


def _rope(theirs: HfConfig) -> HfConfig:
    """The rotary parameters of layers that see all, in the form of transformers 5 or of what came before."""
    found = theirs.get("rope_parameters")
    if found is None:
        scaling = theirs.get("rope_scaling") or {}
        theta = theirs.get("rope_theta", theirs.get("rotary_emb_base", 10_000.0))
        return {"rope_theta": theta, **scaling, "rope_type": scaling.get("rope_type", scaling.get("type", "default"))}
    return found.get(FULL, found)


def _set_rope(config: ModelConfig, theirs: HfConfig) -> None:
    rope = _rope(theirs)
    config.rope_theta = float(rope["rope_theta"])
    kind = rope.get("rope_type", "default")
    if kind not in ("default", "linear", "llama3"):
        raise HuggingFaceError(f"config.json: rope_type is {kind!r}; supported are 'default', 'linear' and 'llama3'")
    if kind == "default":
        return
    config.rope_factor = float(rope["factor"])
    config.rope_scaling = RopeScaling(kind)
    if kind == "llama3":
        config.rope_low_frequency = float(rope["low_freq_factor"])
        config.rope_high_frequency = float(rope["high_freq_factor"])
        config.rope_original_length = int(rope["original_max_position_embeddings"])


def _set_windows(config: ModelConfig, theirs: HfConfig, sliding: list[bool]) -> None:
    """Windows by layer: as ``layer_types`` says, or, in files from before it, as ``sliding``."""
    kinds = theirs.get("layer_types")
    sliding = sliding if kinds is None else [kind == SLIDING for kind in kinds]
    unknown = {*(kinds or ())} - {SLIDING, FULL}
    if unknown or len(sliding) != config.layers:
        raise HuggingFaceError(f"config.json: layer_types is {kinds!r}; right would be one of two kinds for each layer")
    window = theirs.get("sliding_window") if any(sliding) else None
    config.attention_window = window
    config.global_layers = () if window is None else tuple(n for n, near in enumerate(sliding) if not near)


def _activation(name: str) -> Activation:
    if name not in ACTIVATIONS:
        raise HuggingFaceError(f"config.json: the activation is {name!r}; supported are {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]


def _only(theirs: HfConfig, name: str, *right: Any) -> None:
    """HuggingFaceError for a field that has none of the values which ours computes."""
    if theirs.get(name) not in right:
        raise HuggingFaceError(f"config.json: {name} is {theirs[name]!r}; supported is {right[-1]!r}")
