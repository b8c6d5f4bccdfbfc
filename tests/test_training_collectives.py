"""What a compiled program sends, from its text: by hand, and as this machine's compiler writes it."""

import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as Spec

from rmjax.training.collectives import collective_bytes

TEXT = """
HloModule jit_step, entry_computation_layout={(f32[8]{0})->f32[8]{0}}

%body.1 (p: (s32[], f32[64])) -> (s32[], f32[64]) {
  %p = (s32[], f32[64]{0}) parameter(0)
  %gathered = f32[64]{0} all-gather(f32[16]{0} %x), channel_id=1, replica_groups=[2,4]<=[8], dimensions={0}
  ROOT %t = (s32[], f32[64]{0}) tuple(%i, %gathered)
}

%condition.1 (p: (s32[], f32[64])) -> pred[] {
  ROOT %less = pred[] compare(%i, %n), direction=LT
}

%body.2 (p: (f32[10], u32[])) -> (f32[10], u32[]) {
  %p = (f32[10]{0:T(8,128)S(1)}, u32[]{:T(128)}) parameter(0)
  %x = f32[10]{0:T(8,128)S(1)} get-tuple-element(%p), index=0
  %counter = u32[]{:T(128)} get-tuple-element(%p), index=1
  %two = u32[]{:T(128)} constant(2), metadata={op_name="x"}
  %next = u32[]{:T(128)} add(%counter, %two), metadata={op_name="x"}
  %sent = f32[10]{0} collective-permute(f32[10]{0} %x), channel_id=2, source_target_pairs={{0,1},{1,0}}
  %woven = f32[24]{0} all-gather(f32[6]{0} %b), channel_id=3, replica_groups={{0,1,2,3}}, dimensions={0}
  ROOT %t = (f32[10]{0:T(8,128)S(1)}, u32[]{:T(128)}) tuple(%sent, %next)
}

%condition.2 (p: (f32[10], u32[])) -> pred[] {
  %p = (f32[10]{0:T(8,128)S(1)}, u32[]{:T(128)}) parameter(0)
  %counter = u32[]{:T(128)} get-tuple-element(%p), index=1
  %bound = u32[]{:T(128)} constant(7), metadata={op_name="x"}
  ROOT %less = pred[]{:T(512)} compare(%counter, %bound), direction=LT, metadata={op_name="x"}
}

%never.1 (p: f32[8]) -> f32[8] {
  ROOT %n = f32[8]{0} collective-permute(f32[8]{0} %p), channel_id=4, source_target_pairs={{0,1},{1,0}}
}

ENTRY %main.9 (a: f32[8]) -> f32[8] {
  %w = (s32[], f32[64]) while(%i), condition=%condition.1, body=%body.1, backend_config={"known_trip_count":{"n":"5"}}
  %one = u32[]{:T(128)} constant(1)
  %copied = u32[]{:T(128)} copy(%one)
  %j = (f32[10]{0:T(8,128)S(1)}, u32[]{:T(128)}) tuple(%f, /*index=1*/%copied)
  %v = (f32[10]{0:T(8,128)S(1)}, u32[]{:T(128)}) while(%j), condition=%condition.2, body=%body.2
  %began = f32[24]{0} all-gather(f32[6]{0} %b), channel_id=3, replica_groups={{0,1,2,3}}, dimensions={0}
  %s = bf16[100]{0} all-reduce(bf16[100]{0} %b), replica_groups={{0,1},{2,3}}, to_apply=%add
  %q = (f32[2]{0}, f32[8]{0}) all-gather-start(f32[2]{0} %c), replica_groups={{0,1,2,3}}, dimensions={0}
  %d = f32[8]{0} all-gather-done(%q)
  %r = f32[4]{0} reduce-scatter(f32[8]{0} %e), replica_groups={{0,1}}, dimensions={0}, to_apply=%add
  ROOT %m = f32[8]{0} collective-permute(f32[8]{0} %d), source_target_pairs={{0,1},{1,0}}
}
"""


def test_a_program_by_hand():
    """The second loop counts from 1 in steps of 2 up to 7, three turns; what it shares with a line outside is one."""
    assert collective_bytes(TEXT) == {
        "all-gather": 5 * 64 * 4 * 3 // 4 + 24 * 4 * 3 // 4 + 8 * 4 * 3 // 4,
        "all-reduce": 100 * 2,
        "reduce-scatter": 4 * 4,
        "collective-permute": 3 * 10 * 4 + 8 * 4,
    }


