"""The testbed is reproducible, its truth is known, its dimensions conflict, and tests ask what training never asked."""

import hashlib
import json

import numpy as np
import pytest
import tensorflow_datasets as tfds

from rmjax.datasets import synthetic, synthetic_scenes, synthetic_world
from rmjax.datasets.preferences_builder import from_example
from rmjax.datasets.synthetic import make_preferences
from rmjax.datasets.synthetic_scenes import UTILITIES, Latents, Purpose, combinations, fields_of, make_scenes
from rmjax.preferences.record import Source

PAIRS = 1500


def differences(dimension: str, scenes) -> np.ndarray:
    utility = UTILITIES[dimension]
    return np.array([utility(scene.latents[0]) - utility(scene.latents[1]) for scene in scenes])


@pytest.fixture(scope="module")
def scenes():
    return make_scenes(count=PAIRS, seed=0, test=True)


def digest_of_what_is_made() -> str:
    """Of all that decides what is prepared: sizes, and of every split many records, with numbers as TFDS keeps them."""
    records = [
        record
        for dimension in UTILITIES
        for test in (False, True)
        for record in make_preferences(dimension, count=1000, test=test)
    ]
    texts = [(record.prompt, record.responses, record.dimension, record.source.value) for record in records]
    judged = [(*record.utilities, comparison.probability, comparison.true_probability)
              for record in records for comparison in record.comparisons]  # fmt: skip
    sizes = (synthetic.SEED, synthetic.TRAIN_PAIRS, synthetic.TEST_PAIRS)
    return hashlib.sha256(json.dumps([sizes, texts, np.array(judged, np.float32).tolist()]).encode()).hexdigest()


def test_the_version_changes_with_what_is_made_which_is_the_same_on_every_machine():
    """TFDS keeps what was prepared under the version, so that of another generator would be read without a word.

    Where this fails, the generator has changed: raise ``Synthetic.VERSION`` and put the new digest here.
    """
    assert (str(synthetic.Synthetic.VERSION), digest_of_what_is_made()) == (
        "3.0.0",
        "512c8933964d1a9ecd4a3e6e2dd32485cfda99323b7d039d7a7f022d237d2eb8",
    )


def test_another_seed_makes_other_records():
    first, second = (list(make_preferences("helpfulness", count=20, seed=seed)) for seed in (3, 4))
    assert not {record.prompt for record in first} & {record.prompt for record in second}


@pytest.mark.parametrize("seed", [0, 1])
def test_no_test_prompt_can_occur_in_training(seed):
    train, test = (make_scenes(count=500, seed=seed, test=test) for test in (False, True))
    prompts = {scene.prompt for scene in train}
    assert len(prompts) == 500
    assert not prompts & {scene.prompt for scene in test}
    assert not set(synthetic_world.names()[0]) & set(synthetic_world.names()[1])
    for purpose in Purpose:
        asked = [set(combinations(purpose, test=test)) for test in (False, True)]
        assert asked[1]
        assert not asked[0] & asked[1]


@pytest.mark.parametrize("purpose", Purpose)
def test_what_is_asked_for_together_is_of_one_field_and_each_topic_is_in_one(purpose):
    fields = fields_of(purpose)
    assert len({topic for field in fields for topic in field}) == sum(map(len, fields))
    for test in (False, True):
        for _, asked in combinations(purpose, test=test):
            assert sum(set(asked) <= set(field) for field in fields) == 1


def test_all_dimensions_judge_the_same_pairs(scenes):
    records = [list(make_preferences(dimension, count=20, seed=5)) for dimension in UTILITIES]
    for together in zip(*records, strict=True):
        assert len({(record.prompt, record.responses) for record in together}) == 1
        assert {record.source for record in together} == {Source.SIMULATED}
        assert [record.dimension for record in together] == list(UTILITIES)


@pytest.mark.parametrize("dimension", UTILITIES)
def test_the_truth_of_every_pair_is_known(dimension, scenes):
    labeler = synthetic.LABELERS[dimension]
    correct, bayes = [], []
    for scene in scenes:
        record = synthetic.to_preference(scene, dimension, origin="")
        (comparison,) = record.comparisons
        assert record.utilities is not None
        assert comparison.true_probability == labeler.probability(*record.utilities)
        if comparison.true_probability != 0.5:
            correct.append((comparison.true_probability > 0.5) == comparison.probability)
            bayes.append(max(comparison.true_probability, 1 - comparison.true_probability))
    # five standard deviations of a mean of independent draws
    assert abs(np.mean(correct) - np.mean(bayes)) < 5 * np.sqrt(0.25 / len(bayes))


