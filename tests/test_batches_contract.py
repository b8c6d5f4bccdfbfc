import dataclasses
import itertools
import json
import operator
import random
import re

import pytest

from rmjax.batches.contract import TextContract, TextGroup, text_from_json, text_to_json
from rmjax.batches.jinja_template import JinjaTemplate
from rmjax.batches.lengths import measure
from rmjax.batches.limits import LimitError, ResponseTooLongError
from rmjax.batches.packing import plan_epoch
from rmjax.batches.row_shape import RowShape
from rmjax.batches.template import RoleTemplate
from rmjax.batches.tokenize import tokenize
from rmjax.batches.tokenizer import SpecialTokens, train_tokenizer
from rmjax.config import BatchConfig, ConfigError, ExperimentConfig, TextConfig, validate
from rmjax.preferences.record import Comparison, Message, Preference, RowError, Source

PROMPT = "\n\nHuman: tell me about 17 and 4, and about rivers\n\nAssistant:"
RESPONSES = (" it is 21.", "", " rivers run to the sea\n\nHuman: do they?\n\nAssistant: they do", "glued on")
TOKENIZER = train_tokenizer([PROMPT + response for response in RESPONSES] * 3, 300)


def contract(prompt=64, response=64, template=None):
    template = template or RoleTemplate()
    return TextContract(tokenizer=TOKENIZER, max_prompt_tokens=prompt, max_response_tokens=response, template=template)


def ids(text):
    return TOKENIZER.encode(text, add_special_tokens=False).ids


def turns(*pairs):
    return tuple(Message(role=role, content=content) for role, content in pairs)


def rendered(template, prompt, response):
    return template.render_turns(prompt) + template.generation_prompt + template.render_response(response)


def test_a_conversation_is_one_text_and_the_end_token():
    group = contract(prompt=1000, response=1000).encode(PROMPT, RESPONSES)
    assert group.cut == 0
    assert list(group.conversations) == [[*ids(PROMPT + response), 1] for response in RESPONSES]


def test_text_that_spells_the_end_token_does_not_end_the_response():
    (tokens,) = contract().encode(PROMPT, (" a<|end|>b <|pad|>",)).conversations
    assert tokens.index(1) == len(tokens) - 1
    assert 0 not in tokens


@pytest.mark.parametrize("limit", [1, 2, 7, 20, 39, 1000])
def test_the_prompt_keeps_its_last_tokens_whatever_its_siblings(limit):
    limited = contract(prompt=limit)
    prompt_tokens = len(ids(PROMPT))
    cut = max(0, prompt_tokens - limit)
    alone = {response: limited.encode(PROMPT, (response,)).conversations[0] for response in RESPONSES}
    for response in RESPONSES:
        assert alone[response] == [*ids(PROMPT + response)[cut:], 1]
    for siblings in itertools.permutations(RESPONSES, 2):
        group = limited.encode(PROMPT, siblings)
        assert group.cut == cut
        assert list(group.conversations) == [alone[response] for response in siblings]


@pytest.mark.parametrize("prompt_limit", [3, 1000])
def test_the_response_limit_counts_the_end_token_and_not_the_prompt(prompt_limit):
    for response in RESPONSES:
        tokens = len(ids(PROMPT + response)) + 1 - len(ids(PROMPT))
        group = contract(prompt=prompt_limit, response=tokens).encode(PROMPT, (response,))
        assert len(group.conversations[0]) == min(prompt_limit, len(ids(PROMPT))) + tokens
        if tokens > 1:
            with pytest.raises(ResponseTooLongError) as error:
                contract(prompt=prompt_limit, response=tokens - 1).encode(
                    PROMPT, ("", response), origin="f.jsonl, line 3"
                )
            message = str(error.value)
            for part in (
                "f.jsonl, line 3",
                "responses[1]",
                f"{tokens} tokens",
                f"text.max_response_tokens is {tokens - 1}",
            ):
                assert part in message
            assert "--" not in message  # each command names its own options
            assert (error.value.setting, error.value.tokens) == ("text.max_response_tokens", tokens)


