"""The text half of somebody else's model: tokenizer, chat template and special tokens out of a folder."""

import datetime
import re
from pathlib import Path
from typing import Any, NamedTuple

import tokenizers
from absl import logging

from rmjax.batches.jinja_template import JinjaTemplate, import_transformers
from rmjax.batches.template import RoleTemplate, Template
from rmjax.batches.tokenizer import PAD_TOKEN, SpecialTokens, TokenizerError, ready

_CLOCK = re.compile(r"""strftime_now\(\s*(["'])(.*?)\1\s*\)""")


class PretrainedText(NamedTuple):
    """What a text contract is made of, but for its limits."""

    tokenizer: tokenizers.Tokenizer
    template: Template
    special: SpecialTokens


def load_pretrained_text(folder: Path | str) -> PretrainedText:
    """The tokenizer of a folder in Hugging Face's format, as transformers reads it.

    A plain text gets the tokens around it that the tokenizer itself lays there when it is asked for special tokens (a
    BOS), and its end token; messages are rendered by its chat template. Where there is none they are rendered as HH
    transcripts. A tokenizer without a pad token, or whose pad token is its end token, gets one of its own. A template
    that asks for the date gets that of today, for good: the same conversation must be the same text tomorrow.

    Raises:
      TokenizerError: for a folder without a tokenizer that the ``tokenizers`` library can run, or one without an end
        token.
    """
    try:
        loaded: Any = import_transformers().AutoTokenizer.from_pretrained(str(folder))
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise TokenizerError(f"{folder}: found no tokenizer that transformers reads ({error})") from error
    backend = loaded.backend_tokenizer if loaded.is_fast else None
    if not isinstance(backend, tokenizers.Tokenizer):
        raise TokenizerError(f"{folder}: its tokenizer is {type(loaded).__name__}; right would be a tokenizer.json")
    if loaded.eos_token is None:
        raise TokenizerError(f"{folder}: its tokenizer has no eos_token; right would be one, to end conversations in")
    pad = loaded.pad_token
    if pad is None or pad == loaded.eos_token:
        backend.add_special_tokens([PAD_TOKEN])
        pad = PAD_TOKEN
    beginning = _beginning(backend, str(folder))
    special = SpecialTokens(end=loaded.eos_token, pad=pad, beginning=beginning, read_in_text=True)
    template: Template = RoleTemplate(beginning=beginning)
    if loaded.chat_template:
        template = JinjaTemplate(source=_without_clock(loaded.get_chat_template()), variables=_variables(loaded))
    else:
        logging.info("%s has no chat template: messages are rendered as HH transcripts", folder)
    return PretrainedText(ready(backend, special, str(folder)), template, special)


def _beginning(tokenizer: tokenizers.Tokenizer, name: str) -> str:
    """The token that the tokenizer itself lays before a text; empty for none."""
    tokenizer.no_truncation()
    tokenizer.no_padding()
    bare, whole = (tokenizer.encode("a", add_special_tokens=added) for added in (False, True))
    length = len(bare.ids)
    before = next(place for place in range(len(whole.ids)) if whole.ids[place : place + length] == bare.ids)
    if before > 1:
        found = ", ".join(whole.tokens[:before])
        raise TokenizerError(f"{name}: its tokenizer begins texts with {found}; right would be at most one token")
    return "".join(whole.tokens[:before])


def _without_clock(source: str) -> str:
    """The template with today's date in the place of calls that ask for it."""
    frozen, count = _CLOCK.subn(lambda call: repr(datetime.date.today().strftime(call[2])), source)
    if count:
        logging.info("the chat template asks for the date; from now on it is %s", datetime.date.today())
    return frozen


def _variables(loaded: Any) -> tuple[tuple[str, str], ...]:
    found = loaded.special_tokens_map.items()
    return tuple(sorted((name, str(value)) for name, value in found if isinstance(value, str)))
