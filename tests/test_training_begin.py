"""What a run goes on with: the checkpoint's state in its place, and no other state beside it."""

import gc

import jax
import pytest
from test_training_checkpoint import assert_same_bits
from untrained import untrained_config

from rmjax.batches.pipeline import DataState
from rmjax.config import ParallelConfig, Strategy, TuningConfig
from rmjax.model_config import ComputeDtype
from rmjax.training.begin import begin
from rmjax.training.checkpoint import Checkpoints
from rmjax.training.optimizer import make_optimizer
from rmjax.training.parallel import make_model, make_parallel
from rmjax.training.tuning import adapters_of

STRATEGIES = [
    ParallelConfig(strategy=Strategy.JIT),
    ParallelConfig(strategy=Strategy.PMAP),
    ParallelConfig(strategy=Strategy.MESH, fsdp=2, tensor=2),
]
TUNINGS = {
    "all": TuningConfig(),
    "lora": TuningConfig(lora_rank=2, frozen_dtype=ComputeDtype.BFLOAT16),
}


def bytes_of(leaves):
    return sum(part.data.nbytes for leaf in leaves for part in leaf.addressable_shards)


def live():
    gc.collect()
    return bytes_of(jax.live_arrays())


@pytest.mark.parametrize(
    ("parallel", "tuning"),
    [*((parallel, "lora") for parallel in STRATEGIES), (STRATEGIES[0], "all")],
    ids=lambda value: value if isinstance(value, str) else value.strategy.value,
)
def test_a_run_that_goes_on_has_one_state_alone(tmp_path, monkeypatch, parallel, tuning):
    config = untrained_config(parallel=parallel, tuning=TUNINGS[tuning])
    model = make_model(config.model, 300, adapters_of(config))
    optimizer, strategy = make_optimizer(config.optimizer, 10), make_parallel(config)
    found, restore = [], Checkpoints.restore

    def measured(self, *arguments):
        found.append(live())
        return restore(self, *arguments)

    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        first, _ = begin(config, model, optimizer, checkpoints, strategy)
        checkpoints.save(3, strategy.to_shared(first), data={"epoch": 1, "step": 2}, validation=None)
        checkpoints.wait()
        before = live()
        monkeypatch.setattr(Checkpoints, "restore", measured)
        state, data = begin(config, model, optimizer, checkpoints, strategy)
    size = bytes_of(jax.tree.leaves(first))
    assert size > 20_000
    assert found[0] - before < size / 20
    assert live() - before == pytest.approx(size, rel=0.05)
    assert data == DataState(epoch=1, step=2)
    assert_same_bits(state, first)
    for one, other in zip(jax.tree.leaves(state), jax.tree.leaves(first), strict=True):
        assert one.sharding == other.sharding
