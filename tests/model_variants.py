"""Small models of every architecture that the config can describe: what each changes in Llama's."""

from rmjax.model_config import Activation, Norm, RopeScaling

_GEMMA = {"activation": Activation.GELU_TANH, "scaled_embedding": True, "norm_offset": True}
_BIASES = {"projection_bias": True, "output_bias": True, "mlp_bias": True}
VARIANTS = {
    "llama31": {
        "rope_scaling": RopeScaling.LLAMA3, "rope_factor": 8.0, "rope_original_length": 16, "rope_theta": 100.0,
    },
    "mistral": {"attention_window": 5},
    "qwen2": {"projection_bias": True},
    "qwen3": {"query_key_norm": True},
    "gemma": _GEMMA,
    "gemma2": _GEMMA | {
        "post_norms": True, "attention_softcap": 2.0, "attention_window": 4, "global_layers": (1,),
        "attention_scale": 0.5,
    },
    "gemma3": _GEMMA | {
        "post_norms": True, "query_key_norm": True, "attention_window": 3, "global_layers": (0,),
        "local_rope_theta": 50.0, "rope_scaling": RopeScaling.LINEAR, "rope_factor": 4.0,
    },
    "gpt2": _BIASES | {
        "norm": Norm.LAYER, "key_value_heads": 4, "head_size": 4, "position_embeddings": 64, "gated_mlp": False,
        "activation": Activation.GELU_TANH,
    },
    "gpt_neox": _BIASES | {
        "norm": Norm.LAYER, "key_value_heads": 4, "head_size": 4, "rotary_size": 2, "gated_mlp": False,
        "parallel_branches": True, "activation": Activation.GELU,
    },
}  # fmt: skip
