"""What the benchmark of serving asks; no server is started."""

import numpy as np
import pytest

from benchmarks.serving import Writer


@pytest.mark.parametrize("seed", range(3))
def test_requests_have_1_to_16_responses_of_mixed_lengths_within_the_limit(seed):
    rows = Writer(seed).rows(300, 256)
    assert {len(row["responses"]) for row in rows} == set(range(1, 17))
    lengths = [len(text.split()) for row in rows for text in (row["prompt"], *row["responses"])]
    assert max(lengths) <= 240 // 2
    assert min(lengths) < 10
    assert 30 < np.median(lengths) < 80


def test_texts_depend_on_the_seed_alone():
    assert Writer(1).rows(5, 256) == Writer(1).rows(5, 256) != Writer(2).rows(5, 256)
