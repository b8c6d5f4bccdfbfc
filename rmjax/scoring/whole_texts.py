"""Texts in which prompt and response follow each other undivided, as other programs send them to be scored.

Such a text is a request with an empty prompt, which no row may have. The contract's limits are for prompts and
responses, so a text that is longer than a response may be is divided: its last tokens are taken for the response, and
those before them for the prompt, of which the contract keeps the last. So a text of up to about ``max_prompt_tokens +
max_response_tokens`` tokens is read whole, and a longer one loses its beginning.
"""

import dataclasses
from collections.abc import Sequence

import tokenizers

from rmjax.batches.contract import EncodedGroup, TextContract, TextGroup
from rmjax.batches.tokenizer import END_TOKEN
from rmjax.preferences.record import RowError
from rmjax.scoring.rows import Request

_SPARE = 16  # tokens that a divided text's response may gain where the tokenizer sees its beginning otherwise


class TextError(RowError):
    """What the text contract has against a text of a call.

    Attributes:
      request: the number of its request in the call; None where the caller knows of no requests.
      response: its number among the responses that the caller gave; None where the prompt is at fault.
    """

    def __init__(
        self, fault: RowError, *, request: int | None, response: int | None, origin: str = "", field: str = ""
    ):
        super().__init__(
            origin=origin or fault.origin, field=field or fault.field, kind=fault.kind, found=fault.found,
            right=fault.right,
        )  # fmt: skip
        self.request, self.response = request, response


def without_end(text: str) -> str:
    """The text without the end token of our tokenizers that it may be spelled with."""
    return text.removesuffix(END_TOKEN)


def ended_by(contract: TextContract, requests: Sequence[Request]) -> list[Request]:
    """Requests whose texts don't spell the end token that the contract adds, for there must not be two.

    Where text may spell special tokens the contract itself adds none to a text that has it.
    """
    if contract.special.read_in_text:
        return list(requests)
    return [
        dataclasses.replace(
            request, responses=tuple(without_end(text) if isinstance(text, str) else text for text in request.responses)
        )
        for request in requests
    ]


def encode_requests(requests: Sequence[Request], contract: TextContract) -> list[EncodedGroup]:
    """The tokens of requests, texts without a prompt among them; faults are kept in the groups, each a TextError."""
    divided = [divide(request, contract) if request.prompt == "" else request for request in requests]
    several = len(divided) > 1
    named = [
        TextGroup(
            request.prompt, request.responses, f"requests[{number}]" if several else "the request", request.fields
        )
        for number, request in enumerate(divided)
    ]
    groups = zip(named, contract.encode_many(named), strict=True)
    return [
        dataclasses.replace(group, faults=_placed(name, group, number)) for number, (name, group) in enumerate(groups)
    ]


def _placed(named: TextGroup, group: EncodedGroup, request: int) -> tuple[RowError | None, ...]:
    found = []
    for response, (fault, field) in enumerate(zip(group.faults, named.response_fields, strict=True)):
        of_prompt = fault is not None and fault.field == named.prompt_field != field
        at = None if of_prompt else response
        found.append(fault and TextError(fault, request=request, response=at))
    return tuple(found)


def divide(request: Request, contract: TextContract) -> Request:
    """The request with a prompt, where its single text is longer than a response may be."""
    (text,) = request.responses
    assert isinstance(text, str), "a text without a prompt is no conversation"
    spare = min(_SPARE, contract.max_response_tokens // 4)
    most = contract.max_response_tokens - 1 - spare
    if len(text.encode()) <= most:  # a token is at least a byte
        return request
    encoding = contract.tokenizer.encode(text, add_special_tokens=False)
    if len(encoding.ids) <= most:
        return request
    place = _word_near(text, encoding, len(encoding.ids) - most, spare)
    return dataclasses.replace(request, prompt=text[:place], responses=(text[place:],))


def _word_near(text: str, encoding: tokenizers.Encoding, first: int, spare: int) -> int:
    """Where a word begins among some tokens from the first on, for there no token spans both sides; or the first."""
    starts = [start for start, _ in encoding.offsets[first : first + max(1, spare)]]
    words = (
        place for place in starts if 0 < place < len(text) and text[place] == " " and not text[place - 1].isspace()
    )
    return next(words, starts[0] if starts else len(text))
