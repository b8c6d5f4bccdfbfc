import dataclasses
import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from rmjax.batches.choose_row import choose_row_shape
from rmjax.batches.contract import TextContract, TextGroup
from rmjax.batches.lengths import measure
from rmjax.batches.limits import ResponseTooLongError, SystemTurnTooLongError, remedies
from rmjax.batches.packing import plan_epoch
from rmjax.batches.template import RoleTemplate
from rmjax.batches.tokenize import survey, tokenize, tokenize_responses
from rmjax.batches.tokenizer import train_tokenizer
from rmjax.config import BatchConfig, ConfigError, ExperimentConfig, OnError, TextConfig
from rmjax.preferences.record import Comparison, Message, Preference, RowError, Source
from rmjax.preferences.row_forms import RowDefaults, parse_row

HH = Path(__file__).parents[2] / "shared" / "data" / "hh-rlhf"
WORDS = ["the", "river", "runs", "past", "seven", "old", "houses", "and", "no", "one", "there", "knows", "why"]
TOKENIZER = train_tokenizer([" ".join(WORDS)] * 3, 300)


def contract(prompt=40, response=40):
    return TextContract(tokenizer=TOKENIZER, max_prompt_tokens=prompt, max_response_tokens=response)


def random_preferences(seed, count=30, longest=8):
    random = np.random.default_rng(seed)

    def text(most):
        return " " + " ".join(random.choice(WORDS, random.integers(1, most + 1)))

    preferences = []
    for index in range(count):
        responses = int(random.integers(2, 6))
        pairs = [(left, right) for left in range(responses) for right in range(left)]
        comparisons = tuple(
            Comparison(left=left, right=right, probability=float(random.random()), margin=float(random.normal()),
                       weight=1 / len(pairs))
            for left, right in pairs
        )  # fmt: skip
        preferences.append(
            Preference(
                prompt=text(20),
                responses=tuple(text(longest) for _ in range(responses)),
                comparisons=comparisons,
                dimension=("helpfulness", "brevity")[index % 2],
                source=Source.HUMAN,
                origin=f"made.jsonl, line {index + 1}",
            )
        )
    return preferences


@pytest.mark.parametrize("seed", range(3))
def test_every_response_and_comparison_finds_its_way_back(seed, monkeypatch):
    monkeypatch.setattr("rmjax.batches.tokenize._GROUPS_AT_ONCE", 7)
    preferences = random_preferences(seed)
    tokenized = tokenize(preferences, contract(), heads=("brevity", "helpfulness"))
    assert tokenized.groups == len(preferences)
    assert tokenized.responses == sum(len(preference.responses) for preference in preferences)
    for response, (index, place) in enumerate(tokenized.response_origin):
        group = contract().encode(preferences[index].prompt, preferences[index].responses)
        assert tokenized.conversation(response).tolist() == group.conversations[place]
    seen = set()
    for number, (index, place) in enumerate(tokenized.comparison_origin.tolist()):
        comparison = preferences[index].comparisons[place]
        assert tokenized.response_origin[tokenized.left[number]].tolist() == [index, comparison.left]
        assert tokenized.response_origin[tokenized.right[number]].tolist() == [index, comparison.right]
        labels = (tokenized.probability[number], tokenized.margin[number], tokenized.weight[number])
        assert labels == tuple(map(np.float32, (comparison.probability, comparison.margin, comparison.weight)))
        assert tokenized.head[number] == (0 if preferences[index].dimension == "brevity" else 1)
        first, last = tokenized.comparison_offsets[index : index + 2]
        assert first <= number < last
        seen.add((index, place))
    assert len(seen) == sum(len(preference.comparisons) for preference in preferences)
    assert tokenized.cut_prompts == sum(
        contract().encode(preference.prompt, preference.responses).cut > 0 for preference in preferences
    )


@pytest.mark.parametrize("seed", range(3))
def test_skipping_drops_exactly_the_comparisons_of_long_responses_and_counts_them(seed):
    preferences, limit = random_preferences(seed), 9
    tokenized = tokenize(preferences, contract(response=limit), on_error=OnError.SKIP)
    kept, dropped = set(), 0
    for index, preference in enumerate(preferences):
        (group,) = contract(response=limit).encode_many([TextGroup(preference.prompt, preference.responses)])
        fine = [fault is None for fault in group.faults]
        for place, comparison in enumerate(preference.comparisons):
            if fine[comparison.left] and fine[comparison.right]:
                kept.add((index, place))
            else:
                dropped += 1
    assert dropped > 0
    assert set(map(tuple, tokenized.comparison_origin.tolist())) == kept
    assert tokenized.skipped == {"response too long": dropped}
    assert (np.diff(tokenized.comparison_offsets) > 0).all()  # a group that compares nothing is gone
    for number, (index, place) in enumerate(tokenized.comparison_origin.tolist()):
        comparison = preferences[index].comparisons[place]
        assert tokenized.response_origin[tokenized.left[number]].tolist() == [index, comparison.left]


