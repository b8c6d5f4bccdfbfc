"""Makes tests/golden/huggingface: tiny models of every architecture that is imported, and what transformers computes.

    .venv-peers/bin/python tests/golden/make_huggingface.py [FOLDER SEED]

Another seed makes other weights and conversations, as tests/test_peers_huggingface.py has them. Each folder is as
``save_pretrained`` writes it, with ``expected.npz`` beside: the tokens of four conversations, of which the first two
begin alike, the hidden states after the last norm, and the rewards, each conversation on its own.
The script refuses to write what transformers itself doesn't compute alike from batches padded on either side.
"""

import sys
from pathlib import Path

import numpy as np
import torch
import transformers
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

FOLDER = Path(__file__).parent / "huggingface"
VOCABULARY, PAD = 37, 0  # an odd number, as of many tokenizers
COMMON = {
    "vocab_size": VOCABULARY, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 3,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64, "pad_token_id": PAD,
    "bos_token_id": 1, "eos_token_id": 2, "attention_dropout": 0.0, "num_labels": 1,
}  # fmt: skip
GEMMA = {"head_dim": 8, "query_pre_attn_scalar": 5, "sliding_window": 5, "hidden_activation": "gelu_pytorch_tanh"}
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 100.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 16,
}  # fmt: skip
MODELS = {
    "llama2": ("LlamaConfig", {"rope_parameters": {"rope_type": "default", "rope_theta": 100.0}}),
    "llama3": ("LlamaConfig", {"rope_parameters": LLAMA3, "tie_word_embeddings": True}),
    "mistral": ("MistralConfig", {"sliding_window": 5, "head_dim": 8}),
    "qwen2": ("Qwen2Config", {"use_sliding_window": True, "sliding_window": 5, "max_window_layers": 1}),
    "qwen3": ("Qwen3Config", {"head_dim": 8}),
    "gemma": ("GemmaConfig", {"head_dim": 8, "tie_word_embeddings": True}),
    "gemma2": ("Gemma2Config", GEMMA | {"attn_logit_softcapping": 2.0}),
    "gemma3": ("Gemma3TextConfig", GEMMA | {
        "num_hidden_layers": 4, "layer_types": ["sliding_attention", "full_attention"] * 2,
        "rope_parameters": {
            "sliding_attention": {"rope_type": "default", "rope_theta": 50.0},
            "full_attention": {"rope_type": "linear", "rope_theta": 1000.0, "factor": 4.0},
        },
    }),
    "gpt2": ("GPT2Config", {
        "vocab_size": VOCABULARY, "n_embd": 16, "n_layer": 3, "n_head": 4, "n_inner": 24, "n_positions": 64,
        "attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0, "summary_first_dropout": 0.0, "num_labels": 1,
        "pad_token_id": PAD,
    }),
    "gpt_neox": ("GPTNeoXConfig", {"rotary_pct": 0.5}),
    "gpt_neox_serial": ("GPTNeoXConfig", {"use_parallel_residual": False, "rotary_pct": 1.0}),
}  # fmt: skip
SHARDED = {"qwen3"}
LANGUAGE_MODELS = {"llama3", "gpt2", "gpt_neox"}  # stored as such too


def enliven(model: torch.nn.Module, generator: torch.Generator) -> None:
    """Weights with which everything matters: an initial model is nearly linear, and all its biases are zero."""
    for value in model.parameters():
        noise = torch.randn(value.shape, generator=generator)
        value.data = noise * value.shape[-1] ** -0.5 if value.ndim > 1 else value.data + 0.3 * noise


def conversations(generator: np.random.Generator) -> list[list[int]]:
    def some(count: int) -> list[int]:
        return generator.integers(3, VOCABULARY, count).tolist()

    prompt = some(9)
    return [prompt + some(10), prompt + some(4), some(12), some(3)]


def padded(model: torch.nn.Module, rows: list[list[int]], *, left: bool) -> np.ndarray:
    width = max(map(len, rows))
    filled = [[PAD] * (width - len(row)) + row if left else row + [PAD] * (width - len(row)) for row in rows]
    tokens = torch.tensor(filled)
    mask = (tokens != PAD).long()
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    with torch.no_grad():
        return model(tokens, attention_mask=mask, position_ids=positions).logits[:, 0].numpy()


def expected(model: torch.nn.Module, rows: list[list[int]]) -> dict[str, np.ndarray]:
    hidden, rewards = [], []
    for row in rows:
        with torch.no_grad():
            answer = model(torch.tensor([row]), output_hidden_states=True)
        hidden.append(answer.hidden_states[-1][0].numpy())
        rewards.append(answer.logits[0, 0].item())
    for left in (False, True):
        np.testing.assert_allclose(padded(model, rows, left=left), rewards, atol=1e-5)
    return {
        "tokens": np.concatenate(rows).astype(np.int32),
        "lengths": np.array([len(row) for row in rows]),
        "hidden": np.concatenate(hidden),
        "rewards": np.array(rewards, np.float32),
    }


def main(parent: Path, seed: int) -> None:
    for number, (name, (kind, changes)) in enumerate(MODELS.items(), start=seed * len(MODELS)):
        generator = torch.Generator().manual_seed(number)
        config = getattr(transformers, kind)(**(changes if name == "gpt2" else COMMON | changes))
        config._attn_implementation = "eager"
        model = AutoModelForSequenceClassification.from_config(config).eval()
        enliven(model, generator)
        folder = parent / name
        model.save_pretrained(folder, max_shard_size="12KB" if name in SHARDED else "1GB")
        np.savez(folder / "expected.npz", **expected(model, conversations(np.random.default_rng(number))))
        if name in LANGUAGE_MODELS:
            language_model = AutoModelForCausalLM.from_config(config)
            enliven(language_model, generator)
            language_model.save_pretrained(parent / f"{name}_lm")
        print(name, np.load(folder / "expected.npz")["rewards"])


if __name__ == "__main__":
    main(*((Path(sys.argv[1]), int(sys.argv[2])) if len(sys.argv) > 1 else (FOLDER, 0)))
