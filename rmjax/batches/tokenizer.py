"""Byte-level BPE for models that are trained from scratch, and the file it is kept in."""

from collections.abc import Iterable

import tokenizers
from absl import logging
from etils import epath
from tokenizers import decoders, models, pre_tokenizers, trainers

from rmjax import files
from rmjax.errors import UserError

PAD_TOKEN = "<|pad|>"
END_TOKEN = "<|end|>"
BYTES = 256


class TokenizerError(UserError):
    """A tokenizer file that can't be used: the message names the file, what was found and what would be right."""


def train_tokenizer(texts: Iterable[str], vocabulary_size: int) -> tokenizers.Tokenizer:
    """Trains byte-level BPE: pad is token 0, end is token 1, the bytes follow, then the merges.

    The result is a function of the texts alone, whatever the number of threads. Texts with few different words give
    fewer tokens than ``vocabulary_size``; ``vocabulary_size_of`` tells how many.
    """
    if vocabulary_size < BYTES + 2:
        raise ValueError(f"vocabulary_size is {vocabulary_size}; it must be at least {BYTES + 2} (256 bytes, pad, end)")
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        special_tokens=[PAD_TOKEN, END_TOKEN],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    logging.info("trained a tokenizer of %d tokens (asked for %d)", tokenizer.get_vocab_size(), vocabulary_size)
    return _ready(tokenizer, "the trained tokenizer")


def vocabulary_size_of(tokenizer: tokenizers.Tokenizer) -> int:
    """How many rows an embedding needs: one more than the largest token id, which may leave ids out.

    ``get_vocab_size()`` counts the tokens, and is less than that where there are gaps.
    """
    return max(tokenizer.get_vocab().values()) + 1


def save_tokenizer(tokenizer: tokenizers.Tokenizer, path: epath.PathLike) -> None:
    """Writes ``tokenizer.json``, whole or not at all."""
    files.write_text(path, tokenizer.to_str(pretty=True))


def load_tokenizer(path: epath.PathLike) -> tokenizers.Tokenizer:
    """The tokenizer of a ``tokenizer.json``; a missing or unusable file is an error that names it."""
    files.check_bucket(path)
    file = epath.Path(path)
    if not file.exists():
        raise TokenizerError(f"{path}: no such tokenizer file; right would be the path of a tokenizer.json")
    try:
        text = file.read_text()
    except UnicodeDecodeError as error:
        raise TokenizerError(f"{path}: found bytes that are not UTF-8; right would be a tokenizer.json") from error
    try:
        tokenizer = tokenizers.Tokenizer.from_str(text)
    except Exception as error:  # the Rust library raises a bare Exception, so no narrower class can be named
        raise TokenizerError(f"{path}: found no tokenizer ({error}); right would be a tokenizer.json") from error
    return _ready(tokenizer, str(path))


def _ready(tokenizer: tokenizers.Tokenizer, name: str) -> tokenizers.Tokenizer:
    """Sets what the file does not keep, or must not decide: special tokens in text, truncation, padding."""
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True  # a response that spells the end token out must not end itself
    for token in (PAD_TOKEN, END_TOKEN):
        number = tokenizer.token_to_id(token)
        if number is None:
            raise TokenizerError(f"{name}: found no token {token!r}; right would be a tokenizer with {token!r} in it")
        if number in tokenizer.encode(token, add_special_tokens=False).ids:
            raise TokenizerError(
                f"{name}: token {token!r} is an ordinary token, so text could spell it; right would be a special token"
            )
    return tokenizer
