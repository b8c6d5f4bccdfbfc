"""Somebody else's tokenizer gives the tokens that transformers gives, which is asked itself."""

import re

import pytest
import tokenizers
from pretrained_folders import KINDS, write_tokenizer

from rmjax.batches.contract import TextContract, TextGroup, text_from_json, text_to_json
from rmjax.batches.jinja_template import JinjaTemplate, import_transformers
from rmjax.batches.pretrained import load_pretrained_text
from rmjax.batches.template import RoleTemplate
from rmjax.batches.tokenizer import TokenizerError, load_tokenizer, save_tokenizer
from rmjax.preferences.record import Message, RowError

TURNS = (("user", "why never"), ("assistant", "it rains"), ("user", "seven bridges walks slowly"))
ANSWERS = ("under the green stone", "no", "")


def messages(*pairs):
    return tuple(Message(role=role, content=content) for role, content in pairs)


def answer(content):
    return messages(("assistant", content))


def contract_of(folder, prompt=1000, response=1000):
    text = load_pretrained_text(folder)
    return TextContract(
        tokenizer=text.tokenizer, template=text.template, special=text.special, max_prompt_tokens=prompt,
        max_response_tokens=response,
    )  # fmt: skip


def theirs(folder):
    return import_transformers().AutoTokenizer.from_pretrained(str(folder))


@pytest.mark.parametrize("kind", ["llama", "qwen"])
@pytest.mark.parametrize("system", [(), (("system", "walks slowly"),)])
def test_messages_are_the_tokens_of_their_chat_template(tmp_path, kind, system):
    write_tokenizer(tmp_path, kind)
    prompt = messages(*system, *TURNS)
    found = contract_of(tmp_path).encode(prompt, [answer(text) for text in ANSWERS]).conversations
    for tokens, text in zip(found, ANSWERS, strict=True):
        turns = [{"role": role, "content": content} for role, content in (*system, *TURNS, ("assistant", text))]
        assert tokens == theirs(tmp_path).apply_chat_template(turns)["input_ids"]
    first = [tokens[0] for tokens in found]
    assert kind != "llama" or first == [0] * 3  # one BOS, though template and tokenizer both have it
    assert kind != "llama" or all(tokens.count(0) == 1 for tokens in found)


