"""Small models of somebody else's, as folders in Hugging Face's format: random weights, and tokenizers of three kinds.

- ``llama``: texts begin in a BOS that the tokenizer and the chat template both write, and there is no pad token;
- ``qwen``: no BOS, the chat template ends in a line break after the end token;
- ``gpt2``: one special token for everything, no chat template.
"""

import json
import pathlib
from typing import Any

import jax
import tokenizers
from tokenizers import decoders, models, pre_tokenizers, processors, trainers
from untrained import WORDS

from rmjax.model_config import ModelConfig
from rmjax.models.huggingface_export import theirs_of, write_weights
from rmjax.models.reward import RewardModel, init

KINDS = ("llama", "qwen", "gpt2")
LLAMA = (
    "{{ bos_token }}{% for message in messages %}<|start|>{{ message['role'] }}\n{{ message['content'] | trim }}<|eot|>"
    "{% endfor %}{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
)
QWEN = (
    "{%- if messages[0]['role'] != 'system' %}<|im_start|>system\nbe brief<|im_end|>\n{% endif %}"
    "{%- for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{%- endfor %}{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{%- endif %}"
)
SPECIAL: dict[str, dict[str, Any]] = {
    "llama": {"bos_token": "<|bos|>", "eos_token": "<|eot|>", "chat_template": LLAMA},
    "qwen": {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", "chat_template": QWEN},
    "gpt2": {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"},
}
TOKENS = {
    "llama": ["<|bos|>", "<|eot|>", "<|start|>"],
    "qwen": ["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
    "gpt2": ["<|endoftext|>"],
}
SHAPE = {
    "width": 16, "layers": 2, "attention_heads": 2, "key_value_heads": 1, "head_size": 8, "mlp_width": 32,
}  # fmt: skip
SPARE = 5  # rows of the embedding that no token has


def write_tokenizer(folder: pathlib.Path, kind: str) -> tokenizers.Tokenizer:
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=TOKENS[kind], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator([f"{word} {word}" for word in WORDS], trainer)
    if kind == "llama":
        tokenizer.post_processor = processors.TemplateProcessing(single="<|bos|> $A", special_tokens=[("<|bos|>", 0)])
    tokenizer.save(str(folder / "tokenizer.json"))
    about = {"tokenizer_class": "PreTrainedTokenizerFast", **SPECIAL[kind]}
    (folder / "tokenizer_config.json").write_text(json.dumps(about))
    return tokenizer


def write_pretrained(
    folder: pathlib.Path, kind: str, *, seed: int = 0, reward: bool = False, **shape: Any
) -> ModelConfig:
    """A causal language model with a tokenizer of the kind, or a reward model."""
    tokenizer = write_tokenizer(folder, kind)
    words = tokenizer.get_vocab_size() + SPARE
    config = ModelConfig(**SHAPE | {"query_key_norm": True} | shape)
    params = init(RewardModel(config, words), jax.random.PRNGKey(seed))
    params = jax.tree.map(lambda leaf: 3 * leaf if leaf.ndim > 1 else leaf, params)
    theirs = theirs_of(config, words, longest=512)
    write_weights(folder, theirs["model_type"], config, params, head=0, dtype="float32", shard_bytes=20_000)
    if not reward:
        theirs["architectures"] = [theirs["architectures"][0].replace("SequenceClassification", "CausalLM")]
        index = json.loads((folder / "model.safetensors.index.json").read_text())
        del index["weight_map"]["score.weight"]
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "config.json").write_text(json.dumps(theirs))
    return config
