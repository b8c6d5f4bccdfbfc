"""Texts without a known prompt: the same tokens as one text, never an error for their length."""

import dataclasses

import numpy as np
import pytest
from untrained import WORDS, random_text, untrained_config, untrained_contract

from rmjax.batches.tokenizer import END_TOKEN
from rmjax.scoring.rows import Request
from rmjax.scoring.whole_texts import divide, encode_requests, without_end

CONTRACT = untrained_contract(untrained_config())  # 60 tokens a prompt, 40 a response
END = CONTRACT.tokenizer.token_to_id(END_TOKEN)


def whole(text: str) -> Request:
    return Request(prompt="", responses=(text,), single=False)


def tokens(text: str) -> list[int]:
    return [*CONTRACT.tokenizer.encode(text).ids, END]


def encoded(text: str) -> list[int]:
    (group,) = encode_requests([whole(text)], CONTRACT)
    assert group.faults == (None,)
    return group.conversations[0]


@pytest.mark.parametrize("seed", range(4))
def test_a_text_within_both_limits_is_read_whole(seed):
    rng = np.random.default_rng(seed)
    for _ in range(50):
        text = random_text(rng, 90)
        if len(tokens(text)) <= 60 + 30:
            assert encoded(text) == tokens(text)


@pytest.mark.parametrize(
    "text",
    [
        " ".join(WORDS) * 40,
        "x" * 3000,
        "漢字仮名" * 300,
        "😀" * 300,
        "\n" * 2000,
        "a \t\r\n  b" * 300,
        "river" * 500,
        "\u0000" * 500,
    ],
)
def test_a_longer_text_loses_its_beginning_and_is_no_error(text):
    found = encoded(text)
    assert found[-1] == END
    assert 60 + 20 <= len(found) <= 60 + 40
    assert found[-20:] == tokens(text)[-20:]


def test_a_short_text_is_not_divided_and_a_request_with_a_prompt_is_left_alone():
    assert divide(whole("why it rains"), CONTRACT) == whole("why it rains")
    with_prompt = Request(prompt="why", responses=("it rains " * 2, "never"), single=False)
    (group,) = encode_requests([with_prompt], CONTRACT)
    assert group == CONTRACT.encode("why", ("it rains " * 2, "never"), origin="the request")


def test_a_division_is_between_words():
    divided = divide(whole("the river walks " * 30), CONTRACT)
    (response,) = divided.responses
    assert isinstance(divided.prompt, str)
    assert isinstance(response, str)
    assert divided.prompt + response == "the river walks " * 30
    assert response.startswith(" ")
    assert divided.prompt[-1].isalpha()


def test_limits_as_small_as_they_come_do():
    contract = dataclasses.replace(CONTRACT, max_prompt_tokens=1, max_response_tokens=1)
    for text in ("", "a", "why it rains"):
        (group,) = encode_requests([whole(text)], contract)
        assert len(group.conversations[0]) == min(2, len(tokens(text)))


def test_one_end_token_is_taken_from_the_end_of_a_text():
    assert without_end(f"a{END_TOKEN}") == "a"
    assert without_end(f"a{END_TOKEN}b") == f"a{END_TOKEN}b"
    assert without_end(f"a{END_TOKEN}{END_TOKEN}") == f"a{END_TOKEN}"
    assert without_end("a") == "a"
    assert encoded(without_end(f"why{END_TOKEN}")) == tokens("why")
