"""A trained model is read wherever it is wanted, also while its run goes on."""

import gc
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from random_batches import lively
from untrained import random_text, untrained_config, write_run

from rmjax.config import TuningConfig
from rmjax.evaluation.golden import is_exact
from rmjax.model_config import AttentionKind, ComputeDtype
from rmjax.scoring.export import export
from rmjax.scoring.rows import parse_request
from rmjax.scoring.scorer import RewardScorer
from rmjax.training import trained
from rmjax.training.checkpoint import CheckpointError, Checkpoints
from rmjax.training.portable import load_model
from rmjax.training.trained import load_trained


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A workdir with one checkpoint."""
    return Path(write_run(tmp_path / "run", untrained_config()))


def test_a_model_of_tpu_kernels_is_read_where_there_is_no_tpu(tmp_path: Path):
    configs = {kind: untrained_config() for kind in (AttentionKind.DENSE, AttentionKind.PALLAS)}
    rewards = []
    for kind, config in configs.items():
        config.model.attention = kind
        scorer = RewardScorer.from_workdir(write_run(tmp_path / kind.value, config))
        assert scorer.trained.config.model.attention is kind  # what it was trained with is not forgotten
        rewards.append(scorer.score("a b", [" c d", " e"]))
    np.testing.assert_allclose(*rewards, rtol=0, atol=1e-5)


def in_bfloat16(folder: Path) -> str:
    """A run as ``experiments/finetune.py`` trains one, whose adapters add something."""
    tuning = TuningConfig(lora_rank=2, lora_alpha=3.0, frozen_dtype=ComputeDtype.BFLOAT16)
    config = untrained_config(tuning=tuning)
    config.model.compute_dtype = ComputeDtype.BFLOAT16
    fresh = load_trained(write_run(folder / "fresh", config)).params
    return write_run(folder / "run", config, checkpoints={5: (lively(fresh), 0.6)})


def beside_and_alone(scorer: RewardScorer) -> tuple[list, list]:
    rng = np.random.default_rng(0)
    rows = [(random_text(rng, 30), [random_text(rng, 9) for _ in range(rng.integers(1, 9))]) for _ in range(12)]
    requests = [parse_request({"prompt": prompt, "responses": texts}, origin="") for prompt, texts in rows]
    beside = [reward for rewards in scorer.score_many(requests) for reward in rewards]
    return beside, [scorer.score(prompt, [text])[0] for prompt, texts in rows for text in texts]


def test_a_run_in_bfloat16_is_scored_in_float32_so_that_a_reward_depends_on_nothing_beside_it(tmp_path: Path):
    run = in_bfloat16(tmp_path)
    beside, alone = beside_and_alone(RewardScorer.from_workdir(run))
    assert np.std(alone) > 0.01
    np.testing.assert_allclose(beside, alone, rtol=0, atol=1e-5)
    exported, _ = beside_and_alone(RewardScorer.from_workdir(export(run, tmp_path / "out")))
    np.testing.assert_allclose(exported, alone, rtol=0, atol=1e-5)


def test_bfloat16_is_computed_where_it_is_asked_for(tmp_path: Path):
    run, half = in_bfloat16(tmp_path), ComputeDtype.BFLOAT16
    export(run, tmp_path / "out")
    for place in (run, tmp_path / "out"):
        whole, rounded = (
            RewardScorer.from_workdir(place, compute_dtype=dtype) for dtype in (ComputeDtype.FLOAT32, half)
        )
        assert rounded.trained.config.model.compute_dtype is rounded.trained.model.config.compute_dtype is half
        (one,), (other,) = (scorer.score("river stone", [" under seven"]) for scorer in (whole, rounded))
        assert one == pytest.approx(other, abs=0.05)
        assert one != other
        assert not is_exact(rounded.trained)
    assert not is_exact(load_trained(run))  # its golden scores were computed in bfloat16
    assert is_exact(load_model(tmp_path / "out"))  # and those of its export in float32


@pytest.mark.parametrize("replaced", [1, 2, 3])
def test_a_best_checkpoint_that_is_replaced_just_then_is_looked_for_again(
    run: Path, monkeypatch: pytest.MonkeyPatch, replaced: int
):
    whole = load_trained(run)
    folder = run / "checkpoints"
    looks = []

    class Replaced(Checkpoints):
        """Between the listing of the steps and the reading of one, the run replaces it by the next."""

        def restore_params(self, step, template):
            looks.append(step)
            if len(looks) <= replaced:
                shutil.move(folder / str(step), folder / str(step + 1))
            return super().restore_params(step, template)

    monkeypatch.setattr(trained, "Checkpoints", Replaced)
    if replaced == 3:
        with pytest.raises(FileNotFoundError):
            load_trained(run)
        return
    found = load_trained(run)
    assert (found.step, looks) == (whole.step + replaced, [whole.step + look for look in range(replaced + 1)])
    for ours, theirs in zip(*map(jax.tree.leaves, (found.params, whole.params)), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("file", ["manifest.ocdbt", "d/*", "ocdbt.process_0/d/*"])
def test_a_best_checkpoint_that_vanishes_file_by_file_is_looked_for_again(
    run: Path, monkeypatch: pytest.MonkeyPatch, file: str
):
    whole = load_trained(run)
    folder = run / "checkpoints"
    errors = []

    class Vanishing(Checkpoints):
        """While a step is read, the run deletes it and has the next."""

        def restore_params(self, step, template):
            if errors:
                return super().restore_params(step, template)
            shutil.copytree(folder / str(step), folder / str(step + 1))
            paths = list((folder / str(step) / "params").glob(file))
            assert paths
            for path in paths:
                path.unlink()
            try:
                return super().restore_params(step, template)
            except Exception as error:
                errors.append(error)
                shutil.rmtree(folder / str(step))
                raise

    monkeypatch.setattr(trained, "Checkpoints", Vanishing)
    found = load_trained(run)
    assert len(errors) == 1
    assert found.step == whole.step + 1
    errors.clear()
    gc.collect()  # of the reads that Orbax gave up, here and not in the middle of another test


def test_a_step_that_was_asked_for_is_not_replaced_by_another(run: Path, monkeypatch: pytest.MonkeyPatch):
    step = load_trained(run).step

    def deleted(self, step, template):
        raise FileNotFoundError(step)

    monkeypatch.setattr(Checkpoints, "restore_params", deleted)
    with pytest.raises(FileNotFoundError):
        load_trained(run, step)


@pytest.mark.parametrize("step", [0, 4])
def test_a_step_that_is_not_there_is_an_error(run: Path, step: int):
    with pytest.raises(CheckpointError, match=f"no checkpoint of step {step} in .*the steps there are: 5"):
        load_trained(run, step)
