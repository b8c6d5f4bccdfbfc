"""Opening data specs: from the text of a command to preferences."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

import tensorflow_datasets as tfds
from absl import logging
from etils import epath

from rmjax.config import DataConfig, OnError
from rmjax.datasets.examples import parse_examples
from rmjax.datasets.hh_rlhf import HhRlhf, SkippedRow
from rmjax.datasets.preferences_builder import PreferencesBuilder, from_example
from rmjax.datasets.prepare import folder_for_manual, prepare
from rmjax.datasets.spec import DatasetSpec, DataSpecError, FileSpec, parse_spec
from rmjax.datasets.stored import decode, places, serialized_examples
from rmjax.datasets.synthetic import Synthetic
from rmjax.files import check_bucket
from rmjax.labeling.labeler import Labeler, find_labeler
from rmjax.preferences.groups import RowDefaults
from rmjax.preferences.merge import merge_prompts, merge_sets
from rmjax.preferences.read import read_preferences
from rmjax.preferences.record import Preference, PreferenceSet, RowError, Source
from rmjax.preferences.transcripts import as_messages

OWN_BUILDERS = (HhRlhf, Synthetic)


def open_many(specs: Iterable[str], data: DataConfig, *, dimension: str) -> tuple[PreferenceSet, ...]:
    """Opens each spec, in order; see ``open_preferences``.

    Where ``data.merge_prompts`` says so, rows of one prompt become one group over all specs: the group lies in the set
    of its first row, so the set of a later spec may hold fewer, or none.
    """
    apart = replace(data, merge_prompts=False)
    sets = tuple(open_preferences(spec, apart, dimension=dimension) for spec in specs)
    return merge_sets(sets) if data.merge_prompts else sets


def open_preferences(spec: str, data: DataConfig, *, dimension: str) -> PreferenceSet:
    """The preferences that a data spec names; ``rmjax.datasets.spec`` says what a spec looks like.

    A data set is prepared first where it isn't yet. Any data set that TFDS knows will do, if its examples have the
    fields of a row form. After ``@LABELER`` the dimension and the source are the labeler's.

    Args:
      spec: the data spec.
      data: where data sets lie, and what happens to rows that can't be used.
      dimension: of rows that don't say which they were judged on.

    Raises:
      DataSpecError: if the spec can't be opened or holds nothing that can be used.
      RowError: for a row that can't be used, unless it's to be skipped.
    """
    parsed = parse_spec(spec)
    labeler = None if parsed.labeler is None else _find_labeler(parsed)
    defaults = RowDefaults(dimension=dimension, source=Source.HUMAN)
    if isinstance(parsed, FileSpec):
        found = read_preferences(parsed.path, defaults=defaults, on_error=data.on_error)
    else:
        found = _read_dataset(parsed, data, defaults)
    preferences, skipped = found.preferences, found.skipped
    if data.transcripts_as_messages:
        preferences, more = _in_messages(preferences, data.on_error)
        skipped = skipped + more
    if not preferences:
        raise DataSpecError(spec, f"it holds no preferences (skipped: {dict(skipped)})", "at least one usable row")
    if skipped:
        logging.info("%s: %d rows skipped: %s", spec, skipped.total(), dict(skipped))
    if labeler is not None:
        preferences = tuple(labeler.judge(preference) for preference in preferences)
    if data.merge_prompts:
        preferences = merge_prompts(preferences)
    return replace(found, spec=spec, preferences=preferences, skipped=skipped)


def _in_messages(preferences: Iterable[Preference], on_error: OnError) -> tuple[tuple[Preference, ...], Counter[str]]:
    """The preferences with their transcripts as messages, and what can't be so by kind of fault."""
    found, skipped = [], Counter[str]()
    for preference in preferences:
        try:
            found.append(as_messages(preference))
        except RowError as error:
            if on_error is not OnError.SKIP:
                raise
            skipped[error.kind] += 1
    return tuple(found), skipped