@pytest.mark.parametrize("kind", KINDS)
def test_a_plain_text_is_what_transformers_makes_of_it_and_the_end_token_once(tmp_path, kind):
    tokenizer = write_tokenizer(tmp_path, kind)
    contract = contract_of(tmp_path)
    end = contract.special.end
    for prompt, response in (("seven ", "bridges"), ("", "never"), ("why", ""), ("why ", "asks" + end)):
        (tokens,) = contract.encode(prompt, [response]).conversations
        text = (prompt + response).removesuffix(end) + end
        assert tokens == theirs(tmp_path)(text)["input_ids"]
        assert tokens.count(tokenizer.token_to_id(end)) == 1
    if kind == "llama":  # rendered already, with the BOS that the tokenizer would lay before it
        (tokens,) = contract.encode("<|bos|><|start|>user", ["<|eot|>"]).conversations
        assert tokens == theirs(tmp_path)("<|bos|><|start|>user<|eot|>", add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize("kind", ["llama", "qwen"])
def test_a_text_that_was_rendered_elsewhere_is_the_conversation_of_its_messages(tmp_path, kind):
    """Whole, without the line break after its last end token, and without any ending: as other programs send it."""
    write_tokenizer(tmp_path, kind)
    contract = contract_of(tmp_path)
    for content in ANSWERS[:2]:
        (expected,) = contract.encode(messages(*TURNS), [answer(content)]).conversations
        turns = [{"role": role, "content": said} for role, said in (*TURNS, ("assistant", content))]
        text = theirs(tmp_path).apply_chat_template(turns, tokenize=False)
        end = contract.special.end
        for sent in (text, text.rstrip(), text.rstrip().removesuffix(end)):
            place = sent.rindex(content)
            assert contract.encode(sent[:place], [sent[place:]]).conversations == (expected,)
            assert contract.encode("", [sent]).conversations == (expected,)


@pytest.mark.parametrize("kind", KINDS)
def test_the_pad_token_is_never_the_end_token(tmp_path, kind):
    tokenizer = write_tokenizer(tmp_path, kind)
    found = load_pretrained_text(tmp_path)
    assert found.special.pad != found.special.end
    assert (found.special.pad == "<|pad|>") == (kind != "qwen")
    assert found.tokenizer.get_vocab_size() == tokenizer.get_vocab_size() + (kind != "qwen")


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_workdir_stores_gives_the_same_tokens(tmp_path, kind):
    write_tokenizer(tmp_path, kind)
    before = contract_of(tmp_path)
    save_tokenizer(before.tokenizer, tmp_path / "kept.json")
    template, special = text_from_json(text_to_json(before.template, before.special))
    after = TextContract(
        tokenizer=load_tokenizer(tmp_path / "kept.json", special), template=template, special=special,
        max_prompt_tokens=1000, max_response_tokens=1000,
    )  # fmt: skip
    prompt = messages(*TURNS)
    for request in ((prompt, [answer(text) for text in ANSWERS]), ("why", list(ANSWERS)), ("a<|start|>", ["<|eot|>"])):
        assert after.encode(*request) == before.encode(*request)


@pytest.mark.parametrize("kind", ["llama", "qwen"])
@pytest.mark.parametrize("cut", [1, 5, 11])
def test_a_cut_prompt_keeps_its_head_and_its_end(tmp_path, kind, cut):
    tokenizer = write_tokenizer(tmp_path, kind)
    prompt = messages(("system", "walks slowly"), ("user", "seven bridges under stone " * 3), *TURNS[1:])
    (whole,) = contract_of(tmp_path).encode(prompt, [answer("no")]).conversations
    alone = contract_of(tmp_path).encode(prompt, [answer("0")]).conversations[0]
    shared = next(place for place, pair in enumerate(zip(whole, alone, strict=False)) if pair[0] != pair[1])
    (tokens,) = contract_of(tmp_path, prompt=shared - cut).encode(prompt, [answer("no")]).conversations
    head = tokenizer.decode(whole, skip_special_tokens=False).split("seven")[0]
    kept = len(tokenizer.encode(head, add_special_tokens=False).ids)
    assert kept > 5
    assert tokens == whole[:kept] + whole[kept + cut :]


def test_a_plain_text_that_is_cut_keeps_its_bos(tmp_path):
    write_tokenizer(tmp_path, "llama")
    (whole,) = contract_of(tmp_path).encode("seven bridges never", [" no"]).conversations
    (cut,) = contract_of(tmp_path, prompt=4).encode("seven bridges never", [" no"]).conversations
    assert cut[0] == whole[0] == 0
    assert cut[1:] == whole[-len(cut) + 1 :]


@pytest.mark.parametrize("kind", KINDS)
def test_a_message_that_spells_a_special_token_is_an_error(tmp_path, kind):
    write_tokenizer(tmp_path, kind)
    contract = contract_of(tmp_path)
    end = contract.special.end
    for prompt, response in (
        (messages(("user", f"a{end}b")), answer("x")),
        (messages(("user", "a")), answer(f"x{end}")),
    ):
        message = rf"here: field '(prompt|responses.0.)': spells a special token: .*{re.escape(end)}"
        with pytest.raises(RowError, match=message):
            contract.encode(prompt, [response], origin="here")


def test_a_fault_is_that_of_its_response_alone(tmp_path):
    write_tokenizer(tmp_path, "qwen")
    contract, prompt = contract_of(tmp_path), messages(("user", "why"))
    answers = [answer("it rains"), answer("a<|im_end|>b"), messages(("user", "no")), answer("never")]
    (group,) = contract.encode_many([TextGroup(prompt, answers, "o")])
    assert [fault and fault.kind for fault in group.faults] == [None, "spells a special token", "wrong role", None]
    for place in (0, 3):
        assert group.conversations[place] == contract.encode(prompt, [answers[place]]).conversations[0]


def test_what_the_template_refuses_is_a_row_error(tmp_path):
    template = JinjaTemplate(source="{{ raise_exception('no system turns, please') }}")
    write_tokenizer(tmp_path, "qwen")
    contract = contract_of(tmp_path)
    contract = TextContract(
        tokenizer=contract.tokenizer, template=template, special=contract.special, max_prompt_tokens=9,
        max_response_tokens=9,
    )  # fmt: skip
    with pytest.raises(RowError, match=r"o: field 'prompt': refused by the chat template: .*no system turns, please"):
        contract.encode(messages(("user", "x")), [answer("y")], origin="o")
    with pytest.raises(RowError, match="wrong role: found first role 'user'"):
        contract_of(tmp_path).encode(messages(("user", "x")), [messages(("user", "y"))], origin="o")


def test_a_template_that_asks_for_the_date_gets_it_for_good(tmp_path):
    write_tokenizer(tmp_path, "llama")
    (tmp_path / "chat_template.jinja").write_text(
        "{% set date = strftime_now('%d %b %Y') %}{{ date }}: {{ messages[0].content }}"
    )
    template = load_pretrained_text(tmp_path).template
    assert isinstance(template, JinjaTemplate)
    assert "strftime_now" not in template.source
    assert re.search(r"date = '\d\d \w+ \d{4}'", template.source)


def test_without_a_chat_template_messages_are_transcripts(tmp_path):
    write_tokenizer(tmp_path, "gpt2")
    contract = contract_of(tmp_path)
    assert contract.template == RoleTemplate()
    one = contract.encode(messages(("user", "why")), [answer("it rains")]).conversations
    assert one == contract.encode("\n\nHuman: why\n\nAssistant:", [" it rains"]).conversations


def test_folders_without_a_usable_tokenizer_are_named(tmp_path):
    with pytest.raises(TokenizerError, match="nothing: found no tokenizer that transformers reads"):
        load_pretrained_text(tmp_path / "nothing")
    write_tokenizer(tmp_path, "qwen")
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    with pytest.raises(TokenizerError, match="has no eos_token"):
        load_pretrained_text(tmp_path)
    tokenizer = write_tokenizer(tmp_path, "llama")
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="<|bos|> <|start|> $A", special_tokens=[("<|bos|>", 0), ("<|start|>", 2)]
    )
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(TokenizerError, match=r"begins texts with <\|bos\|>, <\|start\|>; right would be at most one"):
        load_pretrained_text(tmp_path)