@pytest.mark.parametrize("on_error", [OnError.DEFAULT, OnError.ERROR])
def test_a_long_response_is_an_error_unless_skipped(on_error):
    with pytest.raises(ResponseTooLongError, match=r"made.jsonl, line \d+: field 'responses\[\d\]'.*limit"):
        tokenize(random_preferences(0), contract(response=5), on_error=on_error)


LONG = " houses and no one" * 9
USER, LONG_ANSWER = {"role": "user", "content": "the"}, {"role": "assistant", "content": LONG}


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ({"prompt": " the", "chosen": LONG, "rejected": " river"}, "chosen"),
        ({"prompt": " the", "chosen": " river", "rejected": LONG}, "rejected"),
        ({"chosen": "\n\nHuman: the\n\nAssistant: no", "rejected": f"\n\nHuman: the\n\nAssistant:{LONG}"}, "rejected"),
        ({"chosen": [USER, LONG_ANSWER], "rejected": [USER, {"role": "assistant", "content": "no"}]}, "chosen"),
        ({"prompt": " the", "responses": [" a", LONG, " b"], "ranking": [1, 2, 3]}, "responses[1]"),
        ({"instruction": "the", "output_1": "no", "output_2": LONG, "preference": 1.5}, "output_2"),
    ],
)
def test_a_long_response_is_named_by_the_field_of_its_row(row, field):
    limited = contract(response=9)
    good = {"prompt": " the", "chosen": " river", "rejected": " houses"}
    defaults = RowDefaults("brevity")
    preferences = [parse_row(entry, origin=f"f, line {n}", defaults=defaults) for n, entry in enumerate((good, row), 1)]
    with pytest.raises(ResponseTooLongError) as error:
        tokenize(preferences, limited, on_error=OnError.ERROR)
    assert str(error.value).startswith(f"f, line 2: field {field!r}: response too long: found ")


def test_a_system_turn_is_named_by_the_field_of_its_row():
    system = {"role": "system", "content": LONG}
    answers = [{"role": "assistant", "content": text} for text in ("no", "yes")]
    row = {name: [system, USER, answer] for name, answer in zip(("chosen", "rejected"), answers, strict=True)}
    preference = parse_row(row, origin="f", defaults=RowDefaults("brevity"))
    with pytest.raises(SystemTurnTooLongError, match=r"^f: field 'chosen': system turn too long"):
        tokenize([preference], contract(prompt=9))


def test_a_bad_role_is_skipped_like_any_other_fault():
    fine = random_preferences(0, count=2)
    bad = Preference(
        prompt=(Message(role="robot", content="x"),),
        responses=((Message(role="assistant", content="y"),), (Message(role="assistant", content="z"),)),
        comparisons=(Comparison(left=0, right=1),),
        dimension="helpfulness",
        source=Source.AI,
        origin="bad.jsonl, line 1",
    )
    tokenized = tokenize([fine[0], bad, fine[1]], contract(), on_error=OnError.SKIP)
    assert tokenized.skipped == {"unknown role": 1}
    assert sorted(set(tokenized.response_origin[:, 0].tolist())) == [0, 2]
    with pytest.raises(RowError, match=r"bad.jsonl, line 1: field 'prompt': unknown role"):
        tokenize([bad], contract())


def test_without_heads_all_comparisons_are_on_the_first_and_an_unknown_dimension_is_named():
    preferences = random_preferences(0)
    assert not tokenize(preferences, contract()).head.any()
    with pytest.raises(ConfigError, match=r"reward_heads is .*'brevity'.* of made.jsonl, line 2"):
        tokenize(preferences, contract(), heads=("helpfulness",), on_error=OnError.SKIP)


def test_nothing_gives_empty_arrays():
    tokenized = tokenize([], contract())
    assert (tokenized.groups, tokenized.responses, tokenized.comparisons) == (0, 0, 0)
    assert measure(tokenized).prefix.shape == (0,)


def test_responses_alone_have_the_tokens_they_have_in_preferences():
    preferences = random_preferences(1)
    requests = [TextGroup(preference.prompt, preference.responses) for preference in preferences]
    alone, compared = tokenize_responses(requests, contract()), tokenize(preferences, contract())
    for name in ("tokens", "response_offsets", "group_offsets", "response_origin"):
        assert np.array_equal(getattr(alone, name), getattr(compared, name))
    assert (alone.comparisons, alone.comparison_offsets.tolist()) == (0, [0] * (len(preferences) + 1))


def test_long_responses_without_comparisons_are_errors_or_counted():
    requests = [
        TextGroup(" the", (" river", " runs past seven old houses" * 3)),
        TextGroup(" the", (" houses and no one" * 9,), "b"),
    ]
    with pytest.raises(ResponseTooLongError, match=r"^request 0: field 'responses.1.'"):
        tokenize_responses(requests, contract(response=9))
    with pytest.raises(ResponseTooLongError, match=r"^b: field 'responses.0.'"):
        tokenize_responses([requests[1]], contract(response=9))
    tokenized = tokenize_responses(requests, contract(response=9), on_error=OnError.SKIP)
    assert tokenized.response_origin.tolist() == [[0, 0]]
    assert tokenized.skipped == {"response too long": 2}