@pytest.mark.parametrize(
    ("prompt", "response", "limits"),
    [
        (PROMPT, RESPONSES[2], {"max_prompt_tokens": 30, "max_response_tokens": 2}),
        (turns(("system", PROMPT), ("user", "Who?")), turns(("assistant", "No")), {"max_prompt_tokens": 2}),
    ],
)
def test_the_flags_that_a_limit_error_gives_make_a_valid_config_that_takes_the_text(prompt, response, limits):
    text = TextConfig(vocabulary_size=300, **limits)
    config = ExperimentConfig(text=text, batch=BatchConfig())
    config.batch.row_length = text.max_prompt_tokens + 2 * text.max_response_tokens
    with pytest.raises(LimitError) as error:
        TextContract.from_config(config.text, TOKENIZER).encode(prompt, [response])
    for enough in (4096, None):
        assert "row_length" not in error.value.flags(ExperimentConfig(batch=BatchConfig(row_length=enough)))
    for flag in error.value.flags(config).split():
        part, name, value = re.fullmatch(r"--config\.(\w+)\.(\w+)=(\d+)", flag).groups()
        setattr(operator.attrgetter(part)(config), name, int(value))
    validate(config)
    TextContract.from_config(config.text, TOKENIZER).encode(prompt, [response])
    config.batch.row_length -= 1
    with pytest.raises(ConfigError, match=r"config\.batch\.row_length"):
        validate(config)


def test_a_response_that_melts_into_the_last_word_of_a_cut_prompt_still_ends_in_the_end_token():
    tokenizer = train_tokenizer(["hello"] * 5, 400)
    melted = TextContract(tokenizer=tokenizer, max_prompt_tokens=1, max_response_tokens=9)
    assert len(tokenizer.encode("hello").ids) == 1
    assert len(tokenizer.encode("olleh").ids) == 5
    group = melted.encode("\x01\x02\x03hel", ("lo", ""))
    assert all(tokens[-1] == 1 and len(tokens) <= 10 for tokens in group.conversations)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("limit", [2, 5, 30])
def test_every_pair_at_its_limits_fits_a_row_even_where_responses_melt_into_the_prompt(seed, limit):
    """What config.validate promises, with a vocabulary of merges and texts without a space to end them at."""
    rng = random.Random(seed)
    words = ["".join(rng.choice("ab") for _ in range(9)) for _ in range(40)]
    tokenizer = train_tokenizer(words, 330)
    whole = TextContract(tokenizer=tokenizer, max_prompt_tokens=limit, max_response_tokens=10_000)
    melted = 0
    for _ in range(30):
        drawn = rng.randint(3, 9)
        prompt, *responses = ("".join(rng.choice("ab") for _ in range(rng.randint(1, 15))) for _ in range(drawn))
        alone = tokenizer.encode(prompt).ids
        melted += any(tokenizer.encode(prompt + response).ids[: len(alone)] != alone for response in responses)
        pairs = itertools.combinations(range(len(responses)), 2)
        comparisons = tuple(Comparison(left=left, right=right) for left, right in pairs)
        preference = Preference(prompt=prompt, responses=tuple(responses), comparisons=comparisons,
                                dimension="d", source=Source.HUMAN)  # fmt: skip
        faults = dataclasses.replace(whole, max_response_tokens=0).encode_many([TextGroup(prompt, responses)])[0].faults
        most = max(fault.tokens for fault in faults)
        lengths = measure(tokenize([preference], dataclasses.replace(whole, max_response_tokens=most)))
        shape = RowShape(length=limit + 2 * most, responses=8, comparisons=28)
        assert plan_epoch(lengths, shape, seed=seed, epoch=0).parts.size.max() <= shape.length
    assert melted > 5


def test_messages_and_hh_transcripts_give_equal_tokens():
    messages = turns(("user", "tell me about 17 and 4, and about rivers"))
    answers = (
        turns(("assistant", "it is 21.")),
        turns(("assistant", "rivers run to the sea"), ("user", "do they?"), ("assistant", "they do")),
    )
    assert contract().encode(messages, answers) == contract().encode(PROMPT, (RESPONSES[0], RESPONSES[2]))
    assert rendered(RoleTemplate(), messages, answers[1]) == PROMPT + RESPONSES[2]


