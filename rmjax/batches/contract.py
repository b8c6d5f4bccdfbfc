"""The text contract: how a prompt and a response become the tokens that a reward is read from.

Every conversation is tokenized as one text. The reward is read at its last token: the end token, or what a model's own
chat template writes at the end. Limits never depend on a response's siblings, so a reward belongs to a prompt and a
response alone.
"""

import dataclasses
import functools
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import tokenizers

from rmjax.batches.jinja_template import JinjaTemplate, common
from rmjax.batches.limits import ResponseTooLongError, SystemTurnTooLongError
from rmjax.batches.template import RoleTemplate, Template
from rmjax.batches.tokenizer import OWN_TOKENS, SpecialTokens, TokenizerError
from rmjax.config import TextConfig
from rmjax.preferences.record import Message, RowError, Text


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

    A plain text begins in the beginning token of ``special`` and ends in its end token; where text may spell special
    tokens and has these two already, they are not laid twice. Messages are rendered by the template, and none of them
    may spell a special token where text may.
    """

    tokenizer: tokenizers.Tokenizer
    max_prompt_tokens: int
    max_response_tokens: int
    template: Template = field(default_factory=RoleTemplate)
    special: SpecialTokens = OWN_TOKENS

    def __post_init__(self):
        for name in (self.special.end, self.special.beginning, self.template.beginning):
            self._tokens(name)

    @classmethod
    def from_config(
        cls,
        config: TextConfig,
        tokenizer: tokenizers.Tokenizer,
        template: Template | None = None,
        special: SpecialTokens = OWN_TOKENS,
    ) -> "TextContract":
        return cls(
            tokenizer=tokenizer,
            max_prompt_tokens=config.max_prompt_tokens,
            max_response_tokens=config.max_response_tokens,
            template=template or RoleTemplate(),
            special=special,
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
        rendered: list[int | RowError] = []  # where a group's texts begin
        for prompt, responses, origin in groups:
            try:
                prompt_text, conversations = self._rendered(prompt, responses, origin)
            except RowError as fault:
                rendered.append(fault)
                continue
            rendered.append(len(texts))
            texts.append(prompt_text)
            texts.extend(conversations)
        encodings = self.tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        encoded = []
        for (prompt, responses, origin), begin in zip(groups, rendered, strict=True):
            if isinstance(begin, RowError):
                encoded.append(_faulty(begin, len(responses)))
                continue
            whole = [self._begun(prompt, encodings[begin + index].ids) for index in range(1 + len(responses))]
            encoded.append(self._limited(prompt, whole[0], whole[1:], origin))
        return encoded

    def _limited(self, prompt: Text, alone: list[int], conversations: list[list[int]], origin: str) -> EncodedGroup:
        """Applies the limits and adds the end token; ``alone`` is the prompt's tokens without a response."""
        cut = max(0, len(alone) - self.max_prompt_tokens)
        kept = self._kept(prompt) if cut else 0
        if kept > self.max_prompt_tokens:
            limit = self.max_prompt_tokens
            fault = SystemTurnTooLongError(origin=origin, tokens=kept, limit=limit, prompt=len(alone))
            return _faulty(fault, len(conversations))
        del alone[kept : kept + cut]
        faults: list[RowError | None] = []
        for index, tokens in enumerate(conversations):
            del tokens[kept : kept + cut]
            self._end(prompt, tokens)
            # Where the first letters of a response melt into the last token of the prompt, the tokens made of both are
            # the response's: what siblings share is then never shorter than what the limits reckon with.
            count = len(tokens) - common(alone, tokens)
            if count > self.max_response_tokens:
                name, limit = f"responses[{index}]", self.max_response_tokens
                faults.append(ResponseTooLongError(origin=origin, field=name, tokens=count, limit=limit))
                conversations[index] = []
            else:
                faults.append(None)
        return EncodedGroup(conversations=tuple(conversations), faults=tuple(faults), cut=cut)

    def _begun(self, prompt: Text, tokens: list[int]) -> list[int]:
        """With the token that a conversation begins with, once."""
        beginning = self._tokens(self.special.beginning if isinstance(prompt, str) else self.template.beginning)
        return tokens if tokens[:1] == beginning else beginning + tokens

    def _end(self, prompt: Text, tokens: list[int]) -> None:
        """Adds the token that a conversation ends in, once."""
        if not isinstance(prompt, str) and self.template.writes_end:
            return
        end = self._tokens(self.special.end)
        if not (self.special.read_in_text and tokens[-1:] == end):
            tokens.extend(end)

    def _kept(self, prompt: Text) -> int:
        """How many tokens at the beginning of a prompt are never cut."""
        if isinstance(prompt, str):
            return len(self._tokens(self.special.beginning))
        return len(self._tokens(self.template.beginning)) + self.template.kept(prompt, self._ids)

    def _rendered(self, prompt: Text, responses: Sequence[Text], origin: str) -> tuple[str, list[str]]:
        """(the prompt with its generation prompt, the conversation with each response)."""
        for index, response in enumerate(responses):
            if isinstance(response, str) != isinstance(prompt, str):
                found = "text" if isinstance(response, str) else "messages"
                right = "text, as the prompt is" if isinstance(prompt, str) else "messages, as the prompt is"
                name = f"responses[{index}]"
                raise RowError(origin=origin, field=name, kind="wrong type", found=found, right=right)
        if isinstance(prompt, str):
            return prompt, [prompt + response for response in responses if isinstance(response, str)]
        messages = [response for response in responses if not isinstance(response, str)]
        if self._spelled is not None:
            for name, turns in (("prompt", prompt), *((f"responses[{i}]", turns) for i, turns in enumerate(messages))):
                self._check_spelling(turns, origin, name)
        return self.template.render(prompt, messages, origin=origin)

    def _check_spelling(self, messages: Sequence[Message], origin: str, name: str) -> None:
        """RowError where a message spells a special token: the template's own could not be told from it."""
        assert self._spelled is not None
        for message in messages:
            if found := self._spelled.search(message.content):
                raise RowError(
                    origin=origin, field=name, kind="spells a special token", found=repr(found[0]),
                    right="a message without it, for the model would take it for a token of the chat template",
                )  # fmt: skip

    @functools.cached_property
    def _spelled(self) -> re.Pattern[str] | None:
        """The special tokens that text may spell."""
        added = self.tokenizer.get_added_tokens_decoder().values()
        names = sorted(token.content for token in added if token.special)
        return re.compile("|".join(map(re.escape, names))) if self.special.read_in_text and names else None

    def _tokens(self, name: str) -> list[int]:
        """The token of that name, none for no name."""
        if not name:
            return []
        number = self.tokenizer.token_to_id(name)
        if number is None:
            raise TokenizerError(f"the tokenizer has no token {name!r}, which the text contract needs")
        return [number]

    def _ids(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False).ids


def text_to_json(template: Template, special: SpecialTokens) -> str:
    """What a contract has beside its tokenizer and its limits, as JSON."""
    assert isinstance(template, RoleTemplate | JinjaTemplate)
    kind = "jinja" if isinstance(template, JinjaTemplate) else "roles"
    return json.dumps({kind: dataclasses.asdict(template), "special_tokens": dataclasses.asdict(special)}, indent=2)


def text_from_json(text: str) -> tuple[Template, SpecialTokens]:
    """The inverse; ValueError, TypeError or KeyError for what isn't that."""
    values = json.loads(text)
    special = SpecialTokens(**values["special_tokens"])
    if "jinja" in values:
        stored = values["jinja"]
        return JinjaTemplate(source=stored["source"], variables=tuple(map(tuple, stored["variables"]))), special
    stored = values["roles"] | {"turns": tuple(map(tuple, values["roles"]["turns"]))}
    return RoleTemplate(**stored), special


def _faulty(fault: RowError, responses: int) -> EncodedGroup:
    return EncodedGroup(conversations=([],) * responses, faults=(fault,) * responses, cut=0)
