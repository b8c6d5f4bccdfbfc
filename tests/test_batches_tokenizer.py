import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import tokenizers
from tokenizers import models

from rmjax.batches.tokenizer import (
    TokenizerError,
    load_tokenizer,
    save_tokenizer,
    train_tokenizer,
    vocabulary_size_of,
)

TEXTS = [
    f"\n\nHuman: what is {n} plus {n + 1}?\n\nAssistant: it is {2 * n + 1}, of course. Ünïcode 試 {n}"
    for n in range(300)
]


def test_pad_end_and_bytes_come_first_and_any_text_comes_back():
    tokenizer = train_tokenizer(TEXTS, 400)
    assert tokenizer.token_to_id("<|pad|>") == 0
    assert tokenizer.token_to_id("<|end|>") == 1
    assert tokenizer.get_vocab_size() == 400
    for text in (*TEXTS[:3], " leading", "trailing \n", "🜁 never seen \x00\x7f", ""):
        assert tokenizer.decode(tokenizer.encode(text).ids) == text


@pytest.mark.parametrize("gap", [0, 1, 50])
def test_the_vocabulary_reaches_to_the_largest_token_whatever_ids_are_left_out(gap, tmp_path):
    stored = json.loads(train_tokenizer(TEXTS, 300).to_str())
    last = max(stored["model"]["vocab"], key=stored["model"]["vocab"].get)
    stored["model"]["vocab"][last] += gap
    (tmp_path / "tokenizer.json").write_text(json.dumps(stored))
    tokenizer = load_tokenizer(tmp_path / "tokenizer.json")
    assert tokenizer.get_vocab_size() == 300
    assert vocabulary_size_of(tokenizer) == tokenizer.token_to_id(last) + 1 == 300 + gap


@pytest.mark.parametrize("text", ["<|end|>", "a <|end|> b", "<|pad|>", "x<|end|><|pad|>"])
def test_text_that_spells_a_special_token_stays_text(text, tmp_path):
    tokenizer = train_tokenizer(TEXTS, 300)
    save_tokenizer(tokenizer, tmp_path / "tokenizer.json")
    for each in (tokenizer, load_tokenizer(tmp_path / "tokenizer.json")):
        ids = each.encode(text, add_special_tokens=False).ids
        assert not {0, 1} & set(ids)
        assert each.decode(ids) == text


def test_a_saved_tokenizer_loads_back_equal(tmp_path):
    tokenizer = train_tokenizer(TEXTS, 350)
    save_tokenizer(tokenizer, tmp_path / "deep" / "tokenizer.json")
    loaded = load_tokenizer(tmp_path / "deep" / "tokenizer.json")
    assert loaded.to_str() == tokenizer.to_str()
    assert [loaded.encode(text).ids for text in TEXTS] == [tokenizer.encode(text).ids for text in TEXTS]
    save_tokenizer(loaded, tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "deep" / "tokenizer.json").read_bytes()


def test_training_does_not_depend_on_the_number_of_threads():
    code = (
        "import hashlib\n"
        "from rmjax.batches.tokenizer import train_tokenizer\n"
        "texts = [f'word{n % 97} and{n % 31}more {n * n % 1009}' for n in range(5000)]\n"
        "print(hashlib.sha256(train_tokenizer(texts, 700).to_str().encode()).hexdigest())"
    )
    found = set()
    for threads in ("1", "2", "7"):
        environment = {**os.environ, "RAYON_NUM_THREADS": threads}
        result = subprocess.run(
            [sys.executable, "-c", code],
            cwd=Path(__file__).parents[1],
            env=environment,
            capture_output=True,
            check=True,
        )
        found.add(result.stdout)
    assert len(found) == 1


def test_a_limit_or_padding_in_the_file_does_not_cut_texts(tmp_path):
    tokenizer = train_tokenizer(TEXTS, 300)
    length = len(tokenizer.encode(TEXTS[0]).ids)
    tokenizer.enable_truncation(5)
    tokenizer.enable_padding(length=1000)
    save_tokenizer(tokenizer, tmp_path / "tokenizer.json")
    assert len(load_tokenizer(tmp_path / "tokenizer.json").encode(TEXTS[0]).ids) == length


def test_files_that_cannot_be_used_are_named(tmp_path):
    file = tmp_path / "tokenizer.json"
    with pytest.raises(TokenizerError, match=f"{re.escape(str(file))}: no such tokenizer file"):
        load_tokenizer(file)
    file.write_text('{"not": "a tokenizer"}')
    with pytest.raises(TokenizerError, match=f"{re.escape(str(file))}: found no tokenizer"):
        load_tokenizer(file)
    file.write_bytes(b"\xff\xfe{}")
    with pytest.raises(TokenizerError, match=f"{re.escape(str(file))}: found bytes that are not UTF-8"):
        load_tokenizer(file)
    bare = tokenizers.Tokenizer(models.BPE())
    for tokens, message in (([], "'<|pad|>'"), (["<|pad|>"], "'<|end|>'")):
        bare.add_special_tokens(tokens)
        file.write_text(bare.to_str())
        with pytest.raises(TokenizerError, match=f"found no token {re.escape(message)}"):
            load_tokenizer(file)
    ordinary = tokenizers.Tokenizer(models.BPE())
    ordinary.add_tokens(["<|pad|>", "<|end|>"])
    file.write_text(ordinary.to_str())
    with pytest.raises(TokenizerError, match="is an ordinary token"):
        load_tokenizer(file)
    with pytest.raises(ValueError, match="at least 258"):
        train_tokenizer(TEXTS, 257)
