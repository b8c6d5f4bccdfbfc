"""What the TFDS builders of preferences share: their features, and the way from a record to an example and back.

Nothing here needs TensorFlow. Examples are stored as array_record files, which ``as_data_source`` reads at random.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from rmjax.preferences.record import Comparison, Preference, Source

FLOAT_FIELDS = ("probability", "margin", "weight", "true_probability")


def preference_features() -> tfds.features.FeaturesDict:
    """The features of one record.

    TFDS serializes every real number as float32, so probabilities, margins, weights and utilities are rounded to it;
    the features say so. What is unknown is NaN (``true_probability``), "" (``annotator``) or empty (``utilities``).
    """
    comparison = {
        "left": np.int32,
        "right": np.int32,
        **dict.fromkeys(FLOAT_FIELDS, np.float32),
        "annotator": tfds.features.Text(),
    }
    return tfds.features.FeaturesDict(
        {
            "prompt": tfds.features.Text(),
            "responses": tfds.features.Sequence(tfds.features.Text()),
            "comparisons": tfds.features.Sequence(comparison),
            "utilities": tfds.features.Sequence(np.float32),
            "dimension": tfds.features.Text(),
            "source": tfds.features.Text(),
        }
    )


def to_example(preference: Preference) -> dict[str, Any]:
    """The example of a record whose prompt and responses are plain texts.

    The id is left out. TypeError for messages, for a check of attention, and for a judgment of which more is known than
    the features have a place for.
    """
    for text in (preference.prompt, *preference.responses):
        if not isinstance(text, str):
            raise TypeError(f"{preference.origin}: TFDS examples hold plain texts; found a {type(text).__name__}")
    if preference.known_answer is not None:
        raise TypeError(
            f"{preference.origin}: TFDS examples hold no known_answer; found {preference.known_answer.value}"
        )
    for comparison in preference.comparisons:
        unplaced = (comparison.strength, comparison.shown_first, comparison.seconds, comparison.judged_at)
        if unplaced != (None,) * len(unplaced):
            raise TypeError(
                f"{preference.origin}: TFDS examples hold no strength, shown_first, seconds and judged_at of a "
                f"comparison; found {unplaced}"
            )
    return {
        "prompt": preference.prompt,
        "responses": list(preference.responses),
        "comparisons": [_comparison_to_example(comparison) for comparison in preference.comparisons],
        "utilities": list(preference.utilities or ()),
        "dimension": preference.dimension,
        "source": preference.source.value,
    }


def _comparison_to_example(comparison: Comparison) -> dict[str, Any]:
    unknown = comparison.true_probability is None
    return {
        "left": comparison.left,
        "right": comparison.right,
        "probability": comparison.probability,
        "margin": comparison.margin,
        "weight": comparison.weight,
        "true_probability": math.nan if unknown else comparison.true_probability,
        "annotator": comparison.annotator or "",
    }


def from_example(example: Mapping[str, Any], origin: str) -> Preference:
    """The record of an example that a data source gave; texts come as bytes, numbers as NumPy scalars."""
    return Preference(
        prompt=_text(example["prompt"]),
        responses=tuple(_text(response) for response in example["responses"]),
        comparisons=tuple(_comparisons_from_example(example["comparisons"])),
        dimension=_text(example["dimension"]),
        source=Source(_text(example["source"])),
        utilities=tuple(float(utility) for utility in example["utilities"]) or None,
        origin=origin,
    )


def _comparisons_from_example(columns: Mapping[str, Any]) -> Iterator[Comparison]:
    """TFDS turns a sequence of dicts into a dict of sequences; this turns it back."""
    for index in range(len(columns["left"])):
        numbers: dict[str, float | None] = {name: float(columns[name][index]) for name in FLOAT_FIELDS}
        if np.isnan(columns["true_probability"][index]):
            numbers["true_probability"] = None
        yield Comparison(
            left=int(columns["left"][index]),
            right=int(columns["right"][index]),
            annotator=_text(columns["annotator"][index]) or None,
            **numbers,  # pyright: ignore[reportArgumentType] only true_probability is ever None
        )


def _text(value: bytes | str) -> str:
    return value.decode("utf-8") if isinstance(value, bytes) else value


class PreferencesBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """A TFDS builder of preferences: array_record by default, because TFDS's own default needs TensorFlow.

    A subclass gives VERSION, BUILDER_CONFIGS, ``description`` and ``_split_generators``, which returns for each split
    what ``self._generate_examples(preferences)`` makes.
    """

    description: str

    def __init__(self, *, file_format: str | tfds.core.FileFormat | None = None, **kwargs: Any):
        super().__init__(file_format=file_format or "array_record", **kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(builder=self, description=self.description, features=preference_features())

    def _generate_examples(self, preferences: Iterable[Preference]) -> Iterator[tuple[str, dict[str, Any]]]:
        """(key, example) for each record, keyed by its place, by which TFDS shuffles the records of a split."""
        for index, preference in enumerate(preferences):
            yield f"{index:09d}", to_example(preference)