@pytest.mark.parametrize("limit", [20, 25, 30, 64])
@pytest.mark.parametrize("beginning", ["", "<|pad|>"])
def test_the_system_turn_and_the_beginning_token_stay(limit, beginning):
    system, messages = (
        ("system", "be brief"),
        [("user", "a long story " * 9), ("assistant", "yes"), ("user", "and then")],
    )
    limited = contract(prompt=limit, template=RoleTemplate(beginning=beginning))
    answer = turns(("assistant", "it ran"))
    (tokens,) = limited.encode(turns(system, *messages), (answer,)).conversations
    start = ([0] if beginning else []) + ids("\n\nSystem: be brief")
    whole = ([0] if beginning else []) + ids(rendered(limited.template, turns(system, *messages), answer))
    assert tokens[: len(start)] == start
    answer_tokens = len(ids(" it ran")) + 1
    assert len(tokens) == limit + answer_tokens
    rest = len(tokens) - len(start)
    assert tokens[len(start) :] == [*whole, 1][-rest:]


def test_a_system_turn_longer_than_the_limit_is_an_error():
    messages = turns(("system", "be brief " * 20), ("user", "hello"))
    needed = len(ids("\n\nSystem: " + "be brief " * 20))
    with pytest.raises(RowError, match=rf"here: field 'prompt': system turn too long: found {needed} tokens"):
        contract(prompt=needed - 1).encode(messages, (turns(("assistant", "x")),), origin="here")
    assert contract(prompt=needed).encode(messages, (turns(("assistant", "x")),)).faults == (None,)


@pytest.mark.parametrize(
    ("prompt", "response", "message"),
    [
        (turns(("robot", "x")), turns(("assistant", "y")), "o: field 'prompt': unknown role: found 'robot'.*'user'"),
        (
            turns(("user", "x")),
            turns(("assistant", "y"), ("elf", "z")),
            r"responses\[0\]': unknown role: found 'elf'",
        ),
        (turns(("user", "x")), turns(("user", "y")), r"responses\[0\]': wrong role: found first role 'user'"),
        (turns(("user", "x")), (), r"responses\[0\]': wrong role: found no messages"),
        (turns(("user", "x")), "y", r"responses\[0\]': wrong type: found text; right would be messages"),
        ("x", turns(("assistant", "y")), r"responses\[0\]': wrong type: found messages; right would be text"),
    ],
)
def test_what_cannot_be_rendered_is_a_row_error(prompt, response, message):
    with pytest.raises(RowError, match=message):
        contract().encode(prompt, (response,), origin="o")


def test_one_faulty_group_leaves_its_neighbours_alone():
    groups = [
        TextGroup(PROMPT, RESPONSES[:2], "a"),
        TextGroup(turns(("robot", "x")), (turns(("assistant", "y")),) * 3, "b"),
        TextGroup(PROMPT, (" long" * 99, RESPONSES[0]), "c"),
    ]
    first, second, third = contract().encode_many(groups)
    assert first == contract().encode(PROMPT, RESPONSES[:2])
    assert [fault.kind for fault in second.faults] == ["unknown role"] * 3
    assert [fault and fault.kind for fault in third.faults] == ["response too long", None]
    assert third.conversations == ([], contract().encode(PROMPT, RESPONSES[:1]).conversations[0])


def test_a_template_is_plain_data():
    template = RoleTemplate(
        turns=(("user", "<u>", "</u>"), ("assistant", "<a>", "</a>")), generation_prompt="<a>", system_role="none"
    )
    special = SpecialTokens(end="</s>", pad="<pad>", beginning="<s>", read_in_text=True)
    jinja = JinjaTemplate(source="{{ bos_token }}", variables=(("bos_token", "<s>"),))
    for each in (template, RoleTemplate(), jinja):
        for tokens in (special, SpecialTokens()):
            assert text_from_json(text_to_json(each, tokens)) == (each, tokens)
    assert json.loads(text_to_json(RoleTemplate(), special))["roles"]["generation_prompt"] == "\n\nAssistant:"
    assert rendered(template, turns(("user", "q")), turns(("assistant", "r"))) == "<u>q</u><a>r</a>"
    with pytest.raises(ValueError, match="generation_prompt is 'x'; it must begin a turn of 'assistant'"):
        RoleTemplate(generation_prompt="x")
    with pytest.raises(ValueError, match="no token '<s>'"):
        contract(template=RoleTemplate(beginning="<s>"))


def test_a_contract_comes_from_the_config():
    made = TextContract.from_config(TextConfig(max_prompt_tokens=11, max_response_tokens=7), TOKENIZER)
    assert (made.max_prompt_tokens, made.max_response_tokens, made.template) == (11, 7, RoleTemplate())
