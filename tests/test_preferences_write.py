"""What is written is read back equal, or is refused.

The records are drawn from seeds and not by hypothesis: the run-time type checks of the tests draw random numbers
themselves, which hypothesis takes for a strategy that can't be repeated.
"""

import gzip
import random
from dataclasses import replace

import pytest

from rmjax.config import OnError
from rmjax.preferences.read import read_preferences
from rmjax.preferences.record import Comparison, FileError, Message, Preference, RowError, Side, Source, Strength, Text
from rmjax.preferences.row_forms import RowDefaults, parse_row
from rmjax.preferences.write import to_row, write_preferences

DEFAULTS = RowDefaults("something else", Source.AI)
PREFERENCE = Preference(
    prompt="Q",
    responses=("a", "b"),
    comparisons=(Comparison(left=0, right=1),),
    dimension="helpfulness",
    source=Source.HUMAN,
    origin="here, line 7",
)
ALPHABET = ["a", "b", " ", "\n", "\r", "\0", "\x85", "\u2028", "\ufeff", "é", "🦋", "\U0010ffff", '"', "\\", "[", "{}"]


def random_text(rng: random.Random, *, blank: bool) -> str:
    """Up to ten pieces of text, hard ones among them; where it must not be blank, it ends in a letter."""
    return "".join(rng.choices(ALPHABET, k=rng.randint(0, 10))) + ("" if blank else "z")


def random_number(rng: random.Random) -> float:
    return rng.choice([0.0, -1.0, rng.gauss(0, 1), rng.gauss(0, 1e-30), rng.gauss(0, 1e30)])


def random_comparison(rng: random.Random, count: int) -> Comparison:
    left, right = rng.sample(range(count), 2)
    return Comparison(
        left=left,
        right=right,
        probability=rng.choice([0.0, 0.5, 1.0, rng.random()]),
        margin=random_number(rng),
        weight=rng.uniform(1e-6, 3.0),
        annotator=rng.choice([None, random_text(rng, blank=True)]),
        true_probability=rng.choice([None, rng.random()]),
        strength=rng.choice([None, *Strength]),
        shown_first=rng.choice([None, *Side]),
        seconds=rng.choice([None, 0.0, rng.uniform(0, 1e6)]),
        judged_at=rng.choice([None, "2026-01-31T09:30:00+00:00", "2026-01-31T09:30:00.125-03:30"]),
    )


def random_preference(rng: random.Random) -> Preference:
    """Any record: text or messages, 2 to 4 responses, one of them perhaps empty."""
    count = rng.randint(2, 4)
    texts = [random_text(rng, blank=True) + "y" * i for i in range(count)]
    prompt: Text = random_text(rng, blank=False)
    responses: list[Text] = list(dict.fromkeys([*texts, "x", "w"]))[:count]
    if rng.random() < 0.5:
        user = Message(role="user", content=prompt)
        prompt = (Message(role="system", content=random_text(rng, blank=True)), user)[rng.randint(0, 1) :]
        further = (user,) * rng.randint(0, 1)
        responses = [(Message(role="assistant", content=text), *further) for text in responses]
    return Preference(
        prompt=prompt,
        responses=tuple(responses),
        comparisons=tuple(random_comparison(rng, count) for _ in range(rng.randint(1, 4))),
        dimension=random_text(rng, blank=False),
        source=rng.choice(list(Source)),
        utilities=rng.choice([None, tuple(random_number(rng) for _ in range(count))]),
        known_answer=rng.choice([None, *Side]) if count == 2 else None,
        id=rng.choice([None, random_text(rng, blank=False)]),
    )


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz"])
@pytest.mark.parametrize("seed", range(10))
def test_what_is_written_is_read_back_equal(seed, suffix, tmp_path):
    rng = random.Random(seed)
    written = tuple(random_preference(rng) for _ in range(20))
    file = tmp_path / f"rows{suffix}"
    write_preferences(file, iter(written))
    read = read_preferences(file, defaults=DEFAULTS, on_error=OnError.ERROR)
    assert read.preferences == written
    assert [p.id for p in read] == [p.id for p in written]
    assert [p.origin for p in read] == [f"{file}, line {i}" for i in range(1, len(written) + 1)]


@pytest.mark.parametrize(
    "changes",
    [
        {"prompt": ""},
        {"prompt": "a \ud83d"},
        {"responses": ("a", "\udc00")},
        {"responses": ("a", "a")},
        {"responses": ("a",)},
        {"comparisons": ()},
        {"comparisons": (Comparison(left=0, right=2),)},
        {"comparisons": (Comparison(left=0, right=1, margin=float("nan")),)},
        {"dimension": " "},
        {"utilities": (1.0,)},
        {"known_answer": Side.LEFT, "responses": ("a", "b", "c")},
        {"id": ""},
        {"id": "a \ud83d"},
    ],
    ids=str,
)
def test_a_record_that_could_not_be_read_back_is_refused_by_its_origin(changes, tmp_path):
    with pytest.raises(RowError, match=r"^here, line 7: field "):
        write_preferences(tmp_path / "rows.jsonl", [PREFERENCE, replace(PREFERENCE, **changes)])
    assert not list(tmp_path.iterdir())


def test_equal_records_give_equal_bytes(tmp_path):
    for name in ("a.jsonl.gz", "b.jsonl.gz", "c.jsonl"):
        write_preferences(tmp_path / name, [PREFERENCE] * 3)
    assert (tmp_path / "a.jsonl.gz").read_bytes() == (tmp_path / "b.jsonl.gz").read_bytes()
    assert gzip.decompress((tmp_path / "a.jsonl.gz").read_bytes()) == (tmp_path / "c.jsonl").read_bytes()


def test_the_row_is_the_canonical_one():
    row = to_row(PREFERENCE)
    assert list(row) == ["prompt", "responses", "comparisons", "dimension", "source"]
    assert parse_row(row, origin="elsewhere", defaults=DEFAULTS) == PREFERENCE


@pytest.mark.parametrize(("name", "count"), [("rows.json", 1), ("rows.parquet", 1), ("rows.jsonl", 0)])
def test_another_format_or_nothing_at_all_is_not_written(name, count, tmp_path):
    with pytest.raises(FileError, match=name):
        write_preferences(tmp_path / name, [PREFERENCE] * count)
    assert not list(tmp_path.iterdir())
