"""Records go into TFDS examples, through prepared files and back unchanged, without TensorFlow."""

import dataclasses
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds

from rmjax.datasets import preferences_builder
from rmjax.preferences.record import Comparison, Message, Preference, Side, Source, Strength


def random_preference(seed: int) -> Preference:
    """A record whose numbers are float32, with 2 to 5 responses and text of any alphabet."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(2, 6))

    def number() -> float:
        return float(np.float32(rng.random()))

    known = bool(seed % 2)
    comparisons = tuple(
        Comparison(
            left=left,
            right=right,
            probability=number(),
            margin=-number(),
            weight=number(),
            annotator="é" if known else None,
            true_probability=number() if known else None,
        )
        for left in range(count)
        for right in range(left + 1, count)
    )
    return Preference(
        prompt=f"Frage {seed}: naïve 漢字?",
        responses=(*(f"answer {seed} {index}" for index in range(count - 1)), ""),
        comparisons=comparisons,
        dimension="helpfulness",
        source=list(Source)[seed % len(Source)],
        utilities=tuple(number() for _ in range(count)) if known else None,
        origin=str(seed),
    )


class ProbePreferences(preferences_builder.PreferencesBuilder):
    """Twenty records of mixed shapes."""

    VERSION = tfds.core.Version("1.0.0")
    description = "Records of mixed shapes."

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(random_preference(seed) for seed in range(20))}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    builder = ProbePreferences(data_dir=tmp_path_factory.mktemp("tfds"))
    builder.download_and_prepare()
    return builder


def test_records_come_back_equal_from_prepared_files(prepared):
    source = prepared.as_data_source(split="train")
    found = {}
    for example in source:
        record = preferences_builder.from_example(example, origin="")
        found[record.prompt] = record
    assert len(source) == len(found) == 20
    for seed in range(20):
        wanted = random_preference(seed)
        record = found[wanted.prompt]
        assert preferences_builder.to_example(record) | {"comparisons": ()} == preferences_builder.to_example(
            wanted
        ) | {"comparisons": ()}
        assert record.comparisons == wanted.comparisons
        assert record.utilities == wanted.utilities
        assert record.source is wanted.source


def test_slices_are_parts_of_the_split(prepared):
    whole = [example["prompt"] for example in prepared.as_data_source(split="train")]
    assert [example["prompt"] for example in prepared.as_data_source(split="train[5:9]")] == whole[5:9]
    assert [example["prompt"] for example in prepared.as_data_source(split="train[50%:]")] == whole[10:]


def test_a_second_builder_finds_what_the_first_prepared(prepared):
    data_dir = prepared.data_path.parent.parent
    again = tfds.data_source("probe_preferences", data_dir=data_dir, split="train", download=False)
    assert len(again) == 20
    assert prepared.info.file_format is tfds.core.FileFormat.ARRAY_RECORD


def test_numbers_are_rounded_to_float32_and_no_further():
    record = random_preference(1)
    features = preferences_builder.preference_features()
    stored = features.deserialize_example_np(
        features.serialize_example(
            preferences_builder.to_example(
                Preference(
                    prompt="p",
                    responses=("a", "b"),
                    comparisons=(Comparison(left=0, right=1, probability=0.1),),
                    dimension=record.dimension,
                    source=record.source,
                    utilities=(1 / 3, -2 / 3),
                )
            )
        )
    )
    back = preferences_builder.from_example(stored, origin="here")
    assert back.utilities == (float(np.float32(1 / 3)), float(np.float32(-2 / 3)))
    assert back.comparisons[0].probability == float(np.float32(0.1))
    assert back.origin == "here"


def test_messages_are_refused_by_name():
    record = Preference(
        prompt=(Message(role="user", content="hello"),),
        responses=((Message(role="assistant", content="a"),), (Message(role="assistant", content="b"),)),
        comparisons=(Comparison(left=0, right=1),),
        dimension="helpfulness",
        source=Source.HUMAN,
        origin="rows.jsonl, line 3",
    )
    with pytest.raises(TypeError, match=r"rows.jsonl, line 3: .*plain texts.*tuple"):
        preferences_builder.to_example(record)


def test_a_check_of_attention_is_refused():
    record = dataclasses.replace(random_preference(0), known_answer=Side.LEFT)
    with pytest.raises(TypeError, match="no known_answer; found left"):
        preferences_builder.to_example(record)


@pytest.mark.parametrize(
    "more", [{"strength": Strength.MUCH}, {"shown_first": Side.LEFT}, {"seconds": 2.0}, {"judged_at": "2026-01-31"}]
)
def test_what_has_no_place_is_refused_and_not_lost(more):
    record = random_preference(0)
    record = dataclasses.replace(record, comparisons=(dataclasses.replace(record.comparisons[0], **more),))
    with pytest.raises(TypeError, match=next(iter(more))):
        preferences_builder.to_example(record)


def test_tensorflow_is_not_imported(prepared):
    assert "tensorflow" not in sys.modules
