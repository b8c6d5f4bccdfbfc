"""Texts beyond the limits of the text contract, and what helps against them in training."""

import contextlib
import dataclasses
from collections.abc import Iterable

from rmjax.config import ExperimentConfig, least_row_length
from rmjax.errors import remedied
from rmjax.preferences.record import RowError


def cut_prompts_message(name: str, cut: int, limit: int) -> str:
    """That so many prompts of the named data lost tokens to the limit, and by what they would keep them."""
    return (
        f"{name}: {cut} prompts have more than {limit} tokens and lost the first of them (a system turn stays); "
        "training with a higher --config.text.max_prompt_tokens keeps more"
    )


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

    def survey(self, faults: Iterable[RowError | None]) -> None:
        """Looks for those of the same kind among all faults there are, this one too."""
        same = {fault for fault in faults if isinstance(fault, type(self))}
        self.most, self.count = max(fault.most for fault in same), len(same)

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

    def __init__(self, *, origin: str, field: str = "prompt", tokens: int, limit: int, prompt: int):
        super().__init__(
            origin=origin, field=field, kind="system turn too long", setting="text.max_prompt_tokens",
            tokens=tokens, limit=limit, right="a shorter system turn", most=prompt,
        )  # fmt: skip
