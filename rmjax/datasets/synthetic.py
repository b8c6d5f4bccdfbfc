"""The synthetic testbed: preferences whose labelers, utilities and Bayes-optimal accuracy are known exactly."""

import functools
from collections.abc import Iterator

import tensorflow_datasets as tfds

from rmjax.datasets.preferences_builder import PreferencesBuilder
from rmjax.datasets.synthetic_scenes import UTILITIES, Scene, make_scenes
from rmjax.labeling.simulated.labeler import SimulatedLabeler
from rmjax.preferences.record import Comparison, Preference, Source

SEED = 0
TRAIN_PAIRS = 96_000
TEST_PAIRS = 12_000
TEMPERATURE = 0.5
ERROR_RATE = 0.01

LABELERS = {
    dimension: SimulatedLabeler(dimension=dimension, temperature=TEMPERATURE, error_rate=ERROR_RATE)
    for dimension in UTILITIES
}


def to_preference(scene: Scene, dimension: str, *, origin: str) -> Preference:
    """The scene judged on the dimension by its simulated labeler."""
    unjudged = Preference(
        prompt=scene.prompt,
        responses=scene.responses,
        comparisons=(Comparison(left=0, right=1),),
        dimension=dimension,
        source=Source.SIMULATED,
        utilities=tuple(UTILITIES[dimension](latents) for latents in scene.latents),
        origin=origin,
    )
    return LABELERS[dimension].judge(unjudged)


def make_preferences(dimension: str, *, count: int, seed: int = SEED, test: bool = False) -> Iterator[Preference]:
    """``count`` preferences of one dimension; the same prompts and responses whatever the dimension."""
    scenes = _scenes(count, seed, test)
    split = "test" if test else "train"
    for index, scene in enumerate(scenes):
        yield to_preference(scene, dimension, origin=f"synthetic/{dimension}:{split}, record {index}")


@functools.lru_cache(maxsize=2)
def _scenes(count: int, seed: int, test: bool) -> tuple[Scene, ...]:
    """Kept, because all dimensions judge the same ones."""
    return tuple(make_scenes(count=count, seed=seed, test=test))


class Synthetic(PreferencesBuilder):
    """Generated English prompts with two responses each, compared by simulated labelers."""

    VERSION = tfds.core.Version("3.0.0")  # prepared data are kept under it: it changes with what is generated
    BUILDER_CONFIGS = [  # noqa: RUF012 TFDS declares it so
        tfds.core.BuilderConfig(name=dimension, description=f"Judged on {dimension}.") for dimension in UTILITIES
    ]
    description = (
        "Generated English prompts with two responses each, whose true utilities are known. Simulated labelers compare "
        f"them by the model of Bradley and Terry at temperature {TEMPERATURE} with an error rate of {ERROR_RATE}."
    )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager):
        config = self.builder_config
        assert config is not None, "BUILDER_CONFIGS is not empty, so TFDS has chosen one"
        dimension = config.name
        return {
            "train": self._generate_examples(make_preferences(dimension, count=TRAIN_PAIRS)),
            "test": self._generate_examples(make_preferences(dimension, count=TEST_PAIRS, test=True)),
        }
