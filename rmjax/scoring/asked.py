"""What a call asks in the scorer's terms, whatever protocol it came by."""

from collections.abc import Sequence
from dataclasses import dataclass

from rmjax.scoring.rows import Request


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """A call in the scorer's terms.

    Attributes:
      requests: what is scored; an empty prompt means that the text holds prompt and response both.
      places: for each reward of the answer (number of the request, number of the response in it).
    """

    requests: list[Request]
    places: list[tuple[int, int]]


def whole_texts(texts: Sequence[str]) -> Asked:
    """Each text holds prompt and response."""
    return in_pairs([("", text) for text in texts])


def in_pairs(pairs: Sequence[tuple[str, str]]) -> Asked:
    """Prompts with their responses; the responses to one prompt become one request, which computes the prompt once."""
    groups: list[tuple[str, list[str]]] = []
    of_prompt: dict[str, int] = {}
    places = []
    for prompt, response in pairs:
        if not prompt or prompt.isspace():
            number, prompt, response = len(groups), "", prompt + response
        else:
            number = of_prompt.setdefault(prompt, len(groups))
        if number == len(groups):
            groups.append((prompt, []))
        places.append((number, len(groups[number][1])))
        groups[number][1].append(response)
    requests = [Request(prompt=prompt, responses=tuple(texts), single=False) for prompt, texts in groups]
    return Asked(requests=requests, places=places)
