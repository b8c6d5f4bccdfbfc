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
from typing import Any, NamedTuple

import tokenizers

from rmjax.batches.jinja_template import JinjaTemplate, common
from rmjax.batches.limits import ResponseTooLongError, SystemTurnTooLongError
from rmjax.batches.template import RoleTemplate, Template
from rmjax.batches.tokenizer import OWN_TOKENS, SpecialTokens, TokenizerError
from rmjax.config import TextConfig
from rmjax.preferences.record import Message, RowError, Text, response_field


class TextGroup(NamedTuple):
    """A prompt and responses to it; ``origin`` and ``fields`` name them in errors, as those of a Preference do."""

    prompt: Text
    responses: Sequence[Text]
    origin: str = ""
    fields: tuple[str, ...] = ()

    @property
    def prompt_field(self) -> str:
        return self.fields[0] if self.fields else "prompt"

    @property
    def response_fields(self) -> Sequence[str]:
        return [response_field(self.fields, place) for place in range(len(self.responses))]


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
    tokens and has these two already, they are not laid twice. One that spells others too is taken for a conversation
    that the chat template has rendered elsewhere, and what it lacks of the template's ending is added. Messages are
    rendered by the template, and none of them may spell a special token where text may.
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
        (group,) = self.encode_many([TextGroup(prompt, responses, origin)])
        for fault in group.faults:
            if fault is not None:
                raise fault
        return group

    def encode_many(self, groups: Sequence[TextGroup]) -> list[EncodedGroup]:
        """The same for many at once, by all threads; faults are kept, not raised."""
        rendered = [self._rendered(group) for group in groups]
        texts = [text for whole in rendered for text in whole if isinstance(text, str)]
        tokens = iter(self.tokenizer.encode_batch_fast(texts, add_special_tokens=False))
        encoded = []
        for group, (before, *conversations) in zip(groups, rendered, strict=True):
            if isinstance(before, RowError):
                encoded.append(_faulty(before, len(group.responses)))
                continue
            alone = self._begun(group.prompt, next(tokens).ids)
            whole = [
                entry if isinstance(entry, RowError) else self._begun(group.prompt, next(tokens).ids)
                for entry in conversations
            ]
            encoded.append(self._limited(group, alone, whole))
        return encoded

    def _limited(self, group: TextGroup, alone: list[int], rendered: Sequence[list[int] | RowError]) -> EncodedGroup:
        """Applies the limits and adds the end token; ``alone`` is the prompt's tokens without a response."""
        prompt, origin = group.prompt, group.origin
        cut = max(0, len(alone) - self.max_prompt_tokens)
        kept = self._kept(prompt) if cut else 0
        if kept > self.max_prompt_tokens:
            name, limit = group.prompt_field, self.max_prompt_tokens
            fault = SystemTurnTooLongError(origin=origin, field=name, tokens=kept, limit=limit, prompt=len(alone))
            return _faulty(fault, len(rendered))
        del alone[kept : kept + cut]
        faults: list[RowError | None] = []
        conversations: list[list[int]] = []
        for name, tokens in zip(group.response_fields, rendered, strict=True):
            if isinstance(tokens, RowError):
                conversations.append([])
                faults.append(tokens)
                continue
            del tokens[kept : kept + cut]
            self._end(prompt, tokens)
            # Where the first letters of a response melt into the last token of the prompt, the tokens made of both are
            # the response's: what siblings share is then never shorter than what the limits reckon with.
            count = len(tokens) - common(alone, tokens)
            if count > self.max_response_tokens:
                limit = self.max_response_tokens
                faults.append(ResponseTooLongError(origin=origin, field=name, tokens=count, limit=limit))
                conversations.append([])
            else:
                faults.append(None)
                conversations.append(tokens)
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
        if not self.special.read_in_text:  # text can't have it
            tokens.extend(end)
        elif self.template.writes_end and not self._others.isdisjoint(tokens):
            tokens.extend(_missing(tokens, self._ending))
        else:
            tokens.extend(_missing(tokens, end))

    def _kept(self, prompt: Text) -> int:
        """How many tokens at the beginning of a prompt are never cut."""
        if isinstance(prompt, str):
            return len(self._tokens(self.special.beginning))
        return len(self._tokens(self.template.beginning)) + self.template.kept(prompt, self._ids)

    def _rendered(self, group: TextGroup) -> list[str | RowError]:
        """The prompt with its generation prompt, then the conversation with each response; or what is wrong with it."""
        prompt, origin = group.prompt, group.origin
        try:
            if isinstance(prompt, str):
                rendered: list[str | RowError] = [prompt]
            else:
                self._check_spelling(prompt, origin, group.prompt_field)
                rendered = [self.template.render_prompt(prompt, origin=origin)]
        except RowError as fault:
            return [fault]
        for name, response in zip(group.response_fields, group.responses, strict=True):
            try:
                rendered.append(self._conversation(prompt, response, origin, name))
            except RowError as fault:
                rendered.append(fault)
        return rendered

    def _conversation(self, prompt: Text, response: Text, origin: str, name: str) -> str:
        if isinstance(prompt, str) and isinstance(response, str):
            return prompt + response
        if isinstance(prompt, str) or isinstance(response, str):
            found = "text" if isinstance(response, str) else "messages"
            right = "text, as the prompt is" if isinstance(prompt, str) else "messages, as the prompt is"
            raise RowError(origin=origin, field=name, kind="wrong type", found=found, right=right)
        self._check_spelling(response, origin, name)
        return self.template.render(prompt, response, origin=origin, field=name)

    def _check_spelling(self, messages: Sequence[Message], origin: str, name: str) -> None:
        """RowError where a message spells a special token: the template's own could not be told from it."""
        if self._spelled is None:
            return
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

    @functools.cached_property
    def _others(self) -> frozenset[int]:
        """The special tokens beside those that a plain text begins and ends in."""
        added = self.tokenizer.get_added_tokens_decoder().items()
        own = (self.special.beginning, self.special.end)
        return frozenset(number for number, token in added if token.special and token.content not in own)

    @functools.cached_property
    def _ending(self) -> list[int]:
        """What the template writes after a conversation."""
        return self._ids(self.template.ending())

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
    return json.dumps(text_to_values(template, special), indent=2)


