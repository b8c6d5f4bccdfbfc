"""Transcripts as Anthropic published them: one string of turns, each opened by "\\n\\nHuman:" or "\\n\\nAssistant:".

The format is that of the HH-RLHF data set (Bai et al., 2022, arXiv 2204.05862): the two transcripts of a row repeat the
conversation that they share, so the prompt has to be found.
"""

import dataclasses
import re

from rmjax.preferences.record import Message, Preference, RowError

ASSISTANT = "\n\nAssistant:"
_TURN = re.compile(r"\n\n(Human|Assistant):")
_ROLES = {"Human": "user", "Assistant": "assistant"}


def is_transcript(text: object) -> bool:
    """Whether it is text with an assistant turn."""
    return isinstance(text, str) and ASSISTANT in text


def split_transcripts(chosen: str, rejected: str) -> tuple[str, str, str] | None:
    """Two transcripts as (prompt, chosen response, rejected response); None where they share no assistant turn.

    The prompt ends with the last "\\n\\nAssistant:" that lies whole in what the transcripts share from their start; a
    response is all that follows, with its leading space and with further turns.
    """
    start = chosen.rfind(ASSISTANT, 0, shared_length(chosen, rejected))
    if start < 0:
        return None
    end = start + len(ASSISTANT)
    return chosen[:end], chosen[end:], rejected[end:]


def shared_length(first: str, second: str) -> int:
    """How many characters two texts share from their start."""
    # By bisection over slices, which are compared in C: a loop over the characters would take longer than all else.
    low, high = 0, min(len(first), len(second))
    while low < high:
        middle = (low + high + 1) // 2
        if first[low:middle] == second[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def as_messages(preference: Preference) -> Preference:
    """The preference with its transcripts as messages, each without the spaces around it; messages stay as they are.

    RowError for a plain text that is no transcript, or responses that are the same messages.
    """
    if not isinstance(preference.prompt, str):
        return preference
    prompt = turns_of(preference.prompt)
    if len(prompt) < 2 or prompt[-1] != Message(role="assistant", content=""):
        raise RowError(
            origin=preference.origin, field="prompt", kind="no transcript", found=repr(preference.prompt[-60:]),
            right=f'turns that begin with "\\n\\nHuman:" or {ASSISTANT!r}, the last of them the assistant\'s and empty',
        )  # fmt: skip
    texts = [response for response in preference.responses if isinstance(response, str)]
    responses = tuple(turns_of(ASSISTANT + text) for text in texts)
    if len(set(responses)) < len(responses):
        raise RowError(
            origin=preference.origin, field="responses", kind="identical responses", found=repr(texts[0][:60]),
            right="responses that differ in more than spaces",
        )  # fmt: skip
    return dataclasses.replace(preference, prompt=prompt[:-1], responses=responses)


def turns_of(text: str) -> tuple[Message, ...]:
    """The turns of a transcript as messages without the spaces around them; none where it doesn't begin with one."""
    before, *parts = _TURN.split(text)
    if before.strip():
        return ()
    return tuple(
        Message(role=_ROLES[speaker], content=said.strip())
        for speaker, said in zip(parts[::2], parts[1::2], strict=True)
    )
