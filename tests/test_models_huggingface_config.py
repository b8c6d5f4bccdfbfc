"""Published config files, in the form from before transformers 5, against what is published of the models."""

import pytest

from experiments import llama31_8b
from rmjax.config import ExperimentConfig, validate
from rmjax.model_config import Activation, Norm, RopeScaling
from rmjax.models.huggingface_config import model_config_of

LLAMA31_8B = {
    "model_type": "llama", "architectures": ["LlamaForCausalLM"], "attention_bias": False, "hidden_act": "silu",
    "hidden_size": 4096, "intermediate_size": 14336, "max_position_embeddings": 131072, "mlp_bias": False,
    "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 8, "rms_norm_eps": 1e-05,
    "rope_scaling": {
        "factor": 8.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0, "original_max_position_embeddings": 8192,
        "rope_type": "llama3",
    },
    "rope_theta": 500000.0, "tie_word_embeddings": False, "vocab_size": 128256,
}  # fmt: skip
MISTRAL_7B = {
    "model_type": "mistral", "hidden_act": "silu", "hidden_size": 4096, "intermediate_size": 14336,
    "num_attention_heads": 32, "num_hidden_layers": 32, "num_key_value_heads": 8, "rms_norm_eps": 1e-05,
    "rope_theta": 10000.0, "sliding_window": 4096, "vocab_size": 32000,
}  # fmt: skip
QWEN25_7B = {
    "model_type": "qwen2", "hidden_act": "silu", "hidden_size": 3584, "intermediate_size": 18944,
    "max_window_layers": 28, "num_attention_heads": 28, "num_hidden_layers": 28, "num_key_value_heads": 4,
    "rms_norm_eps": 1e-06, "rope_theta": 1000000.0, "sliding_window": 131072, "use_sliding_window": False,
    "vocab_size": 152064,
}  # fmt: skip
GEMMA2_2B = {
    "model_type": "gemma2", "attention_bias": False, "attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0,
    "head_dim": 256, "hidden_act": "gelu_pytorch_tanh", "hidden_activation": "gelu_pytorch_tanh", "hidden_size": 2304,
    "intermediate_size": 9216, "num_attention_heads": 8, "num_hidden_layers": 26, "num_key_value_heads": 4,
    "query_pre_attn_scalar": 256, "rms_norm_eps": 1e-06, "rope_theta": 10000.0, "sliding_window": 4096,
    "vocab_size": 256000,
}  # fmt: skip
GEMMA3_1B = {
    "model_type": "gemma3_text", "attention_bias": False, "attn_logit_softcapping": None, "head_dim": 256,
    "hidden_activation": "gelu_pytorch_tanh", "hidden_size": 1152, "intermediate_size": 6912, "num_attention_heads": 4,
    "num_hidden_layers": 26, "num_key_value_heads": 1, "query_pre_attn_scalar": 256, "rms_norm_eps": 1e-06,
    "rope_local_base_freq": 10000, "rope_scaling": None, "rope_theta": 1000000, "sliding_window": 512,
    "sliding_window_pattern": 6, "vocab_size": 262144,
}  # fmt: skip
GPT2 = {
    "model_type": "gpt2", "activation_function": "gelu_new", "layer_norm_epsilon": 1e-05, "n_ctx": 1024, "n_embd": 768,
    "n_head": 12, "n_layer": 12, "n_positions": 1024, "vocab_size": 50257,
}  # fmt: skip
PYTHIA_160M = {
    "model_type": "gpt_neox", "hidden_act": "gelu", "hidden_size": 768, "intermediate_size": 3072,
    "layer_norm_eps": 1e-05, "num_attention_heads": 12, "num_hidden_layers": 12, "rotary_emb_base": 10000,
    "rotary_pct": 0.25, "use_parallel_residual": True, "vocab_size": 50304,
}  # fmt: skip
PUBLISHED = {
    "llama31_8b": LLAMA31_8B, "mistral_7b": MISTRAL_7B, "qwen25_7b": QWEN25_7B, "gemma2_2b": GEMMA2_2B,
    "gemma3_1b": GEMMA3_1B, "gpt2": GPT2, "pythia_160m": PYTHIA_160M,
}  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_config_is_a_valid_one(name):
    validate(ExperimentConfig(model=model_config_of(PUBLISHED[name])))


def test_llama_31_is_the_preset_with_its_scaling():
    config, preset = model_config_of(LLAMA31_8B), llama31_8b.get_config().model
    for name in ("width", "layers", "attention_heads", "key_value_heads", "head_size", "mlp_width", "rope_theta"):
        assert getattr(config, name) == getattr(preset, name)
    assert (config.rope_scaling, config.rope_factor) == (RopeScaling.LLAMA3, 8.0)
    assert (config.rope_low_frequency, config.rope_high_frequency, config.rope_original_length) == (1.0, 4.0, 8192)


def test_windows_are_of_the_layers_that_have_them():
    mistral, qwen = model_config_of(MISTRAL_7B), model_config_of(QWEN25_7B)
    assert (mistral.attention_window, mistral.global_layers) == (4096, ())
    assert (qwen.attention_window, qwen.projection_bias, qwen.output_bias) == (None, True, False)
    assert model_config_of(MISTRAL_7B | {"sliding_window": None}).attention_window is None
    sliding = model_config_of(QWEN25_7B | {"use_sliding_window": True, "max_window_layers": 21})
    assert (sliding.attention_window, sliding.global_layers) == (131072, tuple(range(21)))


def test_gemmas_alternate():
    second, third = model_config_of(GEMMA2_2B), model_config_of(GEMMA3_1B)
    assert (second.attention_window, second.global_layers) == (4096, tuple(range(1, 26, 2)))
    assert (third.attention_window, third.global_layers) == (512, (5, 11, 17, 23))
    assert (second.attention_softcap, second.attention_scale, third.attention_softcap) == (50.0, None, None)
    assert model_config_of(GEMMA2_2B | {"query_pre_attn_scalar": 144}).attention_scale == 1 / 12  # as the 27B has it
    assert (third.rope_theta, third.local_rope_theta, third.rope_scaling) == (1e6, 1e4, RopeScaling.NONE)
    assert third.query_key_norm
    assert not second.query_key_norm
    for config in (second, third):
        assert config.post_norms
        assert config.norm_offset
        assert config.scaled_embedding
        assert config.activation is Activation.GELU_TANH


def test_models_with_layer_norm():
    second, pythia = model_config_of(GPT2), model_config_of(PYTHIA_160M)
    assert (second.mlp_width, second.position_embeddings, second.key_value_heads) == (3072, 1024, 12)
    assert (second.activation, pythia.activation) == (Activation.GELU_TANH, Activation.GELU)
    assert (pythia.rotary_size, pythia.position_embeddings, pythia.key_value_heads) == (16, None, 12)
    assert pythia.parallel_branches
    assert not second.parallel_branches
    for config in (second, pythia):
        assert config.norm is Norm.LAYER
        assert not config.gated_mlp
        assert config.projection_bias
        assert config.mlp_bias