@pytest.mark.parametrize(
    ("part", "instead"),
    [
        ("%bound = u32[]{:T(128)} constant(7)", "%bound = u32[]{:T(128)} parameter(1)"),
        ("add(%counter, %two)", "multiply(%counter, %two)"),
        ("copy(%one)", "negate(%one)"),
        ("direction=LT, metadata", "direction=NE, metadata"),
    ],
    ids=["bound", "step", "start", "comparison"],
)
def test_what_is_sent_in_a_loop_of_unknown_length_is_an_error(part, instead):
    assert part in TEXT
    with pytest.raises(ValueError, match=r"collective-permute \(channel_id=2\) is sent in a loop of which"):
        collective_bytes(TEXT.replace(part, instead))


def test_what_is_woven_into_a_loop_of_unknown_length_is_sent_once():
    alone = "  %sent = f32[10]{0} collective-permute(f32[10]{0} %x), channel_id=2, source_target_pairs={{0,1},{1,0}}\n"
    woven = TEXT.replace("constant(7)", "parameter(1)").replace(alone, "")
    assert collective_bytes(woven)["all-gather"] == 5 * 64 * 4 * 3 // 4 + 24 * 4 * 3 // 4 + 8 * 4 * 3 // 4


def test_an_all_reduce_of_which_a_part_is_kept_is_a_reduce_scatter():
    """As the TPU compiler writes it, in a computation of its own."""
    whole = "  %s = bf16[100]{0} all-reduce(bf16[100]{0} %b), replica_groups={{0,1},{2,3}}, to_apply=%add\n"
    part = "  %part = bf16[50]{0} dynamic-slice(bf16[100]{0} %s, s32[] %i), dynamic_slice_sizes={50}\n"
    assert whole in TEXT
    found = collective_bytes(TEXT.replace(whole, whole + part))
    assert found["reduce-scatter"] == 4 * 4 + 100
    assert "all-reduce" not in found
    assert collective_bytes(TEXT.replace(whole, whole + part + part.replace("%part", "%other")))["all-reduce"] == 200


@pytest.mark.parametrize(
    ("groups", "devices"),
    [
        ("{{0,1},{2,3}}", 2),
        ("[2,8]<=[16]", 8),
        ("[4,4]<=[4,4]T(1,0)", 4),
        ("mesh['axis_0'=8,'axis_1'=1] {'axis_0'}", 8),
        ("mesh['axis_0'=2,'axis_1'=4], device_ids=([4,2]T(1,0)) {'axis_1'}", 4),
        ("mesh['a'=1,'b'=4,'c'=16], device_ids=([16,4]T(1,0)) {'a','b','c'}", 64),
    ],
)
def test_how_many_devices_share(groups, devices):
    """In the ways that the TPU compiler writes it."""
    assert "replica_groups={{0,1},{2,3}}" in TEXT
    found = collective_bytes(TEXT.replace("replica_groups={{0,1},{2,3}}", f"replica_groups={groups}"))
    assert found["all-reduce"] == round(2 * 200 * (devices - 1) / devices)


def test_groups_that_cannot_be_read_are_an_error():
    with pytest.raises(ValueError, match="groups can't be read"):
        collective_bytes(TEXT.replace("replica_groups={{0,1},{2,3}}", "replica_groups=some"))


def test_a_program_of_this_compiler():
    """A gradient that is summed over four devices, in a loop that XLA knows the length of."""
    mesh = jax.make_mesh((4,), ("rows",), axis_types=(AxisType.Auto,))
    rows, whole = NamedSharding(mesh, Spec("rows")), NamedSharding(mesh, Spec())

    def step(weights, values):
        def turn(_, weights):
            return weights + jnp.tanh(values @ weights).sum(axis=0)[:, None] * 1e-3

        return jax.lax.fori_loop(0, 3, turn, weights)

    compiled = jax.jit(step, in_shardings=(whole, rows), out_shardings=whole)
    text = compiled.lower(jnp.ones((16, 16)), jnp.ones((8, 16))).compile().as_text()
    assert collective_bytes(text) == {"all-reduce": 3 * 2 * 3 * 16 * 4 // 4}


def test_a_program_that_sends_nothing():
    assert not collective_bytes(jax.jit(lambda x: x + 1).lower(jnp.ones(3)).compile().as_text())


def test_the_dry_run_loads_no_device_when_it_is_imported():
    code = (
        "import jax, rmjax.training.chips as c; assert not jax._src.xla_bridge._backends; print(c.CHIPS['v5e'].flops)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1], capture_output=True, check=True)
    assert b"197" in done.stdout
