"""What a call asks in the scorer's terms, whatever protocol it came by."""

from collections.abc import Sequence
from dataclasses import dataclass

from rmjax.scoring.rows import Request
from rmjax.scoring.whole_texts import TextError


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """A call in the scorer's terms.

    Attributes:
      requests: what is scored; an empty prompt means that the text holds prompt and response both.
      places: for each reward of the answer (number of the request, number of the response in it).
      field: of the call that holds the texts which were asked about, by which errors name them.
      listed: whether it is a list of them, or a single text.
    """

    requests: list[Request]
    places: list[tuple[int, int]]
    field: str
    listed: bool = True

    def moved(self, error: TextError) -> TextError:
        """The same fault, named by the text's place in the call: requests are only how texts are computed."""
        index = self.places.index((error.request or 0, error.response or 0))
        field = f"{self.field}[{index}]" if self.listed else self.field
        return TextError(error, request=None, response=index, origin="the request", field=field)


def whole_texts(texts: str | Sequence[str], field: str) -> Asked:
    """Each text, of one or several, holds prompt and response."""
    listed = not isinstance(texts, str)
    return in_pairs([("", text) for text in (texts if listed else [texts])], field, listed=listed)


def in_pairs(pairs: Sequence[tuple[str, str]], field: str, *, listed: bool = True) -> Asked:
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
    return Asked(requests=requests, places=places, field=field, listed=listed)
