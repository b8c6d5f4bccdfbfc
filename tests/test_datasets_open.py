"""Opening data specs: what they name, and what is said when they name nothing."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds

from rmjax.config import DataConfig, OnError
from rmjax.datasets.open import open_many, open_preferences
from rmjax.datasets.preferences_builder import PreferencesBuilder
from rmjax.datasets.prepare import prepare
from rmjax.datasets.spec import DatasetSpec, DataSpecError, FileSpec, parse_spec
from rmjax.datasets.stored import decode
from rmjax.preferences.record import Comparison, Preference, RowError, Source

PAIRS = [{"prompt": f"question {number}", "chosen": "short", "rejected": "rather long"} for number in range(6)]


class TinyPairs(tfds.core.GeneratorBasedBuilder):
    """Somebody's data set, with the fields of a row form; config ``spoiled`` holds bytes that aren't UTF-8."""

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = tuple(tfds.core.BuilderConfig(name=name) for name in ("sound", "spoiled", "nested"))

    def _info(self):
        text = tfds.features.Text()
        turn = tfds.features.Sequence({"role": text, "content": text})
        kind = turn if self.builder_config.name == "nested" else text
        features = tfds.features.FeaturesDict({"prompt": kind, "chosen": kind, "rejected": kind, "margin": np.float32})
        return tfds.core.DatasetInfo(builder=self, features=features, disable_shuffling=True)

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for number in range(8):
            row = {"prompt": f"frage {number} ß", "chosen": "ja", "rejected": "nein"}
            if self.builder_config.name == "nested":
                row = {name: [{"role": "user" if name == "prompt" else "assistant", "content": text}]
                       for name, text in row.items()}  # fmt: skip
            if self.builder_config.name == "spoiled" and number == 3:
                row["chosen"] = b"\xff\xfe"
            yield number, {**row, "margin": 0.5}


class TinyRecords(PreferencesBuilder):
    """Records of every kind of field."""

    VERSION = tfds.core.Version("1.0.0")
    description = "tiny"

    def _split_generators(self, dl_manager):
        train, test = map(record, range(10)), [record(10)]
        return {"train": self._generate_examples(train), "test": self._generate_examples(test)}


def record(number: int) -> Preference:
    return Preference(
        prompt="" if number == 1 else f"prompt {number} – é",
        responses=tuple("x" * length for length in range(number % 3 + 2)),
        comparisons=tuple(
            Comparison(
                left=left,
                right=left + 1,
                probability=0.25 * (number % 5),
                margin=-0.5 * left,
                annotator="mia" if left else None,
                true_probability=0.5 if left else None,
            )
            for left in range(number % 3 + 1)
        ),
        dimension="helpfulness",
        source=Source.SIMULATED,
        utilities=tuple(float(length) for length in range(number % 3 + 2)) if number % 2 else None,
    )


@pytest.fixture
def data(tmp_path) -> DataConfig:
    return DataConfig(data_dir=str(tmp_path / "prepared"))


@pytest.fixture
def pairs(tmp_path) -> Path:
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in PAIRS))
    return path


def opened(spec: str, data: DataConfig):
    return open_preferences(spec, data, dimension="helpfulness")


@pytest.mark.parametrize(
    ("text", "path", "labeler"),
    [
        ("pairs.jsonl", "pairs.jsonl", None),
        ("pairs.jsonl.gz@brevity", "pairs.jsonl.gz", "brevity"),
        ("a@b/pairs.json", "a@b/pairs.json", None),
        ("me@home.jsonl", "me@home.jsonl", None),
        ("a@b/c:d.parquet@brevity", "a@b/c:d.parquet", "brevity"),
        ("gs://bucket/x/*.jsonl@my-labeler", "gs://bucket/x/*.jsonl", "my-labeler"),
        ("x/*/annotations.json.gz", "x/*/annotations.json.gz", None),
        ("synthetic/helpfulness:train.jsonl", "synthetic/helpfulness:train.jsonl", None),
    ],
)
def test_specs_of_files(text, path, labeler):
    assert parse_spec(text) == FileSpec(text=text, path=path, labeler=labeler)


@pytest.mark.parametrize(
    ("text", "name", "config", "split", "labeler"),
    [
        ("hh_rlhf/helpful-base:train", "hh_rlhf", "helpful-base", "train", None),
        ("hh_rlhf/helpful-base:test@brevity", "hh_rlhf", "helpful-base", "test", "brevity"),
        ("synthetic/a.b:train[:10%]+test[5:]@brevity", "synthetic", "a.b", "train[:10%]+test[5:]", "brevity"),
        ("imdb:train", "imdb", None, "train", None),
    ],
)
def test_specs_of_data_sets(text, name, config, split, labeler):
    assert parse_spec(text) == DatasetSpec(text=text, name=name, config=config, split=split, labeler=labeler)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("", "neither a data set nor a file"),
        ("@brevity", "neither a data set nor a file"),
        ("synthetic/helpfulness", "names no split.*synthetic/helpfulness:train"),
        ("synthetic/helpfulness:", "names no split.*synthetic/helpfulness:train"),
        ("../data/*", r"neither.*\.jsonl\.gz"),
        ("nothing_like_it:train", "no data set is called 'nothing_like_it'.*hh_rlhf, synthetic"),
        ("hh_rlhf/helpful:train", "no config 'helpful'.*hh_rlhf/helpful-base:train or .*hh_rlhf/harmless-base:train"),
        ("hh_rlhf:train", "names no config.*hh_rlhf/helpful-base:train"),
        ("tiny_records/large:train", "no config 'large'.*right would be tiny_records:train"),
        ("tiny_records:training", r"'training'.*train \(10 records\), test \(1 records\)"),
        ("tiny_records:train[5:5]", r"empty part.*train \(10 records\)"),
        ("tiny_records:train[:1%]", r"empty part"),
        ("tiny_records:test+train[8:3]", "empty part"),
        ("tiny_records:train[x]", r"'train\[x\]'.*such as train\[:10%\]"),
        ("tiny_records:train[:100]", r"'train\[:100\]'"),
        ("tiny_records:train@nobody", "nobody"),
    ],
)
def test_what_is_said_of_specs_that_name_nothing(spec, said, data):
    with pytest.raises(ValueError, match=said) as caught:
        opened(spec, data)
    assert spec.split("@")[-1] in str(caught.value)


def test_folder_and_unknown_suffix(tmp_path, data):
    (tmp_path / "pairs.csv").write_text("a,b\n")
    with pytest.raises(DataSpecError, match=r"is a folder.*/\*\.jsonl"):
        opened(str(tmp_path), data)
    with pytest.raises(DataSpecError, match=r"suffix.*pairs\.csv.*\.parquet"):
        opened(str(tmp_path / "pairs.csv"), data)


@pytest.mark.parametrize("name", ["nothing.jsonl", "*.parquet", "none@here.json"])
def test_missing_file_is_named(name, tmp_path, data):
    with pytest.raises(ValueError, match=name.replace("*", r"\*")):
        opened(str(tmp_path / name), data)


def test_data_dir_that_cannot_be_written_is_named(pairs):
    with pytest.raises(ValueError, match=r"tiny_records.*pairs\.jsonl/below.*data_dir"):
        opened("tiny_records:train", DataConfig(data_dir=str(pairs / "below")))


def test_file_with_defaults(pairs, data):
    found = open_preferences(str(pairs), data, dimension="clarity")
    assert (found.spec, len(found), found.skipped.total()) == (str(pairs), 6, 0)
    assert {(entry.dimension, entry.source) for entry in found} == {("clarity", Source.HUMAN)}


def test_paths_with_at_signs_and_colons(tmp_path, pairs, data):
    odd = tmp_path / "a@b" / "c:d@home.jsonl"
    odd.parent.mkdir()
    odd.write_bytes(pairs.read_bytes())
    assert opened(str(odd), data).preferences == opened(str(pairs), data).preferences
    assert opened(f"{odd}@brevity", data).preferences == opened(f"{pairs}@brevity", data).preferences


def test_labeler_judges_the_same_pairs_again(pairs, data):
    rows = [*PAIRS, {"prompt": "q", "chosen": "the longer one", "rejected": "brief"}]
    pairs.write_text("".join(json.dumps(row) + "\n" for row in rows))
    before, after = opened(str(pairs), data), opened(f"{pairs}@brevity", data)
    assert [(entry.prompt, entry.responses) for entry in after] == [(entry.prompt, entry.responses) for entry in before]
    assert {(entry.dimension, entry.source) for entry in after} == {("brevity", Source.RULE)}
    for entry in after:
        (comparison,) = entry.comparisons
        lengths = [len(entry.responses[side]) for side in (comparison.left, comparison.right)]
        assert comparison.probability == float(lengths[0] < lengths[1])
    assert {entry.comparisons[0].probability for entry in after} == {0.0, 1.0}


def test_merge_goes_over_all_files_of_a_spec(tmp_path, data):
    for name, rejected in (("a", "one"), ("b", "two")):
        rows = [{"prompt": f"q{number}", "chosen": "best", "rejected": rejected} for number in range(3)]
        with gzip.open(tmp_path / f"{name}.jsonl.gz", "wt") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)
    spec = f"{tmp_path}/*.jsonl.gz"
    assert [len(entry.responses) for entry in opened(spec, data)] == [2] * 6
    data.merge_prompts = True
    assert [len(entry.responses) for entry in opened(spec, data)] == [3] * 3
    assert sum(len(entry.comparisons) for entry in opened(f"{spec}@brevity", data)) == 6


def test_open_many_keeps_the_order(pairs, data):
    specs = (str(pairs), "tiny_records:test", f"{pairs}@brevity")
    assert tuple(found.spec for found in open_many(specs, data, dimension="x")) == specs


def test_records_come_back(data):
    found = opened("tiny_records:train", data)
    expected = {record(number) for number in range(10)}
    assert len(found) == 10
    assert set(found.preferences) == expected
    both = opened("tiny_records:train[2:5]+test", data)
    assert both.preferences == (*found.preferences[2:5], record(10))
    assert [entry.origin for entry in both] == [f"tiny_records:train, record {i}" for i in (2, 3, 4)] + [
        "tiny_records:test, record 0"
    ]


def test_decoding_is_that_of_tfds(data):
    builder = prepare(lambda: TinyRecords(data_dir=data.data_dir))
    source = builder.as_data_source("train")
    for index in range(len(source)):
        quick, general = decode(source.data_source[index]), source[index]
        assert quick.keys() == general.keys()
        for name, value in general.items():
            if isinstance(value, dict):
                assert value.keys() == quick[name].keys()
                for column, entries in value.items():
                    assert_same(quick[name][column], entries)
            else:
                assert_same(quick[name], value)


def assert_same(quick, general):
    dtype = general.dtype if isinstance(general, np.ndarray) else None
    np.testing.assert_array_equal(np.asarray(quick, dtype), np.asarray(general))


@pytest.mark.parametrize("config", ["sound", "nested"])
def test_any_tfds_data_set_of_a_row_form(config, data):
    found = opened(f"tiny_pairs/{config}:train[2:]", data)
    assert len(found) == 6
    first = found.preferences[0]
    prompt = first.prompt if isinstance(first.prompt, str) else first.prompt[0].content
    assert prompt == "frage 2 ß"
    assert (first.dimension, first.source, first.comparisons[0].margin) == ("helpfulness", Source.HUMAN, 0.5)
    assert first.origin == f"tiny_pairs/{config}:train, record 2"


@pytest.mark.parametrize("on_error", list(OnError))
def test_spoiled_text_is_an_error_unless_skipped(on_error, data):
    data.on_error = on_error
    if on_error is OnError.SKIP:
        found = opened("tiny_pairs/spoiled:train", data)
        assert (len(found), found.skipped.total()) == (7, 1)
    else:
        with pytest.raises(RowError, match=r"tiny_pairs/spoiled:train, record 3: field 'chosen': invalid UTF-8"):
            opened("tiny_pairs/spoiled:train", data)


def test_nothing_usable_is_an_error(tmp_path, data):
    data.on_error = OnError.SKIP
    (tmp_path / "bad.jsonl").write_text("{}\n{}\n")
    with pytest.raises(ValueError, match="bad"):
        opened(str(tmp_path / "bad.jsonl"), data)


@pytest.mark.parametrize("damage", ["gone", "cut", "empty", "zeros"])
def test_damaged_records_are_an_error(damage, data):
    opened("tiny_records:train", data)
    (file,) = Path(str(data.data_dir)).rglob("tiny_records-train*")
    content = file.read_bytes()
    file.unlink()
    if damage != "gone":
        file.write_bytes({"cut": content[: len(content) // 2], "empty": b"", "zeros": bytes(len(content))}[damage])
    with pytest.raises(
        DataSpecError, match=r"'tiny_records:train'.*10 records; delete the folder.*tiny_records/1\.0\.0"
    ):
        opened("tiny_records:train", data)


@pytest.mark.parametrize("missing", ["dataset_info.json", "features.json"])
def test_incomplete_folder_is_an_error(missing, data):
    opened("tiny_records:train", data)
    (file,) = Path(str(data.data_dir)).rglob(missing)
    file.unlink()
    with pytest.raises(ValueError, match=r"tiny_records/1\.0\.0 exists but holds no complete data set; delete it"):
        opened("tiny_records:train", data)
