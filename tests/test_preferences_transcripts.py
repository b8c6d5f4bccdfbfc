"""Transcripts are split at the last assistant turn at which both are equal."""

import random
from pathlib import Path

import pytest

from rmjax.batches.template import RoleTemplate
from rmjax.config import OnError
from rmjax.preferences.read import read_preferences
from rmjax.preferences.record import Comparison, Preference, RowError, Source
from rmjax.preferences.row_forms import RowDefaults
from rmjax.preferences.transcripts import as_messages, shared_length, split_transcripts

HH = Path(__file__).parents[2] / "shared" / "data" / "hh-rlhf"


@pytest.mark.parametrize(
    ("chosen", "rejected", "prompt_turns"),
    [
        ("H1 A1", "H1 A2", 1),
        ("H1 A1 H2 A2", "H1 A1 H2 A3", 3),
        ("H1 A1 H2 A2", "H1 A1 H3 A3", 1),  # after the first human turn nothing but the answer is equal
        ("H1 A1 H2 A2", "H1 A1", 1),
        ("H1 A1 H2", "H1 A1 H3 A3 H4", 1),
        ("H1 A1", "H2 A1", None),
        ("H1", "H1", None),
    ],
)
def test_turns(chosen, rejected, prompt_turns):
    def transcript(turns: str) -> list[str]:
        return [("\n\nHuman:" if turn[0] == "H" else "\n\nAssistant:") + " " + turn for turn in turns.split()]

    parts = split_transcripts("".join(transcript(chosen)), "".join(transcript(rejected)))
    if prompt_turns is None:
        assert parts is None
        return
    assert parts is not None
    assert parts[0] == "".join(transcript(chosen)[:prompt_turns]) + "\n\nAssistant:"
    assert parts[1].startswith(" A")


def test_a_marker_that_is_not_whole_in_both_does_not_count():
    first = "\n\nHuman: a\n\nAssistant: b\n\nAssistant"
    assert split_transcripts(first + ":", first + "!") == (
        "\n\nHuman: a\n\nAssistant:",
        " b\n\nAssistant:",
        " b\n\nAssistant!",
    )


@pytest.mark.parametrize("seed", range(20))
def test_the_shared_length_is_where_the_texts_part(seed):
    rng = random.Random(seed)
    for _ in range(50):
        first, second = ("".join(rng.choices("aé", k=rng.randint(0, 8))) for _ in range(2))
        length = shared_length(first, second)
        assert first[:length] == second[:length]
        assert length == min(len(first), len(second)) or first[length] != second[length]


@pytest.mark.skipif(not HH.is_dir(), reason=f"the HH pairs are not at {HH}")
@pytest.mark.parametrize("name", ["helpful-base", "harmless-base"])
def test_the_published_pairs_are_read_whole(name):
    rows = read_preferences(HH / name / "*.jsonl.gz", defaults=RowDefaults("any"), on_error=OnError.ERROR)
    assert len(rows) == {"helpful-base": 1671 + 339, "harmless-base": 1625 + 339}[name]
    for preference in rows:
        assert isinstance(preference.prompt, str)
        assert preference.prompt.startswith("\n\nHuman:")
        assert preference.prompt.endswith("\n\nAssistant:")
        assert preference.responses[0] != preference.responses[1]


def preference_of(prompt, *responses):
    return Preference(
        prompt=prompt, responses=responses, comparisons=(Comparison(left=0, right=1),), dimension="d",
        source=Source.HUMAN, origin="o",
    )  # fmt: skip


def test_transcripts_become_messages_that_are_rendered_as_the_same_transcripts():
    prompt = "\n\nHuman: why?\n\nAssistant: it is.\n\nHuman: really\n\nAssistant:"
    responses = (" yes", " no\n\nHuman: oh\n\nAssistant: well")
    before = preference_of(prompt, *responses)
    after = as_messages(before)
    assert [turn.role for turn in after.prompt] == ["user", "assistant", "user"]
    assert [turn.content for turn in after.responses[1]] == ["no", "oh", "well"]
    template = RoleTemplate()
    assert template.render_prompt(after.prompt) == prompt
    assert [template.render(after.prompt, each) for each in after.responses] == [prompt + text for text in responses]
    assert as_messages(after) == after
    assert after.comparisons == before.comparisons


@pytest.mark.parametrize(
    ("prompt", "responses", "message"),
    [
        ("why?", (" a", " b"), r"o: field 'prompt': no transcript: found 'why\?'"),
        ("\n\nHuman: why?", (" a", " b"), "no transcript"),
        ("\n\nAssistant:", (" a", " b"), "no transcript"),
        ("so\n\nHuman: why?\n\nAssistant:", (" a", " b"), "no transcript"),
        ("\n\nHuman: why?\n\nAssistant:", (" a", " a "), "o: field 'responses': identical responses: found ' a'"),
    ],
)
def test_what_is_no_transcript_is_an_error(prompt, responses, message):
    with pytest.raises(RowError, match=message):
        as_messages(preference_of(prompt, *responses))