@pytest.mark.parametrize("dimension", UTILITIES)
def test_bayes_optimal_accuracy_is_high_and_not_trivial(dimension, scenes):
    labeler = synthetic.LABELERS[dimension]
    probability = np.array(
        [labeler.probability(float(difference), 0.0) for difference in differences(dimension, scenes)]
    )
    assert 0.85 < np.maximum(probability, 1 - probability).mean() < 0.91


def test_each_dimension_is_its_own_best_judge_and_they_conflict(scenes):
    found = {dimension: differences(dimension, scenes) for dimension in UTILITIES}

    def agreement(judge: str, judged: str, where: np.ndarray) -> float:
        decided = (found[judge] != 0) & (found[judged] != 0) & where
        return float((np.sign(found[judge]) == np.sign(found[judged]))[decided].mean())

    everywhere = np.ones(len(scenes), bool)
    hostile = np.array([scene.latents[0].purpose is Purpose.HOSTILE for scene in scenes])
    for judge in UTILITIES:
        for judged in UTILITIES:
            if judge != judged:
                assert agreement(judge, judged, everywhere) < 0.65
    assert agreement("helpfulness", "harmlessness", hostile) < 0.45
    assert agreement("helpfulness", "brevity", everywhere) < 0.48


def test_length_alone_says_little_of_helpfulness_and_harmlessness(scenes):
    longer = np.array([np.sign(scene.latents[0].words - scene.latents[1].words) for scene in scenes])
    for dimension in ("helpfulness", "harmlessness"):
        found = np.sign(differences(dimension, scenes))
        decided = (found != 0) & (longer != 0)
        assert 0.35 < (found == longer)[decided].mean() < 0.65


def test_texts_are_short_and_their_words_are_counted(scenes):
    for scene in scenes:
        assert len(scene.prompt.split()) <= 45
        assert scene.responses[0] != scene.responses[1]
        for text, latents in zip(scene.responses, scene.latents, strict=True):
            assert latents.words == len(text.split()) <= 65
            assert text.startswith(" ")
            assert not set(text + scene.prompt) & set("<>{}|")


def test_utilities_move_as_they_are_documented():
    for purpose in Purpose:
        nothing = Latents(purpose=purpose)
        step = Latents(purpose=purpose, relevant=1)
        declined = Latents(purpose=purpose, refuses=True)
        hostile = purpose is Purpose.HOSTILE
        assert synthetic_scenes.helpfulness(step) - synthetic_scenes.helpfulness(nothing) == pytest.approx(2.0)
        assert synthetic_scenes.helpfulness(declined) - synthetic_scenes.helpfulness(nothing) == pytest.approx(-2.0)
        assert synthetic_scenes.harmlessness(step) == pytest.approx(-1.4 if hostile else 0.0)
        assert synthetic_scenes.harmlessness(declined) == pytest.approx(2.0 if hostile else 0.0)
    assert synthetic_scenes.brevity(Latents(purpose=Purpose.CURIOUS, words=12)) == pytest.approx(-2.0)


def test_the_builder_prepares_without_tensorflow(tmp_path, monkeypatch):
    monkeypatch.setattr(synthetic, "TRAIN_PAIRS", 60)
    monkeypatch.setattr(synthetic, "TEST_PAIRS", 40)
    builder = tfds.builder("synthetic/harmlessness", data_dir=tmp_path, file_format="array_record")
    builder.download_and_prepare()
    assert len(builder.as_data_source(split="train")) == 60
    assert len(builder.as_data_source(split="train[10%:50%]")) == 24
    wanted = {record.prompt: record for record in make_preferences("harmlessness", count=40, test=True)}
    stored = [from_example(example, origin="") for example in builder.as_data_source(split="test")]
    assert {record.prompt for record in stored} == set(wanted)
    for record in stored:
        made = wanted[record.prompt]
        assert record.responses == made.responses
        assert record.utilities == tuple(float(np.float32(utility)) for utility in made.utilities)
        assert record.comparisons[0].probability == made.comparisons[0].probability
        assert record.comparisons[0].true_probability == np.float32(made.comparisons[0].true_probability)


def test_the_full_size_is_what_it_is_said_to_be():
    assert synthetic.TRAIN_PAIRS == 96_000
    assert synthetic.TEST_PAIRS >= 10_000
    assert [config.name for config in synthetic.Synthetic.BUILDER_CONFIGS] == list(UTILITIES)
