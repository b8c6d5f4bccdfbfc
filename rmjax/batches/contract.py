"""The text contract: how a prompt and a response become the tokens that a reward is read from.

Every conversation is tokenized as one text and ends in the end token. Limits never depend on a response's siblings,
so a reward belongs to a prompt and a response alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import tokenizers

from rmjax.batches.limits import ResponseTooLongError, SystemTurnTooLongError
from rmjax.batches.template import RoleTemplate
from rmjax.batches.tokenizer import END_TOKEN, TokenizerError
from rmjax.config import TextConfig
from rmjax.preferences.record import RowError, Text


@dataclass(frozen=True, kw_only=True)
class EncodedGroup:
    """The conversations of one prompt.

    Attributes:
      conversations: the tokens of each response's conversation, end token included; empty where there is a fault.
      faults: why a response can't be used; None where it can.
      cut: how many tokens the prompt lost to the limit.
    """

    conversations: tuple[list[int], ...]
    faults: tuple[RowError | None, ...]
    cut: int


@dataclass(frozen=True, kw_only=True)
class TextContract:
    """Tokenizer, limits and template: everything that decides which tokens a reward is read from.

    A prompt that alone has more than ``max_prompt_tokens`` tokens loses as many as are too many, from the left, after
    the beginning token and the system turn, which stay. The same number is cut from every response's conversation. A
    response has the tokens of its conversation that follow what the conversation begins with as its prompt alone does,
    the end token included. So two responses with what they share have at most
    ``max_prompt_tokens + 2 * max_response_tokens`` tokens.
    """

    tokenizer: tokenizers.Tokenizer
    max_prompt_tokens: int
    max_response_tokens: int
    template: RoleTemplate = field(default_factory=RoleTemplate)

    def __post_init__(self):
        self._token(END_TOKEN)
        self._beginning()

    @classmethod
    def from_config(cls, config: TextConfig, tokenizer: tokenizers.Tokenizer) -> "TextContract":
        return cls(
            tokenizer=tokenizer,
            max_prompt_tokens=config.max_prompt_tokens,
            max_response_tokens=config.max_response_tokens,
        )

    def encode(self, prompt: Text, responses: Sequence[Text], *, origin: str = "") -> EncodedGroup:
        """The conversations of one prompt; the first fault is raised."""
        (group,) = self.encode_many([(prompt, responses, origin)])
        for fault in group.faults:
            if fault is not None:
                raise fault
        return group

    def encode_many(self, groups: Sequence[tuple[Text, Sequence[Text], str]]) -> list[EncodedGroup]:
        """The same for many (prompt, responses, origin) at once, by all threads; faults are kept, not raised."""
        texts: list[str] = []
        rendered: list[tuple[int, str] | RowError] = []  # where a group's texts begin, and its system turn
        for prompt, responses, origin in groups:
            try:
                prompt_text, response_texts, system = self._rendered(prompt, responses, origin)
            except RowError as fault:
                rendered.append(fault)
                continue
            rendered.append((len(texts), system))
            texts.append(prompt_text)
            texts.extend(prompt_text + response_text for response_text in response_texts)
        encodings = self.tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        encoded = []
        for (prompt, responses, origin), entry in zip(groups, rendered, strict=True):
            if isinstance(entry, RowError):
                encoded.append(_faulty(entry, len(responses)))
                continue
            begin, system = entry
            beginning = [] if isinstance(prompt, str) else self._beginning()
            kept = len(beginning) + (len(self._ids(system)) if system else 0)
            conversations = [beginning + encodings[begin + 1 + index].ids for index in range(len(responses))]
            encoded.append(self._limited(beginning + encodings[begin].ids, kept, conversations, origin))
        return encoded

    def _limited(self, prompt: list[int], kept: int, conversations: list[list[int]], origin: str) -> EncodedGroup:
        """Applies the limits and adds the end token; ``prompt`` is the prompt alone, ``kept`` what is never cut."""
        if kept > self.max_prompt_tokens:
            limit = self.max_prompt_tokens
            fault = SystemTurnTooLongError(origin=origin, tokens=kept, limit=limit, prompt=len(prompt))
            return _faulty(fault, len(conversations))
        end = self._token(END_TOKEN)
        cut = max(0, len(prompt) - self.max_prompt_tokens)
        del prompt[kept : kept + cut]
        faults: list[RowError | None] = []
        for index, tokens in enumerate(conversations):
            del tokens[kept : kept + cut]
            tokens.append(end)
            # Where the first letters of a response melt into the last token of the prompt, the tokens made of both are
            # the response's: what siblings share is then never shorter than what the limits reckon with.
            count = len(tokens) - _common(prompt, tokens)
            if count > self.max_response_tokens:
                name, limit = f"responses[{index}]", self.max_response_tokens
                faults.append(ResponseTooLongError(origin=origin, field=name, tokens=count, limit=limit))
                conversations[index] = []
            else:
                faults.append(None)
        return EncodedGroup(conversations=tuple(conversations), faults=tuple(faults), cut=cut)

    def _rendered(self, prompt: Text, responses: Sequence[Text], origin: str) -> tuple[str, list[str], str]:
        """(prompt with its generation prompt, what follows it in each response, the system turn)."""
        for index, response in enumerate(responses):
            if isinstance(response, str) != isinstance(prompt, str):
                found = "text" if isinstance(response, str) else "messages"
                right = "text, as the prompt is" if isinstance(prompt, str) else "messages, as the prompt is"
                name = f"responses[{index}]"
                raise RowError(origin=origin, field=name, kind="wrong type", found=found, right=right)
        if isinstance(prompt, str):
            return prompt, [response for response in responses if isinstance(response, str)], ""
        texts = [
            self.template.render_response(response, origin=origin, field=f"responses[{index}]")
            for index, response in enumerate(responses)
            if not isinstance(response, str)
        ]
        text = self.template.render_turns(prompt, origin=origin, field="prompt") + self.template.generation_prompt
        return text, texts, self.template.render_system(prompt)

    def _beginning(self) -> list[int]:
        return [self._token(self.template.beginning)] if self.template.beginning else []

    def _token(self, name: str) -> int:
        number = self.tokenizer.token_to_id(name)
        if number is None:
            raise TokenizerError(f"the tokenizer has no token {name!r}, which the text contract needs")
        return number

    def _ids(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False).ids


def _common(one: list[int], other: list[int]) -> int:
    """How many tokens two sequences begin with alike."""
    if other[: len(one)] == one:
        return len(one)
    return next((place for place, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), len(other))


def _faulty(fault: RowError, responses: int) -> EncodedGroup:
    return EncodedGroup(conversations=([],) * responses, faults=(fault,) * responses, cut=0)