def hh_transcripts(file):
    """(prompt, chosen, rejected) of the transcripts that share an assistant turn."""
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            same = [a == b for a, b in zip(row["chosen"], row["rejected"], strict=False)]
            shared = row["chosen"][: [*same, False].index(False)]
            at = shared.rfind("\n\nAssistant:") + len("\n\nAssistant:")
            if at > len("\n\nAssistant:") and row["chosen"] != row["rejected"]:
                yield row["chosen"][:at], row["chosen"][at:], row["rejected"][at:]


def test_the_limit_error_knows_what_would_do_for_all_that_are_too_long():
    tokenizer = train_tokenizer(["one two three four five six"] * 9, 300)
    texts = ["one", "one two three", "one two", "one two three four five six", "one two three four"]
    lengths = [len(tokenizer.encode(f" {text}").ids) + 1 for text in texts]
    preferences = [
        Preference(
            prompt="one",
            responses=(" one", f" {text}"),
            comparisons=(Comparison(left=0, right=1),),
            dimension="brevity",
            source=Source.RULE,
        )
        for text in texts[1:]
    ]
    limits = TextContract(tokenizer=tokenizer, max_prompt_tokens=9, max_response_tokens=lengths[2])
    with pytest.raises(ResponseTooLongError) as error:
        tokenize(preferences, limits)
    assert error.value.tokens == error.value.most == lengths[1]
    survey(error.value, preferences, limits)
    assert (error.value.most, error.value.count) == (lengths[3], 3)
    assert lengths[3] > lengths[1]
    config = ExperimentConfig(text=TextConfig(max_prompt_tokens=9, max_response_tokens=lengths[2]))
    config.batch.row_length = 9 + 2 * lengths[2]
    flags = f"--config.text.max_response_tokens={lengths[3]} --config.batch.row_length={9 + 2 * lengths[3]}"
    skips = "--config.data.on_error=skip skips all 3 such texts"
    assert remedies(error.value, config) == f"{flags} takes all 3 such texts, {skips}"
    assert tokenize(preferences, limits, on_error=OnError.SKIP).skipped.total() == 3


def test_the_limit_that_does_for_system_turns_leaves_the_rest_of_the_prompt():
    """Each prompt counts once, whatever the number of its responses."""
    tokenizer = train_tokenizer(["System: one two three\n\nHuman: four five six\n\nAssistant: seven"] * 9, 300)

    def preference(turns: int) -> Preference:
        prompt = (Message(role="system", content="one two " * turns), Message(role="user", content="four five six"))
        responses = tuple((Message(role="assistant", content=text),) for text in ("seven", "six"))
        return Preference(
            prompt=prompt, responses=responses, comparisons=(Comparison(left=0, right=1),), dimension="brevity",
            source=Source.RULE,
        )  # fmt: skip

    preferences = [preference(turns) for turns in (1, 5, 9, 7)]
    limits = TextContract(tokenizer=tokenizer, max_prompt_tokens=12, max_response_tokens=30, template=RoleTemplate())
    with pytest.raises(SystemTurnTooLongError) as error:
        tokenize(preferences, limits)
    survey(error.value, preferences, limits)
    assert error.value.count == 3
    wider = dataclasses.replace(limits, max_prompt_tokens=error.value.most)
    assert tokenize(preferences, wider).cut_prompts == 0
    narrower = dataclasses.replace(limits, max_prompt_tokens=error.value.most - 1)
    assert tokenize(preferences, narrower).cut_prompts == 1


@pytest.mark.skipif(not HH.exists(), reason=f"needs the HH pairs in {HH}")
def test_hh_fills_at_least_97_percent_of_rows_of_1024():
    rows = [row for file in sorted(HH.glob("*/train.jsonl.gz")) for row in hh_transcripts(file)]
    tokenizer = train_tokenizer((prompt + response for prompt, *responses in rows for response in responses), 8192)
    preferences = [
        Preference(
            prompt=prompt,
            responses=tuple(responses),
            comparisons=(Comparison(left=0, right=1),),
            dimension="helpfulness",
            source=Source.HUMAN,
        )
        for prompt, *responses in rows
    ]
    limits = TextContract(tokenizer=tokenizer, max_prompt_tokens=512, max_response_tokens=256, template=RoleTemplate())
    tokenized = tokenize(preferences, limits, on_error=OnError.SKIP)
    lengths = measure(tokenized)
    shape = choose_row_shape(lengths, BatchConfig(row_length=1024))
    fills = [plan_epoch(lengths, shape, seed=seed, epoch=seed).fill for seed in range(3)]
    assert min(fills) >= 0.97
    assert tokenized.comparisons + sum(tokenized.skipped.values()) == len(preferences)
