"""What a packing plan is made from: lengths and who is compared with whom, never the tokens themselves."""

import itertools
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from rmjax.batches.tokenized import TokenizedPreferences


@dataclass(frozen=True, kw_only=True)
class GroupLengths:
    """The lengths of conversations, and how many tokens those of one group begin with alike.

    The conversations of each group are sorted, as words in a dictionary. What any of them have in common is then the
    least that neighbours have in common from the first of them to the last, so a number for each response tells it of
    every choice of responses.

    Attributes:
      whole: tokens of each response's conversation.
      place: where each response stands when the groups follow each other, each of them sorted.
      common: by place, the tokens that a conversation shares with the one before it, 0 for the first of a group; at
        most all but one of either, so that every response keeps a token of its own.
      group_offsets, comparison_offsets, left, right, response_origin, comparison_origin: as in TokenizedPreferences.
    """

    whole: Int[np.ndarray, "responses"]
    place: Int[np.ndarray, "responses"]
    common: Int[np.ndarray, "responses"]
    group_offsets: Int[np.ndarray, "groups_and_end"]
    comparison_offsets: Int[np.ndarray, "groups_and_end"]
    left: Int[np.ndarray, "comparisons"]
    right: Int[np.ndarray, "comparisons"]
    response_origin: Int[np.ndarray, "responses 2"]
    comparison_origin: Int[np.ndarray, "comparisons 2"]

    @property
    def groups(self) -> int:
        return len(self.group_offsets) - 1

    @property
    def prefix(self) -> Int[np.ndarray, "groups"]:
        """Tokens that all responses of a group share."""
        return self.shared(self.group_offsets[:-1], self.group_offsets[1:] - 1)

    @property
    def own(self) -> Int[np.ndarray, "responses"]:
        """Tokens of each response after its group's prefix."""
        return self.whole - np.repeat(self.prefix, np.diff(self.group_offsets))

    @property
    def comparison_tokens(self) -> Int[np.ndarray, "comparisons"]:
        """Tokens of the two conversations that each comparison compares, with what they share once."""
        places = np.sort(self.place[np.stack([self.left, self.right])], axis=0)
        return self.whole[self.left] + self.whole[self.right] - self.shared(*places)

    def shared(self, first: Int[np.ndarray, "choices"], last: Int[np.ndarray, "choices"]) -> Int[np.ndarray, "choices"]:
        """Tokens that all responses from a first place to a last one share; 0 where it is one response alone."""
        bounds = np.stack([first, last], axis=1).reshape(-1) + 1
        least = np.minimum.reduceat(np.append(self.common, 0), bounds)[::2]
        return np.where(first < last, least, 0)


def measure(tokenized: TokenizedPreferences) -> GroupLengths:
    """The lengths of tokenized preferences, with what conversations share found in tokens."""
    place, common = np.zeros(tokenized.responses, np.int64), np.zeros(tokenized.responses, np.int64)
    for first, end in itertools.pairwise(tokenized.group_offsets.tolist()):
        conversations = {response: tokenized.conversation(response) for response in range(first, end)}
        order = sorted(conversations, key=lambda response: conversations[response].tobytes())
        place[order] = range(first, end)
        for at, pair in enumerate(itertools.pairwise(order), first + 1):
            common[at] = _common(*(conversations[response] for response in pair))
    return GroupLengths(
        whole=np.diff(tokenized.response_offsets),
        place=place,
        common=common,
        group_offsets=tokenized.group_offsets,
        comparison_offsets=tokenized.comparison_offsets,
        left=tokenized.left,
        right=tokenized.right,
        response_origin=tokenized.response_origin,
        comparison_origin=tokenized.comparison_origin,
    )


def _common(one: Int[np.ndarray, "tokens"], other: Int[np.ndarray, "more_tokens"]) -> int:
    """How many tokens both begin with, at most all but one of either."""
    length = min(len(one), len(other)) - 1
    different = one[:length] != other[:length]
    at = int(different.argmax()) if length else 0
    return at if length and different[at] else length
