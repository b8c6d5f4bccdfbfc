"""Byte-level BPE for models that are trained from scratch, and the file that a tokenizer is kept in."""

from collections.abc import Iterable
from dataclasses import dataclass

import tokenizers
from absl import logging
from etils import epath
from tokenizers import decoders, models, pre_tokenizers, trainers

from rmjax import files
from rmjax.errors import UserError

PAD_TOKEN = "<|pad|>"
END_TOKEN = "<|end|>"
BYTES = 256


@dataclass(frozen=True, kw_only=True, slots=True)
class SpecialTokens:
    """The tokens with a meaning of their own, and whether text may spell them; by default those of our tokenizers.

    Attributes:
      end: ends a conversation.
      pad: of exports alone, for nothing is padded here. It is never the end token: transformers reads the reward at the
        last token that isn't padding, so it would read one token early.
      beginning: of a plain text, once; empty for none.
      read_in_text: a text that spells a special token has it, as in texts that a chat template has rendered. Otherwise
        it stays text.
    """

    end: str = END_TOKEN
    pad: str = PAD_TOKEN
    beginning: str = ""
    read_in_text: bool = False


OWN_TOKENS = SpecialTokens()


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
    return ready(tokenizer, OWN_TOKENS, "the trained tokenizer")


def vocabulary_size_of(tokenizer: tokenizers.Tokenizer) -> int:
    """How many rows an embedding needs: one more than the largest token id, which may leave ids out.

    ``get_vocab_size()`` counts the tokens, and is less than that where there are gaps.
    """
    return max(tokenizer.get_vocab().values()) + 1


def save_tokenizer(tokenizer: tokenizers.Tokenizer, path: epath.PathLike) -> None:
    """Writes ``tokenizer.json``, whole or not at all."""
    files.write_text(path, tokenizer.to_str(pretty=True))


def load_tokenizer(path: epath.PathLike, special: SpecialTokens = OWN_TOKENS) -> tokenizers.Tokenizer:
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
    return ready(tokenizer, special, str(path))


def ready(tokenizer: tokenizers.Tokenizer, special: SpecialTokens, name: str) -> tokenizers.Tokenizer:
    """Sets what the file does not keep, or must not decide: special tokens in text, truncation, padding.

    Raises:
      TokenizerError: with the tokenizer's name, where it lacks a special token, text could spell one that it mustn't,
        or the pad token is the end token.
    """
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = not special.read_in_text
    for token in (special.pad, special.end):
        number = tokenizer.token_to_id(token)
        if number is None:
            raise TokenizerError(f"{name}: found no token {token!r}; right would be a tokenizer with {token!r} in it")
        if not special.read_in_text and number in tokenizer.encode(token, add_special_tokens=False).ids:
            raise TokenizerError(
                f"{name}: token {token!r} is an ordinary token, so text could spell it; right would be a special token"
            )
    if special.pad == special.end:
        raise TokenizerError(f"{name}: {special.end!r} is both pad and end token; right would be two tokens")
    return tokenizer
