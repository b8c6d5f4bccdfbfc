"""Dry runs of a small model through the TPU compiler, which needs no TPU. `make test-tpu` sets up what it needs."""

import functools
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from experiments import llama_base
from rmjax.model_config import Remat
from rmjax.models.flops import matrix_parameters
from rmjax.training import dry_run_sweep
from rmjax.training.dry_run import dry_run
from rmjax.training.dry_run_result import PairLengths
from rmjax.training.dry_run_sweep import sweep

pytestmark = [
    pytest.mark.usefixtures("uncached"),
    pytest.mark.skipif(
        importlib.util.find_spec("libtpu") is None,
        reason="libtpu isn't installed: `make test-tpu` installs it and runs this",
    ),
]

SLICE = "v5p:2x2x1"
LAYERS, WIDTH, MLP, WORDS, LENGTH = 2, 512, 1024, 1024, 1024
ATTENTION_MATRICES = 4 * WIDTH * WIDTH  # of one layer, as many numbers
MLP_MATRICES = 3 * WIDTH * MLP
NORMS_AND_HEAD = (2 * LAYERS + 1) * WIDTH + WIDTH  # whole on every chip
SPLIT = LAYERS * (ATTENTION_MATRICES + MLP_MATRICES) + WORDS * WIDTH
SCALARS = 4 + 4 + 4 + 2 * 4  # the state's step, that of Adam, that of the learning rate, and a key of two numbers


def small(**parallel):
    config = llama_base.get_config()
    config.model.width, config.model.layers, config.model.mlp_width = WIDTH, LAYERS, MLP
    config.model.attention_heads = config.model.key_value_heads = 4
    config.model.head_size = 128
    config.text.vocabulary_size = WORDS
    config.text.max_prompt_tokens, config.text.max_response_tokens = LENGTH // 2, LENGTH // 4
    config.batch.row_length, config.batch.rows = LENGTH, 4
    for name, value in parallel.items():
        setattr(config.parallel, name, value)
    return config


@functools.cache
def split():
    return dry_run(small(fsdp=4), SLICE)


def test_the_state_is_what_it_is_by_hand():
    """Three float32 numbers for each parameter, of those that are split a fourth; then come the batch's rows."""
    found = split()
    assert found.parameters == SPLIT + NORMS_AND_HEAD
    assert matrix_parameters(small().model) == SPLIT - WORDS * WIDTH
    assert found.state_bytes == 12 * (SPLIT // 4 + NORMS_AND_HEAD) + SCALARS
    compiled = found.compiled
    rows = 3 * LENGTH * 4
    assert rows <= compiled.argument_bytes - found.state_bytes < 2 * rows
    assert compiled.peak_bytes > compiled.argument_bytes + compiled.temporary_bytes
    assert found.fits


def test_a_split_state_is_gathered_and_its_gradients_are_scattered():
    """In each of the layers, whose scan is a loop: bfloat16 matrices of the attention three times (forward, again, and
    backward), of the MLP twice, as what is computed again is used by the backward pass too; gradients once.

    Of small gradients the compiler makes a reduction to all, which sends twice as much; norms are reduced so too.
    """
    sent = split().compiled.collectives
    once = 2 * 3 / 4  # bytes that a chip sends of a number of which it has, or needs, a fourth
    gathered = once * LAYERS * (3 * ATTENTION_MATRICES + 2 * MLP_MATRICES)
    assert gathered <= sent["all-gather"] < gathered + 20_000  # and the places that tokens are read at
    scattered = once * LAYERS * (ATTENTION_MATRICES + MLP_MATRICES)
    assert sent["reduce-scatter"] > scattered / 2
    assert scattered <= sent["reduce-scatter"] + sent["all-reduce"] / 2 < scattered + 2 * 4 * NORMS_AND_HEAD
    looked_up = once * LENGTH * WIDTH
    assert sent["all-to-all"] == 2 * looked_up


def test_copies_of_a_state_reduce_every_gradient():
    found = dry_run(small(), SLICE)
    assert (found.layout.data, found.layout.fsdp) == (4, 1)
    assert found.state_bytes == 12 * (SPLIT + NORMS_AND_HEAD) + SCALARS
    sent = found.compiled.collectives
    assert set(sent) == {"all-reduce"}
    gradients = 2 * SPLIT + 4 * NORMS_AND_HEAD
    assert 2 * 3 / 4 * gradients <= sent["all-reduce"] < 2 * 3 / 4 * gradients + 200  # and the sums of losses


def test_the_command_prints_a_table_and_one_line_of_json():
    """Of what the compiler refuses too."""
    arguments = ["--config=experiments/llama32_1b.py", "--topology=v5e:2x2", "--config.parallel.fsdp=4"]
    arguments += ["--config.model.layers=1", "--config.batch.rows=1024", "--config.model.remat=NONE"]
    done = subprocess.run(
        [sys.executable, "-m", "rmjax.dryrun", *arguments],
        cwd=Path(__file__).parents[1], env=os.environ | {"JAX_PLATFORMS": "cpu"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    *table, line = done.stdout.splitlines()
    assert any(entry.startswith("topology") and "v5e:2x2, 4 chips" in entry for entry in table)
    values = json.loads(line)
    assert (values["chips"], values["fsdp"], values["rows_per_chip"], values["remat"]) == (4, 4, 256, "none")
    assert (values["fits"], values["peak_gib"]) == (False, None)
    assert "exceeds available HBM" in values["refusal"]


def test_a_sweep_picks_the_fastest_that_fits_and_tells_of_the_others(monkeypatch):
    """Two rows a chip do more for each gradient that is sent than one; where all is kept thousands don't fit."""
    tried = [small(fsdp=4) for _ in range(3)]
    for variant, rows in zip(tried, (40_000, 4, 8), strict=True):
        variant.batch.rows = rows
    tried[0].model.remat = Remat.NONE
    monkeypatch.setattr(dry_run_sweep, "variants", lambda config, chips: iter(tried))
    told = {}
    best = sweep(small(fsdp=4), SLICE, PairLengths(), told.__setitem__)
    assert [layout.rows_per_chip for layout in told] == [10_000, 1, 2]
    assert best.layout.rows_per_chip == 2
    refused, one, two = told.values()
    assert not refused.fits
    assert "exceeds available HBM" in refused.refusal
    assert one.fits
    assert one.bound == "interconnect"
    assert two is best
    assert two.pairs_per_second > one.pairs_per_second
