"""What a dry run reckons, without the TPU compiler; tests/test_tpu_dry_run.py has it compile."""

import dataclasses

import numpy as np
import pytest

from experiments import llama31_8b, llama31_70b, llama32_1b
from rmjax.batches.packing import RowShape
from rmjax.config import ConfigError, ParallelConfig, Remat, Strategy, validate
from rmjax.models.flops import forward_flops, matrix_parameters, training_flops
from rmjax.training.chips import CHIPS, TopologyError, chip_of, devices_of
from rmjax.training.dry_run import DryRun, PairLengths, _abstract_batch, _Work, dry_run, variants
from rmjax.training.dry_run_table import in_words

FOUND = DryRun(
    topology="v5e:2x2", chips=4, parameters=10**9, rows=8, row_length=1000, argument_bytes=2**30, temporary_bytes=2**31,
    peak_bytes=3 * 2**30, hbm_bytes=16 * 2**30, collectives={"all-gather": 2**29}, flops=1e12, compute_seconds=0.5,
    memory_seconds=0.25, interconnect_seconds=0.1, lengths=PairLengths(distinct=200.0, padded=800.0, seen=100.0),
)  # fmt: skip


def test_the_roofline_is_the_slowest_of_three():
    assert (FOUND.roofline_seconds, FOUND.bound) == (0.5, "compute")
    assert FOUND.pairs_per_second == 8000 / 200 / 0.5
    assert FOUND.padded_pairs_per_second == 8000 / 800 / 0.5
    sending = dataclasses.replace(FOUND, interconnect_seconds=0.8)
    assert (sending.roofline_seconds, sending.bound) == (0.8, "interconnect")


def test_what_fits_leaves_the_runtime_its_part():
    assert FOUND.fits
    assert not dataclasses.replace(FOUND, peak_bytes=63 * 2**28).fits


def test_the_table_and_the_json_say_the_same():
    values = FOUND.to_json()
    for name in ("topology", "chips", "parameters", "peak_gib", "hbm_gib", "fits", "flops", "roofline_seconds", "bound",
                 "pairs_per_second", "padded_pairs_per_second"):  # fmt: skip
        assert name in values
    assert values["peak_gib"] == 3.0
    table = in_words(FOUND)
    assert "3.00 GiB of 16 GiB" in table
    assert "bound by compute" in table
    assert "all-gather 0.50 GiB" in table


@pytest.mark.parametrize(
    ("experiment", "billions"), [(llama32_1b, 1.2358), (llama31_8b, 7.5049), (llama31_70b, 69.503)]
)
def test_llamas_shapes_have_their_published_sizes(experiment, billions):
    """With the embedding once and without the output matrix, which a reward model doesn't have."""
    config = experiment.get_config()
    validate(config)
    model = config.model
    norms = (2 * model.layers + 1) * model.width
    total = matrix_parameters(model) + norms + config.text.vocabulary_size * model.width + model.width
    np.testing.assert_allclose(total / 1e9, billions, rtol=1e-4)


def test_flops_by_hand():
    config = llama32_1b.get_config().model
    config.width, config.layers, config.attention_heads, config.key_value_heads = 8, 2, 2, 1
    config.head_size, config.mlp_width = 4, 16
    matrices = 2 * (8 * 8 + 2 * 8 * 4 + 8 * 8 + 3 * 8 * 16)
    assert matrix_parameters(config) == matrices
    assert forward_flops(config, tokens=10.0, visible_pairs=30.0) == 2 * matrices * 10 + 4 * 8 * 2 * 30
    assert training_flops(config, tokens=10.0, visible_pairs=30.0) == 3 * forward_flops(
        config, tokens=10.0, visible_pairs=30.0
    )


def test_what_is_computed_again_takes_time():
    config = llama32_1b.get_config()
    executed = {}
    for remat in Remat:
        config.model.remat = remat
        executed[remat] = _Work(config, PairLengths()).executed / _Work(config, PairLengths()).needed
    assert executed[Remat.NONE] == 1
    np.testing.assert_allclose(executed[Remat.FULL], 4 / 3)
    assert 1 < executed[Remat.DOTS] < 1.05


def test_the_abstract_batch_is_of_the_packing_shape():
    config = llama32_1b.get_config()
    config.batch.responses_per_row, config.batch.comparisons_per_row = 24, 40
    batch, shape = _abstract_batch(config), RowShape(length=2048, responses=24, comparisons=40)
    assert batch.tokens.shape == (8, shape.length)
    assert batch.response_end.shape == (8, shape.responses)
    assert batch.weight.shape == (8, shape.comparisons)
    assert batch.weight.dtype == np.float32


def test_every_variant_can_be_run():
    config = llama31_8b.get_config()
    tried = list(variants(config, CHIPS["v5e"], 16))
    for variant in tried:
        validate(variant)
        assert 16 % (variant.parallel.fsdp * variant.parallel.tensor) == 0
        assert variant.batch.rows % variant.parallel.fsdp == 0
    assert len({(v.parallel.fsdp, v.parallel.tensor, v.batch.rows, v.model.remat) for v in tried}) == len(tried) > 8


def test_what_cannot_be_compiled_is_said():
    with pytest.raises(TopologyError, match=r"--topology is 'h100:8'; it must begin with one of v5e, v5p, v6e"):
        chip_of("h100:8")
    config = llama31_8b.get_config()
    config.parallel = ParallelConfig(strategy=Strategy.PMAP)
    with pytest.raises(ConfigError, match=r"config\.parallel\.strategy is 'pmap'; it must be 'mesh'"):
        dry_run(config, "v5e:4x4")


def test_without_the_compiler_the_file_that_brings_it_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(TopologyError, match=r"requirements-tpu\.txt"):
        devices_of("v5e:4x4")
