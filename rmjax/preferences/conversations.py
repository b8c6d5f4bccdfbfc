"""Texts and conversations: reading messages, and finding the prompt that several conversations share."""

from collections.abc import Mapping

from rmjax.preferences.fields import Fields, shown
from rmjax.preferences.record import Message, Text

ROLES = ("system", "user", "assistant")
_MESSAGES = 'a list of messages, as [{"role": "user", "content": "Hi."}]'
_TEXT = f"text, or {_MESSAGES}"


def read_text(fields: Fields, name: str) -> Text:
    """The field as text or messages; RowError where it is neither."""
    return checked_text(fields, name, fields.required(name, right=_TEXT))


def checked_text(fields: Fields, name: str, value: object) -> Text:
    """The value as text or messages; RowError where it is neither."""
    if isinstance(value, list):
        return _read_messages(fields, name, value)
    return fields.checked_string(name, value, right=_TEXT)


def _read_messages(fields: Fields, name: str, values: list[object]) -> tuple[Message, ...]:
    messages = []
    for position, value in enumerate(values):
        place = f"{name}[{position}]"
        if not isinstance(value, Mapping):
            raise fields.error(place, "wrong type", found=shown(value), right='a message with "role" and "content"')
        message = Fields(value, fields.origin, f"{fields.path}{place}.")
        roles = "one of " + ", ".join(repr(role) for role in ROLES)
        role = message.string("role", right=roles)
        if role not in ROLES:
            raise message.error("role", "unknown role", found=shown(role), right=roles)
        messages.append(Message(role=role, content=_read_content(message)))
    return tuple(messages)


def _read_content(message: Fields) -> str:
    """The content, which is text or a list of parts that are all text; parts are laid next to each other."""
    parts = message.values.get("content")
    if not isinstance(parts, list):
        return message.string("content")
    texts = []
    for place, part in enumerate(parts):
        if not isinstance(part, Mapping) or part.get("type") != "text":
            right = 'text, or parts of text alone, as {"type": "text", "text": "Hi."}'
            raise message.error(f"content[{place}]", "unknown content", found=shown(part), right=right)
        texts.append(Fields(part, message.origin, f"{message.path}content[{place}].").string("text"))
    return "".join(texts)


def reply(response: Text, prompt: Text) -> Text:
    """The response to a prompt; one that is text becomes the assistant's message where the prompt is messages."""
    if isinstance(response, str) and not isinstance(prompt, str):
        return (Message(role="assistant", content=response),)
    return response


def is_blank(text: Text) -> bool:
    """Whether there is nothing to read in it: no message, or only white space."""
    if isinstance(text, str):
        return not text or text.isspace()
    return all(is_blank(message.content) for message in text)


def without_prompt(
    fields: Fields, prompt: tuple[Message, ...], conversations: dict[str, tuple[Message, ...]]
) -> tuple[tuple[Message, ...], ...]:
    """The responses of conversations that were written out with their prompt, or without it, by the fields' names.

    Either all of them begin with the prompt's messages, or all begin with an assistant message, which comes after the
    prompt; anything else is a RowError.
    """
    length = len(prompt)
    for name, messages in conversations.items():
        if not messages:
            raise fields.error(name, "empty field", found="[]", right="the messages of a response")
    if all(messages[:length] == prompt for messages in conversations.values()):
        return tuple(messages[length:] for messages in conversations.values())
    if not all(messages[0].role == "assistant" for messages in conversations.values()):
        for name, messages in conversations.items():
            if messages[:length] != prompt:
                place = next(
                    (i for i, (a, b) in enumerate(zip(prompt, messages, strict=False)) if a != b), len(messages)
                )
                found = shown(messages[place].content) if place < len(messages) else "the end of the messages"
                right = f"the prompt's message {shown(prompt[place].content)}, or an assistant message at the start"
                raise fields.error(f"{name}[{place}]", "prompts that differ", found=found, right=right)
    return tuple(conversations.values())


def check_opening(fields: Fields, prompt: str, conversations: Mapping[str, tuple[Message, ...]]) -> None:
    """RowError unless the first message of a user is the prompt in each of the conversations, by the fields' names."""
    for name, messages in conversations.items():
        first = next((message.content for message in messages if message.role == "user"), None)
        if first is None or first.strip() != prompt.strip():
            kind, found = "prompts that differ", f"{shown(first)} as the first user's message"
            if first is None:
                kind, found = "mixed kinds", "messages without a user's, beside a prompt that is text"
            right = f"whole conversations with the prompt, {shown(prompt)}, as the first user's message, or a prompt"
            raise fields.error(name, kind, found=found, right=f"{right} that is messages too")


def split_conversations(
    chosen: tuple[Message, ...], rejected: tuple[Message, ...]
) -> tuple[tuple[Message, ...], tuple[Message, ...], tuple[Message, ...]] | None:
    """Two whole conversations as (prompt, chosen response, rejected response); None where they share no prompt.

    Both responses begin at the last place after the first message where all messages before are equal and both go on
    with an assistant message.
    """
    shared = 0
    for left, right in zip(chosen, rejected, strict=False):
        if left != right:
            break
        shared += 1
    for place in range(min(shared, len(chosen) - 1, len(rejected) - 1), 0, -1):
        if chosen[place].role == rejected[place].role == "assistant":
            return chosen[:place], chosen[place:], rejected[place:]
    return None