def text_from_json(text: str) -> tuple[Template, SpecialTokens]:
    """The inverse; ValueError, TypeError or KeyError for what isn't that."""
    return text_from_values(json.loads(text))


def text_to_values(template: Template, special: SpecialTokens) -> dict[str, Any]:
    """The same as an object of JSON."""
    assert isinstance(template, RoleTemplate | JinjaTemplate)
    kind = "jinja" if isinstance(template, JinjaTemplate) else "roles"
    return {kind: dataclasses.asdict(template), "special_tokens": dataclasses.asdict(special)}


def text_from_values(values: Any) -> tuple[Template, SpecialTokens]:
    """The inverse of that; TypeError or KeyError for what isn't that."""
    special = SpecialTokens(**values["special_tokens"])
    if "jinja" in values:
        stored = values["jinja"]
        return JinjaTemplate(source=stored["source"], variables=tuple(map(tuple, stored["variables"]))), special
    stored = values["roles"] | {"turns": tuple(map(tuple, values["roles"]["turns"]))}
    return RoleTemplate(**stored), special


def _missing(tokens: list[int], ending: list[int]) -> list[int]:
    """What tokens lack of the ending that they are to have, of which they may have a part."""
    for count in range(len(ending), 0, -1):
        if tokens[-count:] == ending[:count]:
            return ending[count:]
    return ending


def _faulty(fault: RowError, responses: int) -> EncodedGroup:
    return EncodedGroup(conversations=([],) * responses, faults=(fault,) * responses, cut=0)
