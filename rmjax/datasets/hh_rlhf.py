"""The HH-RLHF data set of Bai et al. (2022) as a TFDS builder, from the published files or a folder of the same layout.

    HhRlhf(config="helpful-base", data_dir=..., manual_dir=None)

The transcripts are parsed by ``rmjax.preferences``. The published files hold some rows that can't be used (transcripts
that share nothing, identical responses); they are skipped, and every one of them is written into the prepared data
set's ``metadata.json`` with its place among the records, so each opening, of a slice too, can tell how many it lacks.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import requests
import tensorflow_datasets as tfds
from etils import epath

from rmjax.config import ConfigError
from rmjax.datasets.preferences_builder import PreferencesBuilder, preference_features, to_example
from rmjax.datasets.prepare import folder_for_manual
from rmjax.preferences.fields import Fields
from rmjax.preferences.files import read_lines, unzipped
from rmjax.preferences.groups import RowDefaults
from rmjax.preferences.record import Preference, RowError, Source
from rmjax.preferences.row_forms import find_form

PUBLISHED = "https://huggingface.co/datasets/Anthropic/hh-rlhf/resolve/main"
DIMENSIONS = {
    "helpful-base": "helpfulness",
    "helpful-online": "helpfulness",
    "helpful-rejection-sampled": "helpfulness",
    "harmless-base": "harmlessness",
}
SPLITS = ("train", "test")
_ERROR_FIELDS = ("origin", "field", "kind", "found", "right")

_DESCRIPTION = """\
Pairs of dialogue continuations, one of which a crowd worker preferred over the other. In the three helpful-* parts
people sought help and chose the more helpful answer; in harmless-base they tried to draw out harm and chose the less
harmful answer, so some of its text is offensive. The base parts compare samples of plain language models, the
rejection-sampled part mostly best-of-k samples, and the online part samples of models trained on earlier data.
"""
_CITATION = """\
@article{bai2022training,
  author = {Bai, Yuntao and others},
  title = {Training a Helpful and Harmless Assistant with Reinforcement Learning from Human Feedback},
  journal = {arXiv:2204.05862},
  year = {2022},
}
"""


class HhRlhf(PreferencesBuilder):
    """TFDS builder ``hh_rlhf``; records keep the order of the files.

    With ``manual_dir`` nothing is downloaded: ``MANUAL_DIR/CONFIG/{train,test}.jsonl.gz`` are read, and the data set is
    prepared under ``DATA_DIR/manual-DIGEST``, DIGEST being that of the two files (see ``folder_for_manual``).
    """

    VERSION = tfds.core.Version("1.0.0")
    BUILDER_CONFIGS = tuple(tfds.core.BuilderConfig(name=name) for name in DIMENSIONS)
    description = _DESCRIPTION

    def __init__(self, *, config: Any = None, data_dir: Any = None, manual_dir: Any = None, **kwargs: Any):
        """As TFDS has it; ``manual_dir`` is the folder above.

        Raises:
          ConfigError: if ``manual_dir`` lacks one of the files.
        """
        self._manual_files: dict[str, epath.Path] | None = None
        if manual_dir is not None:
            chosen = config or self.BUILDER_CONFIGS[0]
            name = chosen if isinstance(chosen, str) else chosen.name
            self._manual_files = _manual_files(epath.Path(manual_dir), name)
            named = ((f"{name}/{file.name}", file) for file in self._manual_files.values())
            data_dir = folder_for_manual(data_dir, named)
        super().__init__(config=config, data_dir=data_dir, **kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=self.description,
            features=preference_features(),
            disable_shuffling=True,
            homepage="https://huggingface.co/datasets/Anthropic/hh-rlhf",
            citation=_CITATION,
            license="MIT",
            metadata=tfds.core.MetadataDict(skipped={}),
        )

    @property
    def part(self) -> str:
        """The config's name, such as helpful-base."""
        return str(self.builder_config_name)

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator]:
        if self._manual_files is None:
            files = _download(dl_manager, self.part)
        else:
            files = {split: (str(file), file) for split, file in self._manual_files.items()}
        return {split: self._generate_examples(split, name, file) for split, (name, file) in files.items()}

    def _generate_examples(self, split: str, name: str, file: epath.Path) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yields (place, example) and notes the rows that can't be used in the metadata."""
        defaults = RowDefaults(dimension=DIMENSIONS[self.part], source=Source.HUMAN)
        skipped: list[dict[str, Any]] = []
        place = 0
        for row in _rows(name, file, defaults):
            if isinstance(row, SkippedRow):
                skipped.append({"place": place, **row.to_json()})
            else:
                yield place, to_example(row)
                place += 1
        if not place:
            raise ConfigError(f"{name} holds no row that can be used ({len(skipped)} rows were skipped)")
        metadata = self.info.metadata
        assert isinstance(metadata, dict)  # as _info made it
        metadata["skipped"][split] = skipped


@dataclass(frozen=True, slots=True)
class SkippedRow:
    """A row that can't be used; ``by_default`` says that its form is skipped unless an error is asked for."""

    error: RowError
    by_default: bool

    def to_json(self) -> dict[str, Any]:
        """What the metadata keep of it."""
        return {"by_default": self.by_default, **{name: getattr(self.error, name) for name in _ERROR_FIELDS}}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "SkippedRow":
        """What ``to_json`` gave, further fields aside."""
        error = RowError(**{name: values[name] for name in _ERROR_FIELDS})
        return cls(error, values["by_default"])


def _rows(name: str, file: epath.Path, defaults: RowDefaults) -> Iterator[Preference | SkippedRow]:
    """Every row of a gzipped file, in order; ``name`` stands for the file in messages."""
    with file.open("rb") as zipped:
        for origin, row in read_lines(name, unzipped(name, zipped)):
            by_default = False
            try:
                if isinstance(row, RowError):
                    raise row
                fields = Fields(row, origin)
                form = find_form(fields)
                by_default = form.skips_by_default
                yield form.parse(fields, defaults)
            except RowError as error:
                yield SkippedRow(error, by_default)


def _manual_files(manual_dir: epath.Path, config: str) -> dict[str, epath.Path]:
    files = {split: manual_dir.expanduser() / config / f"{split}.jsonl.gz" for split in SPLITS}
    missing = [str(file) for file in files.values() if not file.exists()]
    if missing:
        looked_for = ", ".join(missing)
        raise ConfigError(
            f"config.data.manual_dir is {str(manual_dir)!r}, where hh_rlhf/{config} looked for {looked_for} and "
            "found no such file; right would be a folder with CONFIG/train.jsonl.gz and CONFIG/test.jsonl.gz"
        )
    return files


def _download(dl_manager: tfds.download.DownloadManager, config: str) -> dict[str, tuple[str, epath.Path]]:
    """(address, downloaded file) by split."""
    urls = {split: f"{PUBLISHED}/{config}/{split}.jsonl.gz" for split in SPLITS}
    try:
        # TFDS tries an address that doesn't answer eleven times over some minutes; ask once before.
        with requests.get(urls["train"], stream=True, timeout=20) as response:
            response.raise_for_status()
        return {split: (url, dl_manager.download(url)) for split, url in urls.items()}
    except (requests.RequestException, tfds.download.DownloadError) as error:
        raise ConfigError(
            f"can't download {', '.join(urls.values())}: {error}; without network, put the files into a folder as "
            f"{config}/train.jsonl.gz and {config}/test.jsonl.gz and name the folder by config.data.manual_dir "
            "(--manual_dir)"
        ) from error
