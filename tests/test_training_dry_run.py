"""What a dry run reckons, without the TPU compiler; tests/test_tpu_dry_run.py has it compile."""

import dataclasses
import itertools

import jax
import numpy as np
import pytest

from experiments import llama31_8b, llama31_70b, llama32_1b
from rmjax.batches.packing import RowShape
from rmjax.config import ConfigError, ParallelConfig, Strategy, validate
from rmjax.model_config import Remat
from rmjax.models.flops import forward_flops, matrix_parameters, training_flops
from rmjax.training.chips import CHIPS, GIB, TopologyError, chip_of, devices_of, sending_bandwidth
from rmjax.training.dry_run import LaidOut, _abstract_batch, _Work, check, dry_run
from rmjax.training.dry_run_result import Compiled, DryRun, Layout, PairLengths, layout_of
from rmjax.training.dry_run_sweep import sweep, variants
from rmjax.training.dry_run_table import heading, in_a_line, in_words
from rmjax.training.mesh import MeshParallel

LAYOUT = Layout(
    data=1, fsdp=4, tensor=1, rows_per_chip=2, microbatches=1, row_length=1000, remat="full",
    first_moment_dtype="float32",
)  # fmt: skip
COMPILED = Compiled(
    argument_bytes=GIB, temporary_bytes=2 * GIB, peak_bytes=3 * GIB, collectives={"all-gather": GIB // 2},
    memory_seconds=0.25, interconnect_seconds=0.1,
)  # fmt: skip
FOUND = DryRun(
    topology="v5e:2x2", chips=4, parameters=10**9, layout=LAYOUT, state_bytes=GIB, hbm_bytes=16 * GIB, flops=1e12,
    compute_seconds=0.5, lengths=PairLengths(distinct=200.0, padded=800.0, seen=100.0), compiled=COMPILED,
)  # fmt: skip
REFUSED = dataclasses.replace(FOUND, compiled=None, refusal="RESOURCE_EXHAUSTED: 34.27G exceeds 15.75G")
KEYS = (
    "topology", "chips", "parameters", "rows", "data", "fsdp", "tensor", "rows_per_chip", "microbatches", "row_length",
    "remat", "first_moment_dtype", "state_gib", "hbm_gib", "fits", "flops", "compute_seconds", "arguments_gib",
    "temporaries_gib", "peak_gib", "collective_gib", "memory_seconds", "interconnect_seconds", "roofline_seconds",
    "bound", "pairs_per_second", "padded_pairs_per_second",
)  # fmt: skip


def with_compiled(**changes):
    return dataclasses.replace(FOUND, compiled=dataclasses.replace(COMPILED, **changes))


def test_the_roofline_is_the_slowest_of_three():
    assert (FOUND.roofline_seconds, FOUND.bound) == (0.5, "compute")
    assert FOUND.pairs_per_second == 8000 / 200 / 0.5
    assert FOUND.padded_pairs_per_second == 8000 / 800 / 0.5
    sending = with_compiled(interconnect_seconds=0.8)
    assert (sending.roofline_seconds, sending.bound) == (0.8, "interconnect")


def test_what_fits_leaves_the_runtime_its_part():
    assert FOUND.fits
    assert not with_compiled(peak_bytes=63 * 2**28).fits


def test_the_table_and_the_json_say_the_same():
    values = FOUND.to_json()
    assert tuple(values) == KEYS
    assert (values["peak_gib"], values["fsdp"], values["rows"], values["rows_per_chip"]) == (3.0, 4, 8, 2)
    table = in_words(FOUND)
    assert "data=1 fsdp=4 tensor=1" in table
    assert "3.00 GiB of 16 GiB" in table
    assert "bound by compute" in table
    assert "all-gather 0.50 GiB" in table


def test_what_the_compiler_refuses_does_not_fit_and_has_no_speed():
    values = REFUSED.to_json()
    assert tuple(values) == (*KEYS, "refusal")
    assert values["fits"] is False
    assert values["peak_gib"] is values["pairs_per_second"] is values["collective_gib"] is None
    assert "34.27G exceeds 15.75G" in in_words(REFUSED)
    assert "pairs a second" not in in_words(REFUSED)


def test_the_lines_of_a_sweep():
    assert heading().split() == [
        "fsdp",
        "tensor",
        "data",
        "remat",
        "rows/chip",
        "moment1",
        "peak_GiB",
        "bound",
        "pairs/s",
    ]
    assert in_a_line(LAYOUT, FOUND).split() == ["4", "1", "1", "full", "2", "float32", "3.00", "compute", "80"]
    assert in_a_line(LAYOUT, with_compiled(peak_bytes=16 * GIB)).endswith("16.00  does not fit")
    assert in_a_line(LAYOUT, REFUSED).endswith("does not fit: RESOURCE_EXHAUSTED: 34.27G exceeds 15.75G")
    assert in_a_line(LAYOUT, "not compiled").endswith("float32  not compiled")


def test_a_dry_run_does_not_ask_for_data():
    config = llama32_1b.get_config()
    config.data.train = ()
    check(config)


def test_rows_that_are_left_to_the_data_are_refused_where_there_are_none():
    config = llama32_1b.get_config()
    check(config)
    config.batch.row_length = None
    with pytest.raises(ConfigError, match=r"batch\.row_length is None; .* as --config\.batch\.row_length=2048"):
        check(config)


def test_all_that_is_wrong_is_said_at_once():
    config = llama32_1b.get_config()
    config.batch.row_length, config.parallel, config.tuning.trained = None, ParallelConfig(), ("nothing",)
    with pytest.raises(ConfigError) as error:
        check(config)
    lines = str(error.value).splitlines()
    for line, field in zip(lines, ("tuning.trained", "batch.row_length", "parallel.strategy"), strict=True):
        assert line.startswith(f"config.{field} ")


def test_mesh_model_and_state_are_made_once(monkeypatch):
    """On devices of this machine in the place of a slice, and with a compiler that refuses."""
    config = llama32_1b.get_config()
    config.parallel.fsdp, config.batch.rows = 2, 4
    asked, lowered = [], []

    def devices_here(topology):
        asked.append(topology)
        return tuple(jax.devices()[:2])

    class Lowered:
        def __init__(self, _, step, state, batch):
            lowered.append(state)

        def compile(self):
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: too much")

    monkeypatch.setattr("rmjax.training.dry_run.devices_of", devices_here)
    monkeypatch.setattr(MeshParallel, "lower_train", lambda *arguments: Lowered(*arguments))
    laid_out = LaidOut(config, "v5e:1x2", PairLengths())
    known = laid_out.known
    assert known.parameters == pytest.approx(1.2358e9, rel=1e-4)
    assert (known.chips, known.layout.fsdp, known.layout.rows_per_chip) == (2, 2, 2)
    assert laid_out.compiled() == dataclasses.replace(known, refusal="RESOURCE_EXHAUSTED: too much")
    assert asked == ["v5e:1x2"]
    assert len(lowered) == 1
    assert lowered[0] is laid_out._state


def test_chips_at_the_corners_of_a_slice_have_few_neighbours():
    """By hand: links to neighbours, each of a fourth or a sixth of a chip's bandwidth."""
    assert sending_bandwidth("v5e:4x4") == 2 * 50e9
    assert sending_bandwidth("v5e:1x1") == 0
    assert sending_bandwidth("v6e:8x16") == 3 * 100e9
    assert sending_bandwidth("v5e:16x16") == CHIPS["v5e"].interconnect_bandwidth
    assert sending_bandwidth("v5p:2x2x1") == 2 * 100e9
    assert sending_bandwidth("v5p:2x4x4") == 3 * 100e9
    assert sending_bandwidth("v5p:4x4x4") == CHIPS["v5p"].interconnect_bandwidth


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
    tried = list(variants(config, 16))
    for variant in tried:
        validate(variant)
        layout = layout_of(variant, 16)
        assert layout.data * layout.fsdp * layout.tensor == 16
        assert variant.batch.rows == layout.rows
    assert len({layout_of(variant, 16) for variant in tried}) == len(tried) > 8
    executed = [_Work(variant, PairLengths()).executed / variant.batch.rows for variant in tried]
    assert all(one <= next_one * (1 + 1e-12) for one, next_one in itertools.pairwise(executed))


@pytest.fixture
def slice_of_four(monkeypatch):
    """Dry runs of four chips of 16 GiB, which take 6 GiB a row where all is kept and 3 otherwise, without a compiler.

    Interconnect binds where a chip has one row.
    """
    compiled = []

    class LaidOut:
        def __init__(self, config, topology, lengths):
            layout = layout_of(config, 4)
            seconds = layout.rows * {"none": 3.0, "dots": 3.5, "full": 4.0}[layout.remat]
            self.known = dataclasses.replace(
                FOUND, compiled=None, layout=layout, compute_seconds=seconds, state_bytes=24 * GIB // layout.fsdp
            )

        def compiled(self):
            known, layout = self.known, self.known.layout
            compiled.append(layout)
            size = known.state_bytes + layout.rows_per_chip * (6 if layout.remat == "none" else 3) * GIB
            if size > 20 * GIB:
                return dataclasses.replace(known, refusal="RESOURCE_EXHAUSTED")
            sent = 17.0 if layout.tensor == 1 else 100.0
            return dataclasses.replace(
                known, compiled=dataclasses.replace(COMPILED, peak_bytes=size, interconnect_seconds=sent)
            )

    monkeypatch.setattr("rmjax.training.dry_run_sweep.devices_of", lambda topology: (None,) * 4)
    monkeypatch.setattr("rmjax.training.dry_run_sweep.LaidOut", LaidOut)
    return compiled


def test_a_sweep_finds_the_fastest_that_fits_and_compiles_no_more_than_it_must(slice_of_four):
    """By hand: with all kept one row (12 GiB) takes 17 s for 4 rows and two don't fit, with products kept two rows
    (12 GiB) take 28 s for 8 and that arithmetic is the bound of all that follow."""
    told = {}
    best = sweep(llama31_8b.get_config(), "v5e:2x2", PairLengths(), told.__setitem__)
    assert (best.layout.remat, best.layout.tensor, best.layout.fsdp, best.layout.rows_per_chip) == ("dots", 1, 4, 2)
    alike = {(layout.remat, layout.tensor, layout.data): set() for layout in told}
    for layout in slice_of_four:
        alike[layout.remat, layout.tensor, layout.data].add(layout.rows_per_chip)
    assert alike["none", 1, 1] == {1, 2}
    assert alike["none", 1, 2] == {1}  # 12 GiB of state and 6: does not fit
    assert alike["none", 1, 4] == set()  # 24 GiB of state
    assert alike["dots", 1, 1] == {1, 2}
    assert "dots" in list(told)[-1].remat
    assert list(told.values())[-1].startswith("not compiled, nor what follows")


def test_a_sweep_in_which_nothing_fits_says_so(slice_of_four, monkeypatch):
    monkeypatch.setattr("rmjax.training.dry_run_result.RESERVED", 0.1)
    with pytest.raises(ConfigError, match="no layout of this model fits v5e:2x2"):
        sweep(llama31_8b.get_config(), "v5e:2x2", PairLengths(), lambda *_: None)


def test_what_cannot_be_compiled_is_said():
    with pytest.raises(TopologyError, match=r"--topology is 'h100:8'; it must begin with one of v5e, v5p, v6e"):
        chip_of("h100:8")
    config = llama31_8b.get_config()
    config.parallel = ParallelConfig(strategy=Strategy.PMAP)
    with pytest.raises(ConfigError, match=r"config\.parallel\.strategy is 'pmap'; it must be 'mesh'"):
        dry_run(config, "v5e:4x4")
    with pytest.raises(ConfigError, match=r"it must be 'mesh'"):
        sweep(config, "v5e:4x4", PairLengths(), lambda *_: None)


def test_without_the_compiler_the_file_that_brings_it_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(TopologyError, match=r"requirements-tpu\.txt"):
        devices_of("v5e:4x4")