def _find_labeler(spec: FileSpec | DatasetSpec) -> Labeler:
    try:
        return find_labeler(str(spec.labeler))
    except ValueError as error:
        raise DataSpecError(spec.text, str(error), "one of these after the @") from None


def _read_dataset(spec: DatasetSpec, data: DataConfig, defaults: RowDefaults) -> PreferenceSet:
    builder = prepare(lambda: _find_builder(spec, data), manual_dir=data.manual_dir)
    ranges = places(builder, spec)
    origins = [f"{_full_name(builder)}:{split}, record {place}" for split, part in ranges for place in part]
    records = serialized_examples(builder, spec, len(origins))
    stated = builder.info.redistribution_info.license or None
    if not isinstance(builder, PreferencesBuilder):
        examples = zip(records, origins, strict=True)
        preferences, counts = parse_examples(builder.info.features, examples, defaults, data.on_error)
        return PreferenceSet(spec=spec.text, preferences=preferences, skipped=counts, license=stated)
    skipped = _skipped_at_preparation(builder, ranges)
    for row in skipped:
        if data.on_error is OnError.ERROR or (data.on_error is OnError.DEFAULT and not row.by_default):
            raise row.error
    preferences = tuple(from_example(decode(record), origin) for record, origin in zip(records, origins, strict=True))
    counts = Counter(row.error.kind for row in skipped)
    return PreferenceSet(spec=spec.text, preferences=preferences, skipped=counts, license=stated)


def _full_name(builder: tfds.core.DatasetBuilder) -> str:
    return "/".join(filter(None, (builder.name, builder.builder_config_name)))


def _find_builder(spec: DatasetSpec, data: DataConfig) -> tfds.core.DatasetBuilder:
    """The builder of the spec's data set and config, with the folder that its prepared form belongs into."""
    check_bucket(data.data_dir or "")
    check_bucket(data.manual_dir or "")
    try:
        kind = tfds.builder_cls(spec.name)
    except tfds.core.DatasetNotFoundError:
        own = ", ".join(builder.name for builder in OWN_BUILDERS)
        raise DataSpecError(
            spec.text,
            f"no data set is called {spec.name!r}",
            f"{own}, another data set of tensorflow_datasets, or a file (and this is no file that exists)",
        ) from None
    configs = tuple(kind.builder_configs)
    if (spec.config is None and configs) or (spec.config is not None and spec.config not in configs):
        found = f"{spec.name!r} has no config {spec.config!r}" if spec.config else "it names no config"
        right = " or ".join(f"{spec.name}/{config}:{spec.split}" for config in configs) or f"{spec.name}:{spec.split}"
        raise DataSpecError(spec.text, found, right)
    if issubclass(kind, HhRlhf):
        return kind(config=spec.config, data_dir=data.data_dir, manual_dir=data.manual_dir)
    data_dir = data.data_dir
    if data.manual_dir is not None and kind.MANUAL_DOWNLOAD_INSTRUCTIONS:
        data_dir = _folder_for_manual(data.manual_dir, data_dir)
    return kind(config=spec.config, data_dir=data_dir)


def _folder_for_manual(manual_dir: str, data_dir: str | None) -> str:
    """A folder of its own for what is prepared from these files, so that other files never pass for them."""
    root = epath.Path(manual_dir).expanduser()
    files = sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())
    return folder_for_manual(data_dir, ((name, root / name) for name in files))


def _skipped_at_preparation(builder: PreferencesBuilder, ranges: list[tuple[str, range]]) -> list[SkippedRow]:
    """The rows that preparation skipped between the records of the ranges.

    A row that was skipped belongs to the record after it, and one at the end of its split to the last record, so parts
    of a split share out its skipped rows.
    """
    metadata = builder.info.metadata
    skipped = metadata.get("skipped", {}) if isinstance(metadata, dict) else {}
    rows = []
    for split, part in ranges:
        last = builder.info.splits[split].num_examples - 1
        noted = skipped.get(split, ())
        rows += [SkippedRow.from_json(entry) for entry in noted if min(entry["place"], last) in part]
    return rows
