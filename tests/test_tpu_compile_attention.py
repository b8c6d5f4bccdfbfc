"""The attention kernels through the real TPU compiler, which needs no TPU. `make test-tpu` sets up what it needs."""

import functools
import importlib.util
import os
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from rmjax.models.attention import PLAIN, ScoreRule, dense_attention
from rmjax.models.tpu_attention import tpu_attention

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None,
    reason="libtpu isn't installed: `make test-tpu` installs it and runs this",
)
os.environ["TPU_SKIP_MDS_QUERY"] = "1"  # don't ask Google Cloud which TPU this is
os.environ["ALLOW_MULTIPLE_LIBTPU_LOAD"] = "1"  # nothing but the compiler is used, so no TPU has to be locked

CHIPS = ["v5e:2x2", "v5p:2x2x1", "v6e:2x2"]
EVERYTHING = ScoreRule(softcap=30.0, window=512)


@functools.cache
def chips(topology):
    return topologies.get_topology_desc(platform="tpu", topology_name=topology).devices


def compiled(topology, *, length, heads, groups, size, dtype, rule=EVERYTHING, attention=tpu_attention, rows=1):
    """Forward and backward for one chip."""
    mesh = Mesh(np.array(chips(topology)[:1]), ("data",))
    shapes = abstract(mesh, PartitionSpec(), rows, length, heads, groups, size, dtype)
    return lowered(functools.partial(attend, attention, rule), shapes).compile()


def abstract(mesh, split, rows, length, heads, groups, size, dtype):
    def array(*shape, dtype=dtype, split=split):
        return jax.ShapeDtypeStruct(shape, dtype, sharding=NamedSharding(mesh, split))

    query, key = array(rows, length, heads, size), array(rows, length, groups, size)
    place = array(rows, length, dtype=jnp.int32, split=PartitionSpec(*split[:1]))
    return query, key, key, query, place, place


def attend(attention, rule, query, key, value, pulled, visible_until, positions):
    mixed, pull = jax.vjp(lambda *qkv: attention(*qkv, visible_until, positions, rule), query, key, value)
    return mixed, pull(pulled)


def lowered(function, shapes):
    return jax.jit(function).trace(*shapes).lower(lowering_platforms=("tpu",))


def kernels(module):
    return set(re.findall(r"attention_(?:forward|backward_key|backward_query)", module.as_text()))


LENGTHS = {64: 1024, 96: 1000, 128: 8192, 256: 4096}


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32], ids=["bfloat16", "float32"])
@pytest.mark.parametrize("size", LENGTHS)
@pytest.mark.parametrize("topology", CHIPS)
def test_compiles_with_window_and_soft_cap(topology, size, dtype):
    module = compiled(topology, length=LENGTHS[size], heads=8, groups=2, size=size, dtype=dtype)
    assert kernels(module) == {"attention_forward", "attention_backward_key", "attention_backward_query"}
    assert module.cost_analysis()["flops"] > 9 * LENGTHS[size] ** 2 * 8 * size


@pytest.mark.parametrize(("heads", "groups"), [(8, 8), (8, 1), (7, 1), (12, 1)])
def test_compiles_whatever_the_groups(heads, groups):
    assert kernels(
        compiled("v5p:2x2x1", length=2048, heads=heads, groups=groups, size=128, dtype=jnp.bfloat16, rule=PLAIN)
    )


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32], ids=["bfloat16", "float32"])
def test_compiles_where_float32_is_asked_for_in_full(dtype):
    with jax.default_matmul_precision("highest"):
        assert kernels(compiled("v5p:2x2x1", length=1024, heads=4, groups=1, size=128, dtype=dtype))


def test_memory_grows_linearly_with_the_length():
    """The dense one's grows with its square. So long that the chip's fast memory can't hold what is temporary."""

    def peak(attention, length):
        shapes = {"heads": 32, "groups": 8, "size": 128, "dtype": jnp.bfloat16, "rule": PLAIN}
        memory = compiled("v5e:2x2", length=length, attention=attention, **shapes).memory_analysis()
        return memory.peak_memory_in_bytes

    peaks = [peak(tpu_attention, length) for length in (8192, 16384, 32768)]
    print("bytes at the peak, with arguments and results, at 8192, 16384 and 32768 tokens:", peaks)
    assert peaks[1] < 2.2 * peaks[0]
    assert peaks[2] < 2.2 * peaks[1]
    assert peak(dense_attention, 4096) > 3.5 * peak(dense_attention, 2048)


def test_long_rows_and_many_of_them_fit_the_scalar_memory():
    assert kernels(
        compiled("v6e:2x2", length=32768, heads=8, groups=2, size=128, dtype=jnp.bfloat16, rule=PLAIN, rows=8)
    )


@pytest.mark.parametrize("check_vma", [False, True])
def test_compiles_over_four_chips(check_vma):
    mesh = Mesh(np.array(chips("v5e:2x2")).reshape(2, 2), ("data", "tensor"))
    heads, rows = PartitionSpec("data", None, "tensor"), PartitionSpec("data")
    specs = {"in_specs": (heads, heads, heads, rows, rows), "out_specs": heads}

    def split(*inputs):
        *arrays, rule = inputs
        return jax.shard_map(lambda *local: tpu_attention(*local, rule), mesh=mesh, check_vma=check_vma, **specs)(
            *arrays
        )

    shapes = abstract(mesh, heads, rows=4, length=1024, heads=8, groups=2, size=128, dtype=jnp.bfloat16)
    module = lowered(functools.partial(attend, split, PLAIN), shapes).compile()
    assert kernels(module)
    assert not re.search(r"all-gather|all-reduce|all-to-all|collective-permute", module.as_text())
