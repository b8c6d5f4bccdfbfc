"""Reading an answer of an OpenAI-compatible endpoint: the letter, and its probability where it is given.

A body is the JSON of a chat completion. What is read of it: ``choices[0].message.content``,
``choices[0].finish_reason``, ``choices[0].logprobs.content`` (for each token ``token``, ``logprob`` and
``top_logprobs``), and ``usage``.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rmjax.errors import ReportedError
from rmjax.labeling.judge.question import LETTERS, TIE

_THOUGHT = re.compile(r"^.*</think>", re.DOTALL)
# A line that is a letter alone, or after "answer" or "response". No colon closes it: what follows one may say anything.
_LETTER = re.compile(
    r"^[^\w\n]*(?:(?:the |my )?(?:answer|response)(?: is)?\b\W*)?([a-z])[.)\]*\"`]*[^\S\n]*$",
    re.IGNORECASE | re.MULTILINE,
)
_WORTHS = {LETTERS[0]: 1.0, LETTERS[1]: 0.0, TIE: 0.5}  # of a letter, for response A
_MARKS = "\u0120\u2581"  # that tokenizers have in the place of a space


class MalformedAnswerError(ReportedError, ValueError):
    """A body that is no chat completion: the endpoint failed, and may answer well when it is asked again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgeAnswer:
    """What an endpoint answered to a question.

    Attributes:
      text: the answer.
      letter: A, B or C, where the first line is that letter and no other line is another one; None for nonsense.
      first: the probability that response A, the first shown, is better: by logprobs, or 1, 0 or 0.5 (a tie) as a
        vote; None for nonsense.
      by_logprobs: which of the two it is.
      prompt_tokens, completion_tokens: as the endpoint counts them; None where it doesn't.
      cut_off_after: the tokens that it had when the most that it was allowed were used up; None where it came to its
        own end, or the endpoint doesn't say.
    """

    text: str
    letter: str | None
    first: float | None
    by_logprobs: bool
    prompt_tokens: int | None
    completion_tokens: int | None
    cut_off_after: int | None


def read_answer(body: object, *, ties: bool) -> JudgeAnswer:
    """The answer in a body; MalformedAnswerError where it has not the form of one."""
    choice = _mapping(_first(_mapping(body, "the body").get("choices")), "choices[0]")
    content = _mapping(choice.get("message"), "choices[0].message").get("content")
    if content is not None and not isinstance(content, str):
        raise MalformedAnswerError("choices[0].message.content is neither text nor null")
    text = content or ""
    said, letters = _THOUGHT.sub("", text), (*LETTERS, TIE) if ties else LETTERS
    match = _only_letter(said)
    letter = match[1].upper() if match and match[1].upper() in letters else None
    first, by_logprobs = None, False
    if match and letter:
        probability = _by_logprobs(choice.get("logprobs"), said, match.start(1), letters)
        by_logprobs = probability is not None
        first = _WORTHS[letter] if probability is None else probability
    usage = body.get("usage") if isinstance(body, Mapping) else None
    prompt_tokens, completion_tokens = (_count(usage, name) for name in ("prompt_tokens", "completion_tokens"))
    return JudgeAnswer(
        text=text,
        letter=letter,
        first=first,
        by_logprobs=by_logprobs,
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        cut_off_after=completion_tokens if choice.get("finish_reason") == "length" else None,
    )


def _only_letter(said: str) -> re.Match[str] | None:
    """The answer's first line, where it is a letter and no later line is another one: then each is a heading."""
    lines = list(_LETTER.finditer(said))
    if not lines or re.search(r"\w", said[: lines[0].start()]) or len({line[1].upper() for line in lines}) > 1:
        return None
    return lines[0]


def _by_logprobs(logprobs: object, said: str, place: int, letters: tuple[str, ...]) -> float | None:
    """P(A) + P(C)/2 among the letters, by the alternatives to the answer's token; None where they aren't given.

    The spellings of a letter ("A", " A", "a") are added up. A letter that is not among the alternatives is less likely
    than all of them, and counts nothing.
    """
    token = _token_at(logprobs, said, place)
    if token is None:
        return None
    masses = dict.fromkeys(letters, 0.0)
    alternatives = token.get("top_logprobs")
    if not isinstance(alternatives, list) or not alternatives:
        return None
    for alternative in alternatives:
        if not isinstance(alternative, Mapping):
            return None
        letter, logprob = _bare(alternative.get("token")), alternative.get("logprob")
        if letter in masses and isinstance(logprob, int | float) and not math.isnan(logprob):
            masses[letter] += math.exp(min(logprob, 0.0))
    total = math.fsum(masses.values())
    if total == 0:
        return None
    return math.fsum(_WORTHS[letter] * mass for letter, mass in masses.items()) / total


def _token_at(logprobs: object, said: str, place: int) -> Mapping[str, Any] | None:
    """The token in which the answer's letter is; None where the tokens don't spell the answer."""
    tokens = logprobs.get("content") if isinstance(logprobs, Mapping) else None
    if not isinstance(tokens, list) or not all(
        isinstance(token, Mapping) and isinstance(token.get("token"), str) for token in tokens
    ):
        return None
    # With the spaces at its ends removed, as some servers do to the answer but not to the tokens; and at its last
    # place, since the thoughts of a model, which may come before it, can spell anything.
    spelt = "".join(token["token"] for token in tokens).translate(dict.fromkeys(map(ord, _MARKS), " "))
    start = spelt.rfind(said.strip())
    target = start + place - (len(said) - len(said.lstrip()))
    end = 0
    for token in tokens:
        end += len(token["token"])
        if start >= 0 and target < end:
            return token if _bare(token["token"]) == said[place].upper() else None
    return None


def _bare(token: object) -> str:
    """A token without spaces and signs, in upper case."""
    return re.sub(rf"[\W_{_MARKS}]", "", token).upper() if isinstance(token, str) else ""


def _first(values: object) -> object:
    return values[0] if isinstance(values, list) and values else None


def _mapping(value: object, name: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise MalformedAnswerError(f"{name} is no JSON object")
    return value


def _count(usage: object, name: str) -> int | None:
    value = usage.get(name) if isinstance(usage, Mapping) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
