"""How the messages of a conversation become text."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from rmjax.preferences.record import Message, RowError


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
