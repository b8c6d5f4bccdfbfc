"""The arithmetic of a model in part frozen: of what XLA would count, that of its matrices."""

import pytest
from random_batches import small_model_config

from rmjax.models.flops import forward_flops, matrix_parameters, training_flops


@pytest.mark.parametrize("changes", [{}, {"gated_mlp": False}, {"layers": 5, "mlp_width": 40}])
@pytest.mark.parametrize(("tokens", "pairs"), [(10.0, 0.0), (300.0, 5000.0)])
def test_a_frozen_matrix_is_gone_through_twice_and_one_that_is_trained_three_times(changes, tokens, pairs):
    config = small_model_config(**changes)
    work, matrices = {"tokens": tokens, "visible_pairs": pairs}, matrix_parameters(config)
    once = forward_flops(config, **work)
    assert training_flops(config, **work) == 3 * once
    frozen = training_flops(config, **work, frozen=matrices)
    attention = forward_flops(config, tokens=0.0, visible_pairs=pairs)
    assert frozen == pytest.approx(2 * 2 * matrices * tokens + 3 * attention)
    assert training_flops(config, **work, frozen=matrices, adapters=7) == pytest.approx(frozen + 6 * 7 * tokens)
