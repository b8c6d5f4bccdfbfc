"""The arithmetic that a dry run counts of a model in part frozen."""

import pytest

from experiments import llama32_1b
from rmjax.config import TuningConfig
from rmjax.model_config import Remat
from rmjax.models.flops import forward_flops, matrix_parameters
from rmjax.training.dry_run import _Work
from rmjax.training.dry_run_result import PairLengths


def work_of(remat=Remat.FULL, **tuning):
    config = llama32_1b.get_config()
    config.model.remat = remat
    config.tuning = TuningConfig(**tuning)
    return config, _Work(config, PairLengths(seen=0.0))


def forward_of(config):
    return forward_flops(config.model, tokens=8.0 * 2048, visible_pairs=0.0)


@pytest.mark.parametrize("rank", [1, 16])
def test_adapters_take_two_passes_and_their_own_three(rank):
    config, work = work_of(lora_rank=rank, lora_targets=("query", "down"))
    adapters = 16 * rank * ((2048 + 32 * 64) + (8192 + 2048))
    assert work.needed == pytest.approx(2 * forward_of(config) + 6 * adapters * 8 * 2048)
    assert work.executed == pytest.approx(work.needed + forward_of(config))


@pytest.mark.parametrize("remat", list(Remat))
def test_a_head_alone_takes_one_pass_and_nothing_again(remat):
    config, work = work_of(remat, trained=("reward_head", "final_norm"))
    assert work.needed == work.executed == forward_of(config)


def test_of_some_layers_as_many_gradients_are_computed():
    config, work = work_of(last_layers=4)
    frozen = matrix_parameters(config.model) * 12 // 16
    assert work.needed == pytest.approx(3 * forward_of(config) - 2 * frozen * 8 * 2048)
    everything = work_of()[1]
    assert everything.needed == 3 * forward_of(config)
