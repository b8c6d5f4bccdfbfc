"""Chat templates in Jinja, as tokenizers of Hugging Face's bring them, rendered by transformers."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rmjax.batches.template import Ids, check_first_role, leading_turns
from rmjax.preferences.record import Message, RowError

_MARK = "\u2042\u2042\u2042"  # asterisms, which are no words of any template


@dataclass(frozen=True, kw_only=True)
class JinjaTemplate:
    """A chat template whose text for a conversation is taken as it is: nothing is laid before it or after it.

    So the reward is read at the last token that the template writes, where transformers and TRL read it too.

    Attributes:
      source: in Jinja.
      variables: name and value of each special token that the template may use (``bos_token``).
    """

    source: str
    variables: tuple[tuple[str, str], ...] = ()

    @property
    def beginning(self) -> str:
        return ""

    @property
    def writes_end(self) -> bool:
        return True

    def ending(self) -> str:
        """Found after words that nothing else has."""
        turns = (Message(role="user", content="?"), Message(role="assistant", content=_MARK))
        return self._text(turns, "", "ending").rpartition(_MARK)[2]

    def render_prompt(self, prompt: Sequence[Message], *, origin: str = "") -> str:
        return self._text(prompt, origin, "prompt", add_generation_prompt=True)

    def render(
        self, prompt: Sequence[Message], response: Sequence[Message], *, origin: str = "", field: str = "response"
    ) -> str:
        check_first_role(response, "assistant", origin=origin, field=field)
        return self._text((*prompt, *response), origin, field)

    def kept(self, prompt: Sequence[Message], ids: Ids) -> int:
        """What the prompt has in common with one that says something else in its first turn after the system's: the
        system turn, then, and what the template writes before the first words of a user."""
        count, whole = leading_turns(prompt, "system"), ids(self.render_prompt(prompt))
        if count == len(prompt):
            return len(whole)
        first = prompt[count]
        other = Message(role=first.role, content="1" if first.content.lstrip().startswith("0") else "0")
        return common(whole, ids(self._text((*prompt[:count], other), "", "prompt")))

    def _text(
        self, messages: Sequence[Message], origin: str, field: str, *, add_generation_prompt: bool = False
    ) -> str:
        import jinja2

        turns = [{"role": message.role, "content": message.content} for message in messages]
        try:
            return self._renderer.apply_chat_template(
                turns, tokenize=False, add_generation_prompt=add_generation_prompt
            )
        except (jinja2.TemplateError, TypeError, ValueError) as error:
            roles = ", ".join(message.role for message in messages)
            raise RowError(
                origin=origin, field=field, kind="refused by the chat template", found=f"turns of {roles}: {error}",
                right="a conversation that the model's chat template renders",
            ) from error  # fmt: skip

    @functools.cached_property
    def _renderer(self) -> Any:
        import tokenizers

        transformers = import_transformers()
        empty = tokenizers.Tokenizer(tokenizers.models.BPE())
        return transformers.PreTrainedTokenizerFast(
            tokenizer_object=empty, chat_template=self.source, **dict(self.variables)
        )


def import_transformers() -> Any:
    """The library, of which tokenizers and chat templates are used alone; without its advice to install PyTorch."""
    import os

    os.environ.setdefault("TRANSFORMERS_NO_ADVISORY_WARNINGS", "1")
    import transformers

    return transformers


def common(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens two sequences begin with alike."""
    if other[: len(one)] == one:
        return len(one)
    return next((place for place, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1]), len(other))
