"""The shapes of published models: their count of parameters to the digit, and what their own config.json says."""

import dataclasses
import importlib

import jax
import pytest

from rmjax.config import TuningConfig
from rmjax.model_config import ModelConfig
from rmjax.models.huggingface_config import model_config_of
from rmjax.models.reward import RewardModel, init, parameter_count

_GEMMA2 = {
    "model_type": "gemma2", "vocab_size": 256000, "hidden_activation": "gelu_pytorch_tanh", "rms_norm_eps": 1e-6,
    "attn_logit_softcapping": 50.0, "sliding_window": 4096, "rope_theta": 10000.0,
}  # fmt: skip
_QWEN3 = {
    "model_type": "qwen3", "vocab_size": 151936, "head_dim": 128, "hidden_act": "silu", "rms_norm_eps": 1e-6,
    "rope_theta": 1000000, "attention_bias": False, "use_sliding_window": False,
}  # fmt: skip


def theirs(base, width, layers, heads, groups, mlp, **more):
    return base | {
        "hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": heads,
        "num_key_value_heads": groups, "intermediate_size": mlp,
    } | more  # fmt: skip


# The published config.json, how many parameters the published weights have, and whether the output matrix, which a
# reward model doesn't have, is among them beside the embedding.
PUBLISHED = {
    "qwen3_06b": (theirs(_QWEN3, 1024, 28, 16, 8, 3072), 596_049_920, False),
    "qwen3_8b": (theirs(_QWEN3, 4096, 36, 32, 8, 12288), 8_190_735_360, True),
    "qwen25_7b": (
        theirs({"model_type": "qwen2", "vocab_size": 152064, "hidden_act": "silu", "rms_norm_eps": 1e-6,
                "rope_theta": 1000000.0, "use_sliding_window": False}, 3584, 28, 28, 4, 18944),
        7_615_616_512,
        True,
    ),
    "mistral_7b": (
        theirs({"model_type": "mistral", "vocab_size": 32000, "hidden_act": "silu", "rms_norm_eps": 1e-5,
                "rope_theta": 10000.0, "sliding_window": 4096}, 4096, 32, 32, 8, 14336),
        7_241_732_096,
        True,
    ),
    "gemma2_2b": (
        theirs(_GEMMA2, 2304, 26, 8, 4, 9216, head_dim=256, query_pre_attn_scalar=256), 2_614_341_888, False,
    ),
    "gemma2_9b": (
        theirs(_GEMMA2, 3584, 42, 16, 8, 14336, head_dim=256, query_pre_attn_scalar=256), 9_241_705_984, False,
    ),
    "gemma2_27b": (
        theirs(_GEMMA2, 4608, 46, 32, 16, 36864, head_dim=128, query_pre_attn_scalar=144), 27_227_128_320, False,
    ),
}  # fmt: skip
_OF_A_RUN = ("attention", "dropout", "compute_dtype", "remat", "unroll", "reward_heads")


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_preset_is_the_published_architecture(name):
    published, count, has_output_matrix = PUBLISHED[name]
    config = importlib.import_module(f"experiments.{name}").get_config()
    plain = {field: getattr(ModelConfig(), field) for field in _OF_A_RUN}
    assert dataclasses.replace(config.model, **plain) == model_config_of(published)
    assert config.text.vocabulary_size == published["vocab_size"]
    assert config.tuning != TuningConfig()
    model = RewardModel(config.model, config.text.vocabulary_size)
    ours = parameter_count(jax.eval_shape(lambda: init(model, jax.random.PRNGKey(0))))
    matrix = config.text.vocabulary_size * config.model.width if has_output_matrix else 0
    assert ours - config.model.width + matrix == count
