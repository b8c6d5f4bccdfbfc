"""Tokenized preferences as flat numpy arrays: what packing plans from and copies from."""

import hashlib
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int

_LEARNED_FROM = (
    "tokens", "response_offsets", "group_offsets", "comparison_offsets", "left", "right", "head", "probability",
    "margin", "weight",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class TokenizedPreferences:
    """Groups of conversations that share a prompt, and the comparisons made inside each group.

    Response r is ``tokens[response_offsets[r]:response_offsets[r + 1]]``: its whole conversation, prompt included, with
    the end token. Group g holds the responses ``group_offsets[g]:group_offsets[g + 1]`` and the comparisons
    ``comparison_offsets[g]:comparison_offsets[g + 1]``.

    Attributes:
      tokens: all conversations, one after the other.
      response_offsets, group_offsets, comparison_offsets: where each response and group begins; one more entry at
        the end.
      left, right: the responses that a comparison compares, counted over all groups.
      head, probability, margin, weight: as in PreferenceBatch.
      response_origin, comparison_origin: (index of the preference, index inside the preference) of each response and
        comparison, so that results find their way back to the records.
      skipped: how many comparisons (responses, where nothing is compared) were skipped, by kind of fault.
      cut_prompts: how many groups have a prompt that lost tokens to ``max_prompt_tokens``.
    """

    tokens: Int[np.ndarray, "tokens"]
    response_offsets: Int[np.ndarray, "responses_and_end"]
    group_offsets: Int[np.ndarray, "groups_and_end"]
    comparison_offsets: Int[np.ndarray, "groups_and_end"]
    left: Int[np.ndarray, "comparisons"]
    right: Int[np.ndarray, "comparisons"]
    head: Int[np.ndarray, "comparisons"]
    probability: Float[np.ndarray, "comparisons"]
    margin: Float[np.ndarray, "comparisons"]
    weight: Float[np.ndarray, "comparisons"]
    response_origin: Int[np.ndarray, "responses 2"]
    comparison_origin: Int[np.ndarray, "comparisons 2"]
    skipped: Counter[str] = field(default_factory=Counter)
    cut_prompts: int = 0

    @property
    def groups(self) -> int:
        return len(self.group_offsets) - 1

    @property
    def responses(self) -> int:
        return len(self.response_offsets) - 1

    @property
    def comparisons(self) -> int:
        return len(self.left)

    def digest(self) -> str:
        """32 hexadecimal digits of all that is learned from: equal for equal data, whatever machine tokenized them."""
        digest = hashlib.blake2b(digest_size=16)
        for name in _LEARNED_FROM:
            array = getattr(self, name)
            kind = array.dtype.newbyteorder("<")
            digest.update(f"{name} {kind.str} {array.shape}\n".encode())
            digest.update(array.astype(kind).tobytes())
        return digest.hexdigest()

    def conversation(self, response: int | np.integer) -> Int[np.ndarray, "tokens"]:
        """The tokens of one response's whole conversation."""
        return self.tokens[self.response_offsets[response] : self.response_offsets[response + 1]]
