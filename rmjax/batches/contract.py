"""The text contract: how a prompt and a response become the tokens that a reward is read from.

Every conversation is tokenized as one text and ends in the end token. Limits never depend on a response's siblings,
so a reward belongs to a prompt and a response alone.
"""

import contextlib
import dataclasses
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import tokenizers

from rmjax.batches.tokenizer import END_TOKEN, TokenizerError
from rmjax.config import ExperimentConfig, TextConfig, least_row_length
from rmjax.errors import remedied
from rmjax.preferences.record import Message, RowError, Text


class LimitError(RowError):
    """A text with more tokens than a limit of the contract; what helps against it depends on the command.

    Attributes:
      setting: the field of the config that is the limit.
      tokens: what the text has.
      most: the limit that would do for all texts that are known to be too long in the same way.
      count: how many they are.
    """

    def __init__(
        self, *, origin: str, field: str, kind: str, setting: str, tokens: int, limit: int, right: str, most: int
    ):
        found = f"{tokens} tokens, the model's limit {setting} is {limit}"
        super().__init__(origin=origin, field=field, kind=kind, found=found, right=right)
        self.setting = setting
        self.tokens = tokens
        self.most = most
        self.count = 1

    def survey(self, groups: Iterable["EncodedGroup"]) -> None:
        """Looks for all faults of the same kind; the groups are all there are, that of this fault too."""
        faults = {fault for group in groups for fault in group.faults if isinstance(fault, type(self))}
        self.most, self.count = max(fault.most for fault in faults), len(faults)

    def flags(self, config: ExperimentConfig) -> str:
        """The flags of training with which the config takes the texts, its rows lengthened where they are too short."""
        least = least_row_length(dataclasses.replace(config.text, **{self.setting.removeprefix("text."): self.most}))
        too_short = config.batch.row_length is not None and config.batch.row_length < least
        longer = f" --config.batch.row_length={least}" if too_short else ""
        return f"--config.{self.setting}={self.most}{longer}"


def remedied_in_training(config: ExperimentConfig) -> contextlib.AbstractContextManager[None]:
    """Adds to the error of a row that can't be used what helps against it where a model is trained by this config."""
    return remedied(RowError, lambda error: remedies(error, config))


def remedies(error: RowError, config: ExperimentConfig) -> str:
    """The same in words."""
    if not isinstance(error, LimitError):
        return "--config.data.on_error=skip skips and counts such rows"
    them = "it" if error.count == 1 else f"all {error.count} such texts"
    return f"{error.flags(config)} takes {them}, --config.data.on_error=skip skips {them}"


class ResponseTooLongError(LimitError):
    """A response with more tokens, the end token included, than ``text.max_response_tokens``."""

    def __init__(self, *, origin: str, field: str, tokens: int, limit: int):
        super().__init__(
            origin=origin, field=field, kind="response too long", setting="text.max_response_tokens", tokens=tokens,
            limit=limit, right="a shorter response", most=tokens,
        )  # fmt: skip


class SystemTurnTooLongError(LimitError):
    """A system turn, which is never cut, with more tokens than ``text.max_prompt_tokens``; ``prompt`` is how many the
    whole prompt has, for a limit just above the system turn would leave nothing of the rest."""

    def __init__(self, *, origin: str, tokens: int, limit: int, prompt: int):
        super().__init__(
            origin=origin, field="prompt", kind="system turn too long", setting="text.max_prompt_tokens",
            tokens=tokens, limit=limit, right="a shorter system turn", most=prompt,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class RoleTemplate:
    """How the messages of a conversation become text; the default renders them as HH transcripts.

    Plain strings are not touched by it.

    Attributes:
      turns: for each role its name, and the text before and after a turn's content.
      generation_prompt: what ends every prompt; a turn of ``assistant_role`` begins with it.
      assistant_role: the role of a response's first turn.
      system_role: leading turns of this role are kept when a prompt is cut.
      beginning: the name of a token (a BOS) that begins every conversation; empty for none.
    """

    turns: tuple[tuple[str, str, str], ...] = (
        ("system", "\n\nSystem: ", ""),
        ("user", "\n\nHuman: ", ""),
        ("assistant", "\n\nAssistant: ", ""),
    )
    generation_prompt: str = "\n\nAssistant:"
    assistant_role: str = "assistant"
    system_role: str = "system"
    beginning: str = ""

    def __post_init__(self):
        before, _ = self._around(self.assistant_role, "")
        if not before.startswith(self.generation_prompt):
            raise ValueError(
                f"generation_prompt is {self.generation_prompt!r}; it must begin a turn of {self.assistant_role!r}, "
                f"which begins with {before!r}"
            )

    def render_turns(self, messages: Sequence[Message], *, origin: str = "", field: str = "prompt") -> str:
        """The turns, one after the other; an unknown role is a RowError."""
        parts = []
        for message in messages:
            before, after = self._around(message.role, origin, field)
            parts.append(before + message.content + after)
        return "".join(parts)

    def render_system(self, messages: Sequence[Message]) -> str:
        """The leading system turns, empty where there is none."""
        count = 0
        while count < len(messages) and messages[count].role == self.system_role:
            count += 1
        return self.render_turns(messages[:count])

    def render_response(self, messages: Sequence[Message], *, origin: str = "", field: str = "response") -> str:
        """What follows the generation prompt: the first turn is the assistant's, further turns may come after it."""
        if not messages or messages[0].role != self.assistant_role:
            found = f"first role {messages[0].role!r}" if messages else "no messages"
            right = f"a response that begins with a turn of role {self.assistant_role!r}"
            raise RowError(origin=origin, field=field, kind="wrong role", found=found, right=right)
        return self.render_turns(messages, origin=origin, field=field).removeprefix(self.generation_prompt)

    def to_json(self) -> str:
        return json.dumps({name: getattr(self, name) for name in self.__dataclass_fields__})

    @classmethod
    def from_json(cls, text: str) -> "RoleTemplate":
        values = json.loads(text)
        values["turns"] = tuple((role, before, after) for role, before, after in values["turns"])
        return cls(**values)

    def _around(self, role: str, origin: str, field: str = "role") -> tuple[str, str]:
        for name, before, after in self.turns:
            if name == role:
                return before, after
        known = ", ".join(repr(name) for name, _, _ in self.turns)
        raise RowError(origin=origin, field=field, kind="unknown role", found=repr(role), right=f"one of {known}")


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
