"""How the messages of a conversation become text."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from rmjax.preferences.record import Message, RowError

Ids = Callable[[str], list[int]]


@runtime_checkable
class Template(Protocol):
    """Renders the messages of a conversation."""

    @property
    def beginning(self) -> str:
        """The name of a token that is laid before the rendered text; empty for none."""
        ...

    @property
    def writes_end(self) -> bool:
        """Whether the text of a conversation is whole as it is rendered, so that no end token is laid after it."""
        ...

    def ending(self) -> str:
        """What it writes after the last words of a conversation, where it writes the end."""
        ...

    def render_prompt(self, prompt: Sequence[Message], *, origin: str = "") -> str:
        """The prompt as it stands before a response is written; what can't be rendered is a RowError."""
        ...

    def render(
        self, prompt: Sequence[Message], response: Sequence[Message], *, origin: str = "", field: str = "response"
    ) -> str:
        """The conversation of a prompt and a response; what can't be rendered is a RowError."""
        ...

    def kept(self, prompt: Sequence[Message], ids: Ids) -> int:
        """How many tokens of the rendered prompt are never cut: what stands before it, and its system turn."""
        ...


def leading_turns(messages: Sequence[Message], role: str) -> int:
    """How many turns of the role come first."""
    return next((place for place, message in enumerate(messages) if message.role != role), len(messages))


def check_first_role(response: Sequence[Message], role: str, *, origin: str, field: str) -> None:
    """RowError where a response doesn't begin with a turn of the role."""
    if not response or response[0].role != role:
        found = f"first role {response[0].role!r}" if response else "no messages"
        right = f"a response that begins with a turn of role {role!r}"
        raise RowError(origin=origin, field=field, kind="wrong role", found=found, right=right)


@dataclass(frozen=True, kw_only=True)
class RoleTemplate:
    """How the messages of a conversation become text; the default renders them as HH transcripts.

    Plain strings are not touched by it, and the end token is laid after what it renders.

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

    @property
    def writes_end(self) -> bool:
        return False

    def ending(self) -> str:
        return ""

    def render_prompt(self, prompt: Sequence[Message], *, origin: str = "") -> str:
        return self.render_turns(prompt, origin=origin, field="prompt") + self.generation_prompt

    def render(
        self, prompt: Sequence[Message], response: Sequence[Message], *, origin: str = "", field: str = "response"
    ) -> str:
        said = self.render_response(response, origin=origin, field=field)
        return self.render_prompt(prompt, origin=origin) + said

    def kept(self, prompt: Sequence[Message], ids: Ids) -> int:
        system = self.render_system(prompt)
        return len(ids(system)) if system else 0

    def render_turns(self, messages: Sequence[Message], *, origin: str = "", field: str = "prompt") -> str:
        """The turns, one after the other; an unknown role is a RowError."""
        parts = []
        for message in messages:
            before, after = self._around(message.role, origin, field)
            parts.append(before + message.content + after)
        return "".join(parts)

    def render_system(self, messages: Sequence[Message]) -> str:
        """The leading system turns, empty where there is none."""
        return self.render_turns(messages[: leading_turns(messages, self.system_role)])

    def render_response(self, messages: Sequence[Message], *, origin: str = "", field: str = "response") -> str:
        """What follows the generation prompt: the first turn is the assistant's, further turns may come after it."""
        check_first_role(messages, self.assistant_role, origin=origin, field=field)
        return self.render_turns(messages, origin=origin, field=field).removeprefix(self.generation_prompt)

    def _around(self, role: str, origin: str, field: str = "role") -> tuple[str, str]:
        for name, before, after in self.turns:
            if name == role:
                return before, after
        known = ", ".join(repr(name) for name, _, _ in self.turns)
        raise RowError(origin=origin, field=field, kind="unknown role", found=repr(role), right=f"one of {known}")
