"""The Llama classifier that a benchmark folder describes, in the peers' environment, where rmjax is not installed."""

import itertools
import json
from pathlib import Path

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForSequenceClassification, PreTrainedTokenizerFast


def load_model(folder: Path) -> LlamaForSequenceClassification:
    """The model with the folder's weights, every one of them; float32, without dropout."""
    config = LlamaConfig(**json.loads((folder / "llama.json").read_text()))
    model = LlamaForSequenceClassification(config).to(torch.float32)
    with np.load(folder / "weights.npz") as arrays:
        model.load_state_dict({name: torch.from_numpy(arrays[name]) for name in arrays.files}, strict=True)
    return model


def new_model(folder: Path, *, device: str, attention: str) -> LlamaForSequenceClassification:
    """The same with weights of its own making, float32, made where they will be used."""
    config = LlamaConfig(**json.loads((folder / "llama.json").read_text()), attn_implementation=attention)
    with torch.device(device):
        return LlamaForSequenceClassification(config).to(torch.float32)


def load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """The tokenizer with its pad and end token, as a text-classification pipeline needs it."""
    return PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"), pad_token="<|pad|>", eos_token="<|end|>", padding_side="right"
    )


def load_conversations(folder: Path) -> list[list[int]]:
    """The token ids of every conversation: chosen, rejected, chosen, …"""
    with np.load(folder / "pairs.npz") as stored:
        tokens, offsets = stored["tokens"], stored["offsets"]
    return [tokens[begin:end].tolist() for begin, end in itertools.pairwise(offsets)]
