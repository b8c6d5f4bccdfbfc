"""Transcripts as Anthropic published them: one string of turns, each opened by "\\n\\nHuman:" or "\\n\\nAssistant:".

The format is that of the HH-RLHF data set (Bai et al., 2022, arXiv 2204.05862): the two transcripts of a row repeat the
conversation that they share, so the prompt has to be found.
"""

ASSISTANT = "\n\nAssistant:"


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
