"""Splitting preferences in two by prompt, so that nothing validated on was trained on."""

import hashlib
import json
from collections.abc import Iterable

from rmjax.config import ConfigError
from rmjax.preferences.record import Preference, Text


def split_by_prompt(
    preferences: Iterable[Preference], fraction: float, *, seed: int
) -> tuple[tuple[Preference, ...], tuple[Preference, ...]]:
    """Splits preferences into (train, validation); all preferences of one prompt lie on the same side.

    The side is a hash of the prompt's text, keyed by the seed, and of nothing else: neither the order of the
    preferences nor the other prompts move a prompt to the other side. So ``fraction`` is the expected share of the
    prompts that go to validation; few prompts may give a share rather different from it.

    Args:
      preferences: in any order; each side keeps it.
      fraction: of the prompts, between 0 and 1, both excluded.
      seed: another seed gives another split.

    Raises:
      ConfigError: for a fraction outside (0, 1), or where one side would be empty.
    """
    if not 0 < fraction < 1:
        raise ConfigError(f"the validation fraction is {fraction!r}; it must be between 0 and 1, both excluded")
    sides: tuple[list[Preference], list[Preference]] = ([], [])
    for preference in preferences:
        sides[_uniform(preference.prompt, seed) < fraction].append(preference)
    train, validation = sides
    if not train or not validation:
        prompts = len({preference.prompt for preference in train + validation})
        side = "validation" if train else "training"
        raise ConfigError(
            f"a validation fraction of {fraction!r} leaves no {side} preferences out of {len(train + validation)} on "
            f"{prompts} different prompts; right would be more prompts, a fraction nearer to 0.5, or validation data "
            "named by config.data.validation"
        )
    return tuple(train), tuple(validation)


def _uniform(prompt: Text, seed: int) -> float:
    """A number in [0, 1) that depends on the prompt and the seed alone."""
    if isinstance(prompt, str):
        canonical = json.dumps(prompt)
    else:
        canonical = json.dumps([[message.role, message.content] for message in prompt])
    digest = hashlib.blake2b(canonical.encode(), digest_size=8, key=str(seed).encode()).digest()
    return (int.from_bytes(digest, "big") >> 11) / 2**53  # the 53 bits that a float holds exactly: never rounds to 1
