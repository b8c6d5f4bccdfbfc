"""Conversations are split at the last assistant message up to which both are equal."""

import pytest

from rmjax.preferences.conversations import is_blank, split_conversations
from rmjax.preferences.record import Message

ROLES = {"S": "system", "H": "user", "A": "assistant"}


def talk(turns: str) -> tuple[Message, ...]:
    return tuple(Message(role=ROLES[turn[0]], content=turn) for turn in turns.split())


@pytest.mark.parametrize(
    ("chosen", "rejected", "prompt_turns"),
    [
        ("H1 A1", "H1 A2", 1),
        ("S H1 A1", "S H1 A2", 2),
        ("H1 A1 H2 A2", "H1 A1 H2 A3", 3),
        ("H1 A1 H2 A2", "H1 A1 H3 A3", 1),
        ("H1 A1 H2 A2", "H1 A1", 1),
        ("H1 A1 A2", "H1 A1 H2", 1),
        ("H1 A1", "H2 A1", None),
        ("A1", "A2", None),
        ("H1 A1", "H1", None),
        ("H1", "H1", None),
    ],
)
def test_turns(chosen, rejected, prompt_turns):
    parts = split_conversations(talk(chosen), talk(rejected))
    if prompt_turns is None:
        assert parts is None
        return
    assert parts == (talk(chosen)[:prompt_turns], talk(chosen)[prompt_turns:], talk(rejected)[prompt_turns:])


@pytest.mark.parametrize(("text", "blank"), [("", True), (" \n\u2003", True), ("\0", False), ("a", False), ((), True)])
def test_blank(text, blank):
    assert is_blank(text) is blank
    assert is_blank((Message(role="assistant", content=text or ""),)) is blank
